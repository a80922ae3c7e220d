"""`govchain node join|leave|rotate`: who decides, changed on the running chain.

Within one folder it is done at once, as all keys are there. Across organisations each step is a
file: `--propose` writes it, each organisation's administrator looks at it and signs (`--approve`),
and one of them hands it in (`--submit`). A node on a machine of its own is known by the file that
`node init` made there (`--introduction`).
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Screen
from node.cli.verb import DEFAULT_HOME, CommandError, verb

if TYPE_CHECKING:
    from node.chain.governance import Operation
    from node.cli.change import Carried
    from node.cli.network import Network
    from node.cli.proposal import Guest, Proposal
    from node.operations.introduction import Introduction, Newcomer
    from node.operations.supervisor import Supervisor

_START_S: Final = 10.0
"""How long a node that was there already may take to say whether it follows."""
_LET_IN_S: Final = 3.0
"""How long one elsewhere may: it runs, and dials again within this time once it is let in."""
_ASK_MS: Final = 1_000
_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Course:
    """How a change is to be made: at once, or by way of a file."""

    network: NetworkChoice
    propose: Path | None
    approve: Path | None
    submit: Path | None
    is_confirmed: bool
    patience_s: float

    @property
    def home(self) -> Path:
        """Return the folder of the local network; wrong usage where a profile is named."""
        if self.network.profile is not None:
            raise click.UsageError(_("a node's files are made in the folder of a network: --home"))
        return self.network.home or Path(DEFAULT_HOME)


def _course_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all changes take, given to the function as one `Course`."""
    path = click.Path(path_type=Path, dir_okay=False)

    @click.option("--propose", type=path, help=_("Write what is next as a proposal; do nothing."))
    @click.option("--approve", type=path, help=_("Show a proposal, and sign it (--as)."))
    @click.option("--submit", type=path, help=_("Hand in a proposal, and wait until it is done."))
    @click.option("--yes", is_flag=True, help=_("Approve without being asked."))
    @click.option(
        "--wait",
        type=click.FloatRange(1, 3_600),
        default=30.0,
        show_default=True,
        help=_("How long (s) to wait for nodes that make no progress."),
    )
    @network_options
    @functools.wraps(function)
    def run(
        *,
        network: NetworkChoice,
        propose: Path | None,
        approve: Path | None,
        submit: Path | None,
        yes: bool,
        wait: float,
        **arguments: object,
    ) -> object:
        if sum(each is not None for each in (propose, approve, submit)) > 1:
            raise click.UsageError(_("give one of --propose, --approve and --submit"))
        course = Course(network, propose, approve, submit, yes, wait)
        return function(course=course, **arguments)

    return run


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
@_course_options
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
    if (done := _by_file(screen, course)) is not None:
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
    chosen = name or (unfinished[0] if unfinished else f"validator-{number}")
    entry = topology.find(chosen)
    home_of = entry.organisation if entry is not None else f"org-{number}"
    candidate = _settle(screen, course, chosen, organisation or home_of)
    return _bring_in(screen, course, candidate, replacing=None)


@click.command("leave", help=_("Remove a validator: its votes stop counting at once."))
@click.argument("name", required=False)
@_course_options
@verb("node leave")
def leave(screen: Screen, *, course: Course, name: str | None) -> Answer:
    """Remove a validator."""
    if (done := _by_file(screen, course)) is not None:
        return done
    from node.chain.governance import RemoveValidator

    network = course.network.open()
    validator_id = _expect_validator(screen, course, network, name)
    return _change(screen, course, (RemoveValidator(validator_id),))


