"""`govchain node join|leave|rotate`: who decides, changed on the running chain.

How the change is made is in `course.py`. A node on a machine of its own is known by the file that
`node init` made there (`--introduction`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.course import (
    START_S,
    VALID_DAYS,
    Course,
    as_administrator,
    by_file,
    catch_up_files,
    change_chain,
    course_options,
    follows,
    open_supervisor,
    write_proposal,
)
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.cli.proposal import Guest, Proposal
    from node.operations.introduction import Introduction, Newcomer

_LET_IN_S: Final = 3.0
"""How long one elsewhere may: it runs, and dials again within this time once it is let in."""


def _introduction_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--introduction`, the file by which a node elsewhere is known."""
    return click.option(
        "--introduction",
        type=click.Path(path_type=Path, dir_okay=False),
        help=_("The node was made on a machine of its own (node init): its introduction.json."),
    )(function)


_WHY_STATEMENTS: Final = _(
    "It is added once it states, signed, that it holds the chain, with a quorum of the set to be. "
    "The chain itself would be content with a quorum of the others; but a validator that is not "
    "there yet is one that is missing, and the next fault could stop the chain."
)


@click.command(
    "join",
    cls=Verb,
    help=_(
        "Add a validator: make its keys and home, start it, wait until it holds the chain, have "
        "the chain add it. NAME is one that was never used; the next number unless given."
    )
    + "\n\n"
    + _WHY_STATEMENTS,
)
@click.argument("name", required=False)
@click.option(
    "--organisation",
    help=_("Its organisation, founded if need be.") + "  [" + _("one of its own") + "]",
)
@_introduction_option
@click.option(
    "--organisation-known",
    is_flag=True,
    help=_(
        "With --introduction: the chain has admitted its organisation already, though no node of "
        "it is a validator or follows. Only the node is to be registered."
    ),
)
@course_options
@verb("node join")
def join(
    screen: Screen,
    *,
    course: Course,
    name: str | None,
    organisation: str | None,
    introduction: Path | None,
    organisation_known: bool,
) -> Answer:
    """Add a validator."""
    if (done := by_file(screen, course)) is not None:
        return done
    if introduction is not None:
        if name is not None or organisation is not None:
            raise click.UsageError(_("the introduction says name and organisation"))
        from node.cli.proposal import read_introduction

        introduced = read_introduction(introduction, course.network.open().genesis)
        candidate = _Candidate.introduced_by(introduced, is_known=organisation_known)
        return _bring_in(screen, course, candidate, replacing=None)
    from node.operations.topology import Topology

    topology = Topology.load(course.home)
    number = 1 + sum(1 for _each in (course.home / "nodes").iterdir())
    unfinished = [each.id for each in topology.nodes if not each.is_member]
    chosen = name
    if chosen is None:
        chosen = unfinished[0] if unfinished else f"validator-{number}"
    entry = topology.find(chosen)
    home_of = entry.organisation if entry is not None else f"org-{number}"
    of_organisation = home_of if organisation is None else organisation
    candidate = _settle(screen, course, chosen, of_organisation)
    return _bring_in(screen, course, candidate, replacing=None)


@click.command("leave", cls=Verb, help=_("Remove a validator: its votes stop counting at once."))
@click.argument("name", required=False)
@course_options
@verb("node leave")
def leave(screen: Screen, *, course: Course, name: str | None) -> Answer:
    """Remove a validator."""
    if (done := by_file(screen, course)) is not None:
        return done
    from node.chain.governance import RemoveValidator

    network = course.network.open()
    validator_id = _expect_validator(screen, course, network, name)
    return change_chain(screen, course, (RemoveValidator(validator_id),))


@click.command(
    "rotate",
    cls=Verb,
    help=_(
        "Give a validator new keys: a new node joins in its place, under a new name, in one step. "
        "Also for a validator whose log or keys are lost."
    )
    + "\n\n"
    + _WHY_STATEMENTS,
)
@click.argument("name", required=False)
@click.option("--to", "new_name", help=_("The new name, never used before.") + "  [NAME.2]")
@_introduction_option
@course_options
@verb("node rotate")
def rotate(
    screen: Screen,
    *,
    course: Course,
    name: str | None,
    new_name: str | None,
    introduction: Path | None,
) -> Answer:
    """Replace a validator by one with new keys."""
    if (done := by_file(screen, course)) is not None:
        return done
    network = course.network.open()
    validator_id = _expect_validator(screen, course, network, name)
    index = network.validators.index_of(validator_id)
    organisation = network.validators.validators[index or 0].organisation
    if introduction is None:
        chosen = _next_name(course.home, validator_id) if new_name is None else new_name
        candidate = _settle(screen, course, chosen, organisation)
        return _bring_in(screen, course, candidate, replacing=validator_id)
    if new_name is not None:
        raise click.UsageError(_("the introduction says name and organisation"))
    from node.cli.proposal import read_introduction

    introduced = read_introduction(introduction, network.genesis)
    if (found := introduced.newcomer.identity.organisation) != organisation:
        message = _("{path}: is of {found}, but {validator} is of {expected}")
        raise CommandError(
            "GC-2324",
            message.format(
                path=introduction, found=found, validator=validator_id, expected=organisation
            ),
            _("make the new node for the same organisation: govchain node init"),
        )
    candidate = _Candidate.introduced_by(introduced, is_known=True)
    return _bring_in(screen, course, candidate, replacing=validator_id)


