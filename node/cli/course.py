"""How a change of the running chain is made: at once, or by way of a file that others approve.

Within one folder it is done at once, as all keys are there. Across organisations each step is a
file: `--propose` writes it, each organisation's administrator looks at it and signs (`--approve`),
and one of them hands it in (`--submit`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.outputs import OutputFile, write_anew, write_over
from node.cli.screen import Answer, Screen
from node.cli.verb import DEFAULT_HOME, CommandError

if TYPE_CHECKING:
    from node.chain.governance import Governance, Operation
    from node.cli.change import Carried
    from node.cli.network import Network
    from node.cli.proposal import Guest, Proposal
    from node.operations.supervisor import Supervisor

VALID_DAYS: Final = 30
"""For how long a proposal can be approved and handed in, unless it says otherwise."""
VALID_DAYS_MAX: Final = 89
"""The chain takes ninety, by its own clock."""
START_S: Final = 10.0
"""How long a node that was there already may take to say whether it follows."""
_ASK_MS: Final = 1_000
_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Course:
    """How a change is to be made: at once, or by way of a file."""

    network: NetworkChoice
    propose: Path | None
    approve: Path | None
    submit: Path | None
    valid_days: int
    """How long what is proposed can be handed in."""
    is_confirmed: bool
    patience_s: float

    @property
    def home(self) -> Path:
        """Return the folder of the local network; wrong usage where a profile is named."""
        if self.network.profile is not None:
            raise click.UsageError(_("a node's files are made in the folder of a network: --home"))
        return self.network.home or Path(DEFAULT_HOME)


def course_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all changes take, given to the function as one `Course`."""
    path = click.Path(path_type=Path, dir_okay=False)

    @click.option(
        "--propose", type=OutputFile(), help=_("Write what is next as a proposal; do nothing.")
    )
    @click.option("--approve", type=path, help=_("Show a proposal, and sign it (--as)."))
    @click.option("--submit", type=path, help=_("Hand in a proposal, and wait until it is done."))
    @click.option(
        "--valid-days",
        type=click.IntRange(1, VALID_DAYS_MAX),
        default=VALID_DAYS,
        show_default=True,
        help=_("For how long what --propose writes can be approved and handed in."),
    )
    @click.option("--yes", is_flag=True, help=_("Do it without being asked."))
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
        valid_days: int,
        yes: bool,
        wait: float,
        **arguments: object,
    ) -> object:
        if sum(each is not None for each in (propose, approve, submit)) > 1:
            raise click.UsageError(_("give one of --propose, --approve and --submit"))
        course = Course(network, propose, approve, submit, valid_days, yes, wait)
        return function(course=course, **arguments)

    return run


def change_chain(
    screen: Screen,
    course: Course,
    operations: tuple[Operation, ...],
    guests: tuple[Guest, ...] = (),
) -> Answer:
    """Change who decides, or write down that it is proposed."""
    from node.cli.change import approve_all, propose

    network = as_administrator(course, guests)
    proposal = propose(network, operations, guests, valid_days=course.valid_days)
    if course.propose is not None:
        return write_proposal(screen, course.propose, proposal, network)
    tolerance = _Tolerance.around(network, proposal.governance)
    _tell_tolerance(screen, tolerance)
    if tolerance.falls:
        _ask(
            screen,
            course,
            _("Fewer faulty validators will be tolerated. Go on?"),
            _(
                "{before} faulty validators are tolerated, {after} would be: nobody can be asked, "
                "say --yes"
            ).format(before=tolerance.before, after=tolerance.after),
        )
    return _carry_out(screen, course, network, approve_all(network, proposal))


def _carry_out(screen: Screen, course: Course, network: Network, proposal: Proposal) -> Answer:
    from node.cli.change import carry_out, joined_and_left

    members = network.validators.validators
    joined, left = joined_and_left(proposal.governance, members)
    tolerance = _Tolerance.around(network, proposal.governance)
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
        **tolerance.facts,
        "joined": joined,
        "left": left,
    }
    return Answer(facts)


@dataclass(frozen=True, slots=True)
class _Tolerance:
    """How many faulty validators are tolerated before a change of who decides, and after it."""

    before: int
    after: int
    is_of_validators: bool
    """Whether the change is about who decides at all."""

    @classmethod
    def around(cls, network: Network, governance: Governance) -> _Tolerance:
        """Return it for a change of the epoch in force, as the chain would carry it out."""
        from node.chain.governance import members_after
        from node.chain.membership import faults_tolerated

        validators, operations = network.validators, governance.operations
        members = members_after(validators.validators, operations)
        after = faults_tolerated(len(members)) if members else 0  # no set at all: it is refused
        is_of_validators = members != validators.validators
        return cls(validators.faults, after, is_of_validators)

    @property
    def falls(self) -> bool:
        """Whether fewer are tolerated afterwards."""
        return self.after < self.before

    @property
    def facts(self) -> dict[str, int]:
        """Return the members of the JSON object; none where it is about something else."""
        if not self.is_of_validators:
            return {}
        return {"faults_tolerated_before": self.before, "faults_tolerated_after": self.after}