@click.command(
    "rotate",
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
@_course_options
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
    if (done := _by_file(screen, course)) is not None:
        return done
    network = course.network.open()
    validator_id = _expect_validator(screen, course, network, name)
    index = network.validators.index_of(validator_id)
    organisation = network.validators.validators[index or 0].organisation
    if introduction is None:
        chosen = new_name or _next_name(course.home, validator_id)
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
        _catch_up_files(screen, course, network)
        cause, fix = explain(ResultCode.VALIDATOR_UNKNOWN)
        known = ", ".join(each.validator_id for each in network.validators.validators)
        raise CommandError("GC-2307", f"{name}: {cause} ({known})", fix)
    return name


def _next_name(home: Path, name: str) -> str:
    """Return the name of the validator's next keys; one that a call left unfinished is taken up."""
    from node.operations.topology import Topology

    topology = Topology.load(home)
    base, dot, number = name.rpartition(".")
    base, count = (base, int(number)) if dot and number.isdigit() else (name, 1)
    while True:
        count += 1
        entry = topology.find(f"{base}.{count}")
        is_free = entry is None and not (home / "nodes" / f"{base}.{count}").exists()
        if is_free or (entry is not None and not entry.is_member):
            return f"{base}.{count}"


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
    _supervisor(screen, home).start(name)
    return _Candidate(newcomer, (), _START_S if was_there else 0.0)


def _bring_in(
    screen: Screen, course: Course, candidate: _Candidate, *, replacing: str | None
) -> Answer:
    """Make a node one that follows, then a member, in place of another if one is named."""
    from node.chain.governance import RemoveValidator
    from node.cli.change import await_learner, known_organisations

    name = candidate.name
    network = _as_administrator(course, candidate.guests)
    if not _follows(network, name, candidate.patience_s):
        known = known_organisations(network)
        if candidate.is_of_known:
            known.append(candidate.newcomer.identity.organisation)
        if course.propose is not None:
            if candidate.guests:
                said = _("{node} does not follow yet, or does not run: it is to be registered")
                screen.note(said.format(node=name))
            proposal = _registration(network, candidate, known)
            return _write(screen, course.propose, proposal)
        _register(screen, network, candidate, known, course.patience_s)
        screen.note(_("{node} may follow the chain now").format(node=name))
    network.ask(lambda client: await_learner(screen, client, name, course.patience_s))
    if network.validators.index_of(name) is not None:  # a call was cut short at its very end
        if not candidate.guests:
            _catch_up_files(screen, course, network)
        validators = network.validators
        members = [each.validator_id for each in validators.validators]
        screen.line(_("{node} is a validator already").format(node=name))
        return Answer({"epoch": validators.epoch, "validators": members, "joined": [name]})
    leaving = () if replacing is None else (RemoveValidator(replacing),)
    return _change(screen, course, (*leaving, candidate.newcomer.joining), candidate.guests)


def _follows(network: Network, name: str, patience_s: float) -> bool:
    """Say whether a node is let in by the others, as it says itself within `patience_s`."""
    from node.rpc.port import Health, NodeStatus

    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        status = network.ask(lambda client: client.statuses(_ASK_MS)).get(name)
        if isinstance(status, NodeStatus) and status.health is not Health.STARTING:
            return True
        time.sleep(_POLL_S)
    return False


def _registration(network: Network, candidate: _Candidate, known: Collection[str]) -> Proposal:
    from node.chain.governance import Governance
    from node.cli.change import propose

    operations = candidate.newcomer.registration(known)
    governance = Governance(epoch=network.validators.epoch, operations=operations)
    return propose(network, governance, candidate.guests)


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
        proposal = _registration(network, candidate, organisations)
        try:
            carry_out(screen, network, approve_all(network, proposal), patience_s=patience_s)
        except ChangeRefused as refused:
            if refused.result is not ResultCode.NAME_TAKEN:
                raise
        else:
            return


# ---------------------------------------------------------------------- the change itself


def _change(
    screen: Screen,
    course: Course,
    operations: tuple[Operation, ...],
    guests: tuple[Guest, ...] = (),
) -> Answer:
    """Change who decides, or write down that it is proposed."""
    from node.chain.governance import Governance
    from node.cli.change import approve_all, propose

    network = _as_administrator(course, guests)
    governance = Governance(epoch=network.validators.epoch, operations=operations)
    proposal = propose(network, governance, guests)
    if course.propose is not None:
        return _write(screen, course.propose, proposal)
    return _carry_out(screen, course, network, approve_all(network, proposal))


def _carry_out(screen: Screen, course: Course, network: Network, proposal: Proposal) -> Answer:
    from node.cli.change import carry_out, joined_and_left

    joined, left = joined_and_left(proposal.governance)
    carried = carry_out(screen, network, proposal, patience_s=course.patience_s)
    _record(screen, course, carried.members)
    _tell(screen, carried, joined, left)
    if not joined:
        _tell_of_guests(screen, network, proposal.guests)
    facts = {
        "transaction": carried.tx_id.hex(),
        "height": carried.height,
        "epoch": carried.epoch,
        "validators": list(carried.members),
        "quorum": _quorum(carried),
        "joined": joined,
        "left": left,
    }
    return Answer(facts)


def _tell(screen: Screen, carried: Carried, joined: list[str], left: list[str]) -> None:
    if not joined and not left:
        screen.line(_("done with block {height}").format(height=carried.height))
        return
    said = _(
        "epoch {epoch} is in force above block {height}: {validators} decide, {quorum} are needed"
    )
    screen.line(
        said.format(
            epoch=carried.epoch,
            height=carried.height,
            validators=", ".join(carried.members),
            quorum=_quorum(carried),
        )
    )


def _tell_of_guests(screen: Screen, network: Network, guests: tuple[Guest, ...]) -> None:
    """Say of nodes that were registered whether they follow now."""
    for guest in guests:
        if _follows(network, guest.node_id, _START_S):
            screen.note(_("{node} may follow the chain now").format(node=guest.node_id))
        else:
            said = _("{node} may follow the chain now, but does not answer at {address}: start it")
            screen.note(said.format(node=guest.node_id, address=guest.address))


def _quorum(carried: Carried) -> int:
    from node.chain.membership import quorum_size

    return quorum_size(len(carried.members))


def _catch_up_files(screen: Screen, course: Course, network: Network) -> None:
    """Have a local network's files say what the chain says, if an earlier call did not get to it.

    Nothing happens where no validator answers: what is pinned may be long past.
    """
    from node.rpc.client import NetworkUnavailable

    with suppress(NetworkUnavailable):
        told = network.ask(lambda client: client.membership(_ASK_MS))
        if told.epoch == network.validators.epoch:
            _record(screen, course, [each.validator_id for each in network.validators.validators])


def _record(screen: Screen, course: Course, members: Sequence[str]) -> None:
    """Have a local network's files say who decides now; who left need not run any more."""
    from node.operations.newcomer import record_change
    from node.operations.topology import is_network

    if course.network.profile is not None or not is_network(course.home):
        return
    supervisor = _supervisor(screen, course.home)
    left = [each.id for each in supervisor.topology.members if each.id not in members]
    for name in left:
        supervisor.halt(name)
        said = _("{node} is no part of the network any more; its folder stays: {folder}")
        screen.note(said.format(node=name, folder=course.home / "nodes" / name))
    record_change(course.home, joined=members, left=left)


# ---------------------------------------------------------------------- by way of a file


def _by_file(screen: Screen, course: Course) -> Answer | None:
    """Approve or hand in a proposal, if that is asked for: the file says what it is about."""
    if course.approve is not None:
        return _approve(screen, course, course.approve)
    if course.submit is not None:
        return _submit(screen, course, course.submit)
    return None


def _approve(screen: Screen, course: Course, path: Path) -> Answer:
    from node.cli.change import check_epoch
    from node.cli.proposal import read_proposal
    from node.operations.topology import write_file

    if course.network.identity is None:
        raise click.UsageError(_("name the administrator who approves: --as"))
    network, proposal = course.network.open(), read_proposal(path)
    check_epoch(network, proposal)
    _show(screen, proposal)
    if network.identity in proposal.approved_by:
        message = _("{identity} approves of it already").format(identity=network.identity)
        raise CommandError("GC-2322", message, _("have administrators of others approve"))
    if not course.is_confirmed:
        if screen.as_json or not sys.stdin.isatty():
            raise click.UsageError(_("nobody can be asked: approve with --yes"))
        click.confirm(_("Approve?"), abort=True, err=True)
    approved = proposal.approve(network.identity, network.signer)
    write_file(path, approved.encode())
    screen.line(_("approved by {identities}").format(identities=", ".join(approved.approved_by)))
    return Answer(_facts_of(path, approved))


def _submit(screen: Screen, course: Course, path: Path) -> Answer:
    from node.cli.change import check_approvals, check_epoch
    from node.cli.proposal import read_proposal

    proposal = read_proposal(path)
    network = _as_administrator(course, proposal.guests)
    check_epoch(network, proposal)
    _show(screen, proposal)
    check_approvals(network, proposal)
    return _carry_out(screen, course, network, proposal)


def _write(screen: Screen, path: Path, proposal: Proposal) -> Answer:
    from node.operations.topology import write_file

    write_file(path, proposal.encode())
    _show(screen, proposal)
    said = _("proposed in {path}: have it approved (--approve), hand it in (--submit)")
    screen.line(said.format(path=path))
    return Answer(_facts_of(path, proposal))


def _show(screen: Screen, proposal: Proposal) -> None:
    from node.cli.proposal import sentences

    said = _("for chain {chain}, epoch {epoch}:")
    screen.line(said.format(chain=proposal.chain_id.hex(), epoch=proposal.governance.epoch))
    for sentence in sentences(proposal.governance.operations):
        screen.line(f"  - {sentence}")
    if proposal.approved_by:
        by = ", ".join(proposal.approved_by)
        screen.line(_("approved by {identities}").format(identities=by))


def _facts_of(path: Path, proposal: Proposal) -> dict[str, Any]:
    from node.cli.proposal import describe

    return {
        "proposal": str(path),
        "chain_id": proposal.chain_id.hex(),
        "epoch": proposal.governance.epoch,
        "operations": [describe(each) for each in proposal.governance.operations],
        "approved_by": proposal.approved_by,
    }


def _as_administrator(course: Course, guests: tuple[Guest, ...] = ()) -> Network:
    """Open the network as who is named, else as the first administrator whose keys are here."""
    from node.cli.change import founding_admins

    endpoints = tuple(guest.endpoint for guest in guests)
    network = replace(course.network.open(), guests=endpoints)
    if course.network.identity is not None:
        return network
    admins = founding_admins(network)
    if not admins:
        raise CommandError(
            "GC-2321",
            _("no administrator's keys are here"),
            _("name one that has credentials with --as; make a proposal with --propose"),
        )
    return replace(network, identity=admins[0].identity_id)


def _supervisor(screen: Screen, home: Path) -> Supervisor:
    from node.cli.testnet import supervise

    return supervise(screen, home)
