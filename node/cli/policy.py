"""`govchain policy`: who may do what, in sentences; tried before it is done; changed alike."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.choice import NetworkChoice, network_options
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
    from node.cli.rules import describe_rule, tell_rule

    rights = read_rights(network.open())
    own = rights.rules_set()
    names = [*OPERATIONS, *(name for name in own if name not in OPERATIONS)]
    for name in names:
        mark = "*" if name in own else " "
        screen.line(f"{mark} {tell_rule(name, rights.rule_of(name))}")
    screen.note(_("* was set on this chain; all others are the defaults"))
    rules = {
        name: {
            **describe_rule(rights.rule_of(name)),
            "sentence": tell_rule(name, rights.rule_of(name)),
            "is_default": name not in own,
        }
        for name in names
    }
    return Answer({"rules": rules})


@policy.command(
    "test",
    help=_(
        "Try a proposal on the state as it is: what the chain would do, and whose approval is "
        "missing. Nothing is handed in."
    ),
)
@click.argument("proposal", type=click.Path(path_type=Path, dir_okay=False))
@network_options
@verb("policy test")
def test(screen: Screen, *, proposal: Path, network: NetworkChoice) -> Answer:
    """Try a proposal."""
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
    from node.execution.governance import Ground, carry_out
    from node.execution.notary import Failure, Position

    epoch = Epoch(network.profile.chain_id, network.validators, rights.parameters)
    ground = Ground(
        epoch=epoch,
        tx_id=bytes(32),
        founding=rights.founding,
        is_ending=False,
        digest_at=lambda _height: None,
    )
    outcome = carry_out(
        proposal.governance, Position(1, rights.time_ms + 1, 0), rights.read, ground
    )
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