def _tell_tolerance(screen: Screen, tolerance: _Tolerance) -> None:
    if tolerance.is_of_validators:
        said = _("faulty validators tolerated: {before} before, {after} after")
        style = "yellow" if tolerance.falls else ""
        screen.line(said.format(before=tolerance.before, after=tolerance.after), style=style)


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
        if follows(network, guest.node_id, START_S):
            screen.note(_("{node} may follow the chain now").format(node=guest.node_id))
        else:
            said = _("{node} may follow the chain now, but does not answer at {address}: start it")
            screen.note(said.format(node=guest.node_id, address=guest.address))


def _quorum(carried: Carried) -> int:
    from node.chain.membership import quorum_size

    return quorum_size(len(carried.members))


def catch_up_files(screen: Screen, course: Course, network: Network) -> None:
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
    supervisor = open_supervisor(screen, course.home)
    left = [each.id for each in supervisor.topology.members if each.id not in members]
    for name in left:
        supervisor.halt(name)
        said = _("{node} is no part of the network any more; its folder stays: {folder}")
        screen.note(said.format(node=name, folder=course.home / "nodes" / name))
    record_change(course.home, joined=members, left=left)


def follows(network: Network, name: str, patience_s: float) -> bool:
    """Say whether a node is let in by the others, as it says itself within `patience_s`."""
    from node.rpc.port import Health, NodeStatus

    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        status = network.ask(lambda client: client.statuses(_ASK_MS)).get(name)
        if isinstance(status, NodeStatus) and status.health is not Health.STARTING:
            return True
        time.sleep(_POLL_S)
    return False


# ---------------------------------------------------------------------- by way of a file


def by_file(screen: Screen, course: Course) -> Answer | None:
    """Approve or hand in a proposal, if that is asked for: the file says what it is about."""
    if course.approve is not None:
        return _approve(screen, course, course.approve)
    if course.submit is not None:
        return _submit(screen, course, course.submit)
    return None


def _approve(screen: Screen, course: Course, path: Path) -> Answer:
    from node.cli.change import check_epoch
    from node.cli.proposal import read_proposal

    if course.network.identity is None:
        raise click.UsageError(_("name the administrator who approves: --as"))
    network, proposal = course.network.open(), read_proposal(path)
    check_epoch(network, proposal)
    _show(screen, proposal, network)
    if network.identity in proposal.approved_by:
        message = _("{identity} approves of it already").format(identity=network.identity)
        raise CommandError("GC-2322", message, _("have administrators of others approve"))
    _ask(screen, course, _("Approve?"), _("nobody can be asked: approve with --yes"))
    approved = proposal.approve(network.identity, network.signer)
    write_over(path, approved.encode())
    screen.line(_("approved by {identities}").format(identities=", ".join(approved.approved_by)))
    return Answer(_facts_of(path, approved, network))


def _ask(screen: Screen, course: Course, question: str, refusal: str) -> None:
    """Go on if the user says so, or said so before; wrong usage where there is nobody to ask."""
    if not course.is_confirmed:
        screen.confirm(question, refusal)


def _submit(screen: Screen, course: Course, path: Path) -> Answer:
    from node.cli.change import check_approvals, check_epoch
    from node.cli.proposal import read_proposal

    proposal = read_proposal(path)
    network = as_administrator(course, proposal.guests)
    check_epoch(network, proposal)
    _show(screen, proposal, network)
    check_approvals(network, proposal)
    return _carry_out(screen, course, network, proposal)


def write_proposal(screen: Screen, path: Path, proposal: Proposal, network: Network) -> Answer:
    """Write what is proposed, for others to approve."""
    write_anew(path, proposal.encode(), "--propose")
    _show(screen, proposal, network)
    said = _("proposed in {path}: have it approved (--approve), hand it in (--submit)")
    screen.line(said.format(path=path))
    return Answer(_facts_of(path, proposal, network))


def _show(screen: Screen, proposal: Proposal, network: Network) -> None:
    from node.cli.proposal import sentences
    from node.timestamp.receipt import iso_time

    said = _("for chain {chain}, epoch {epoch}:")
    screen.line(said.format(chain=proposal.chain_id.hex(), epoch=proposal.governance.epoch))
    for sentence in sentences(proposal.governance.operations):
        screen.line(f"  - {sentence}")
    until = iso_time(proposal.governance.not_after_ms)
    screen.line(_("can be handed in until {time}").format(time=until))
    _tell_tolerance(screen, _Tolerance.around(network, proposal.governance))
    if proposal.approved_by:
        by = ", ".join(proposal.approved_by)
        screen.line(_("approved by {identities}").format(identities=by))


def _facts_of(path: Path, proposal: Proposal, network: Network) -> dict[str, Any]:
    from node.cli.proposal import describe

    return {
        "proposal": str(path),
        "chain_id": proposal.chain_id.hex(),
        "epoch": proposal.governance.epoch,
        "not_after_ms": proposal.governance.not_after_ms,
        "operations": [describe(each) for each in proposal.governance.operations],
        "approved_by": proposal.approved_by,
        **_Tolerance.around(network, proposal.governance).facts,
    }


def as_administrator(course: Course, guests: tuple[Guest, ...] = ()) -> Network:
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


def open_supervisor(screen: Screen, home: Path) -> Supervisor:
    """Return who starts and ends the nodes of a local network."""
    from node.cli.testnet import supervise

    return supervise(screen, home)
