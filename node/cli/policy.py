"""`govchain policy`: who may do what, in sentences; tried before it is done; changed alike."""

from __future__ import annotations

import tempfile
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.choice import HEIGHT_MAX, NetworkChoice, network_options
from node.cli.course import Course, by_file, change_chain, course_options
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.chain.block import ResultCode
    from node.cli.network import Network
    from node.cli.proposal import Proposal
    from node.cli.rights import Rights


@click.group("policy", cls=VerbGroup, help=_("Who may do what, and how many have to approve."))
def policy() -> None:
    """Hold the verbs."""


@policy.command("show", help=_("Say in sentences who may do what: every rule in force."))
@network_options
@verb("policy show")
def show(screen: Screen, *, network: NetworkChoice) -> Answer:
    """Say who may do what."""
    from node.chain.policy import OPERATIONS
    from node.cli.rights import read_rights
    from node.cli.rules import describe_bound, tell_rule

    rights = read_rights(network.open())
    own = rights.rules_set()
    names = [*OPERATIONS, *(name for name in own if name not in OPERATIONS)]
    for name in names:
        mark = "*" if name in own else " "
        screen.line(f"{mark} {tell_rule(name, rights.rule_of(name))}")
    screen.note(_("* was set on this chain; all others are the defaults"))
    rules = {
        name: describe_bound(name, rights.rule_of(name), is_default=name not in own)
        for name in names
    }
    return Answer({"rules": rules})


@policy.command(
    "test",
    help=_(
        "Try a proposal or a transaction on the state as it is: what would come of each operation, "
        "which rule decides, and whose approval is missing. A transaction is CBOR, signed or its "
        "body alone; - reads it from standard input. Nothing is handed in."
    ),
)
@click.argument("name", metavar="FILE")
@click.option(
    "--at-height",
    type=click.IntRange(0, HEIGHT_MAX),
    help=_(
        "Try a transaction on the state after this block, made again from all blocks up to it: "
        "nodes keep the newest state only."
    ),
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(tempfile.gettempdir()),
    help=_("Where there is room for a second ledger, for --at-height."),
)
@network_options
@verb("policy test")
def test(
    screen: Screen, *, name: str, at_height: int | None, scratch: Path, network: NetworkChoice
) -> Answer:
    """Try a proposal or a transaction."""
    from node.cli.inputs import STANDARD_INPUT, read_stream
    from node.cli.trial import is_transaction, try_transaction
    from node.limits import TX_BYTES_MAX

    data = read_stream(name, TX_BYTES_MAX + 1)
    if is_transaction(data):
        chain = network.open()
        return try_transaction(screen, chain, name, data, height=at_height, scratch=scratch)
    if name == STANDARD_INPUT or at_height is not None:
        told = _("{name}: expected a transaction in CBOR: signed, or its body alone")
        fix = _("a proposal is a file, and for the epoch in force: leave --at-height out")
        raise CommandError("GC-1001", told.format(name=name), fix)
    return _test_proposal(screen, Path(name), network)


def _test_proposal(screen: Screen, proposal: Path, network: NetworkChoice) -> Answer:
    from node.chain.block import ResultCode
    from node.cli.change import check_epoch
    from node.cli.outcomes import explain
    from node.cli.proposal import read_proposal, sentences
    from node.cli.rights import read_rights
    from node.cli.rules import tell_rule

    read = read_proposal(proposal)
    found = network.open()
    check_epoch(found, read)
    rights = read_rights(found)
    for sentence in sentences(read.governance.operations):
        screen.line(f"  - {sentence}")
    outcome, index = _try(found, rights, read)
    facts: dict[str, Any] = {"outcome": outcome.name, "operation": index, "needs_evidence": False}
    if outcome is ResultCode.OK:
        screen.line(_("it would be carried out"))
    elif outcome is ResultCode.EVIDENCE_MISSING:  # that is gathered when it is handed in
        facts |= {"outcome": ResultCode.OK.name, "needs_evidence": True}
        screen.line(
            _("it would be carried out, once a quorum of the validators to be holds the chain")
        )
    else:
        cause, fix = explain(outcome)
        screen.line(f"{outcome.name}: {cause}", style="yellow")
        screen.line(_("what helps: {fix}").format(fix=fix))
    missing = rights.missing(read)
    for name in missing:
        rule = tell_rule(name, rights.rule_of(name))
        screen.line(_("not approved enough: {rule}").format(rule=rule))
    return Answer({**facts, "missing_approvals": missing})


def _try(network: Network, rights: Rights, proposal: Proposal) -> tuple[ResultCode, int]:
    """Return what execution would make of a proposal by now, and the operation that fails."""
    from node.chain.block import ResultCode
    from node.chain.epoch import Epoch
    from node.cli.trial import ground_of
    from node.execution.governance import carry_out, why_void
    from node.execution.notary import Failure, Position

    ground = ground_of(
        network, Epoch(network.profile.chain_id, network.validators, rights.parameters)
    )
    at = Position(1, rights.time_ms + 1, 0)
    void = why_void(proposal.governance, at.time_ms, rights.read, ground.epoch)
    if void is not None:
        return void, 0
    outcome = carry_out(proposal.governance, at, rights.read, ground)
    if isinstance(outcome, Failure):
        return outcome.code, outcome.operation_index
    return ResultCode.OK, 0


@policy.command(
    "set",
    help=_(
        "Bind another rule to an operation: OPERATION as policy show --json names it, "
        "notarize:TYPE or set-parameters:NAME. --default takes a rule back."
    ),
)
@click.argument("operation", required=False)
@click.option(
    "--who",
    default="founders",
    show_default=True,
    help=_("founders, members, or ids of organisations with commas between."),
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    default=("admin",),
    show_default=True,
    help=_("A role that counts; several times for several."),
)
@click.option(
    "--how-many",
    default="majority",
    show_default=True,
    help=_("any, all, majority, a number, or a part like 2/3, of these organisations."),
)
@click.option("--default", "is_default", is_flag=True, help=_("Back to the default rule."))
@course_options
@verb("policy set")
def set_rule(
    screen: Screen,
    *,
    course: Course,
    operation: str | None,
    who: str,
    roles: tuple[str, ...],
    how_many: str,
    is_default: bool,
) -> Answer:
    """Bind a rule to an operation, or propose it."""
    from node.chain.policy import SetRule
    from node.cli.rules import read_rule, tell_rule
    from node.errors import DecodeError

    if (done := by_file(screen, course)) is not None:
        return done
    if operation is None:
        raise click.UsageError(_("name the operation: govchain policy show --json"))
    wanted = SetRule(operation, None if is_default else read_rule(who, roles, how_many))
    try:
        SetRule.from_value(wanted.to_value())
    except DecodeError as error:
        raise CommandError("GC-2303", str(error)) from error
    if wanted.rule is not None:
        screen.line(tell_rule(operation, wanted.rule))
    return change_chain(screen, course, (wanted,))