def _expect_validator(screen: Screen, course: Course, network: Network, name: str | None) -> str:
    from node.chain.block import ResultCode
    from node.cli.outcomes import explain

    if name is None:
        raise click.UsageError(_("name the validator"))
    if network.validators.index_of(name) is None:
        catch_up_files(screen, course, network)
        cause, fix = explain(ResultCode.VALIDATOR_UNKNOWN)
        known = ", ".join(each.validator_id for each in network.validators.validators)
        raise CommandError("GC-2303", f"{name}: {cause} ({known})", fix)
    return name


def _next_name(home: Path, name: str) -> str:
    """Return the name of the validator's next keys; one that a call left unfinished is taken up."""
    from node.operations.equipment import next_name
    from node.operations.topology import Topology

    topology = Topology.load(home)
    while True:
        name = next_name(name)
        entry = topology.find(name)
        is_free = entry is None and not (home / "nodes" / name).exists()
        if is_free or (entry is not None and not entry.is_member):
            return name


# ---------------------------------------------------------------------- a node comes in


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A node that is to be a validator: made in the folder of a local network, or introduced."""

    newcomer: Newcomer
    guests: tuple[Guest, ...]
    """Itself, where profiles do not name it."""
    patience_s: float
    """How long to wait for it to say that it follows already; 0 if it cannot."""
    is_of_known: bool = False
    """Whether the chain is said to know its organisation."""

    @property
    def name(self) -> str:
        return self.newcomer.identity.identity_id

    @classmethod
    def introduced_by(cls, introduction: Introduction, *, is_known: bool) -> _Candidate:
        """Return a node that was made elsewhere."""
        from node.cli.proposal import Guest

        newcomer, authority = introduction.newcomer, introduction.authority_pem.decode()
        guest = Guest(newcomer.identity.identity_id, introduction.client_address, authority)
        return cls(newcomer, (guest,), _LET_IN_S, is_known)


def _settle(screen: Screen, course: Course, name: str, organisation: str) -> _Candidate:
    """Make a node in the folder of a local network, and start it."""
    from node.operations.newcomer import describe, settle
    from node.operations.topology import Topology

    home = course.home
    was_there = Topology.load(home).find(name) is not None
    entry = settle(home, name, organisation, time.time_ns() // 1_000_000)
    newcomer = describe(home, entry)
    open_supervisor(screen, home).start(name)
    return _Candidate(newcomer, (), START_S if was_there else 0.0)


def _bring_in(
    screen: Screen, course: Course, candidate: _Candidate, *, replacing: str | None
) -> Answer:
    """Make a node one that follows, then a member, in place of another if one is named."""
    from node.chain.governance import RemoveValidator
    from node.cli.change import await_learner, known_organisations

    name = candidate.name
    network = as_administrator(course, candidate.guests)
    if not follows(network, name, candidate.patience_s):
        known = known_organisations(network)
        if candidate.is_of_known:
            known.append(candidate.newcomer.identity.organisation)
        if course.propose is not None:
            if candidate.guests:
                said = _("{node} does not follow yet, or does not run: it is to be registered")
                screen.note(said.format(node=name))
            proposal = _registration(network, candidate, known, course.valid_days)
            return write_proposal(screen, course.propose, proposal, network)
        _register(screen, network, candidate, known, course.patience_s)
        screen.note(_("{node} may follow the chain now").format(node=name))
    network.ask(lambda client: await_learner(screen, client, name, course.patience_s))
    if network.validators.index_of(name) is not None:  # a call was cut short at its very end
        if not candidate.guests:
            catch_up_files(screen, course, network)
        validators = network.validators
        members = [each.validator_id for each in validators.validators]
        screen.line(_("{node} is a validator already").format(node=name))
        return Answer({"epoch": validators.epoch, "validators": members, "joined": [name]})
    leaving = () if replacing is None else (RemoveValidator(replacing),)
    return change_chain(screen, course, (*leaving, candidate.newcomer.joining), candidate.guests)


def _registration(
    network: Network, candidate: _Candidate, known: Collection[str], valid_days: int
) -> Proposal:
    from node.cli.change import propose

    operations = candidate.newcomer.registration(known)
    return propose(network, operations, candidate.guests, valid_days=valid_days)


def _register(
    screen: Screen,
    network: Network,
    candidate: _Candidate,
    known: Collection[str],
    patience_s: float,
) -> None:
    """Have the chain know who is to join; an earlier call may have come so far, or half so far."""
    from node.chain.block import ResultCode
    from node.cli.change import ChangeRefused, approve_all, carry_out

    for organisations in (known, [candidate.newcomer.identity.organisation]):
        proposal = _registration(network, candidate, organisations, VALID_DAYS)
        try:
            carry_out(screen, network, approve_all(network, proposal), patience_s=patience_s)
        except ChangeRefused as refused:
            if refused.result is not ResultCode.NAME_TAKEN:
                raise
        else:
            return
