"""`govchain doctor`: what is wrong with this machine and the network on it, and what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.remedies import N_
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import Verb, home_option, verb

if TYPE_CHECKING:
    from node.cli.checkup import Finding
    from node.errors import ClientError
    from node.rpc.client import HeardDiagnosis, LedgerClient
    from node.rpc.port import NodeStatus
    from node.timestamp.trust import TrustAnchor

_STATUS_MS: Final = 2_000
_CLOCK_ERROR_MS: Final = 50  # of a network's genesis, where there is none to ask

CHECKS: Final = frozenset(
    {
        N_("anchors"),
        N_("answers"),
        N_("behind"),
        N_("certificates"),
        N_("chaos"),
        N_("clock"),
        N_("clock fitness"),
        N_("clocks"),
        N_("disk"),
        N_("files"),
        N_("fsync"),
        N_("ledger"),
        N_("misbehaviour"),
        N_("nodes"),
        N_("permissions"),
        N_("ports"),
        N_("progress"),
        N_("quorum"),
        N_("time"),
        N_("time-stamping"),
        N_("time-stamping identity"),
        N_("versions"),
        N_("view"),
        N_("votes"),
    }
)
"""The names of all checks, as programs are told them."""


@click.command(
    "doctor",
    cls=Verb,
    help=_(
        "Find what is wrong with this machine and the network on it. Ends with 7 where something "
        "is: too few validators run, say. That all were taken down is no fault; that all died is."
    ),
)
@click.option(
    "--ledger",
    "with_ledgers",
    is_flag=True,
    help=_(
        "Check the whole ledger of every stopped validator too: that headers follow each other, "
        "that blocks, log, state and indexes hold what the headers commit to. Signatures are not "
        "checked."
    ),
)
@click.option(
    "--anchors",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Look at the anchors kept in this folder, too: whether their authorities still stamp."),
)
@home_option
@verb("doctor")
def doctor(screen: Screen, *, home: Path, with_ledgers: bool, anchors: Path | None) -> Answer:
    """Find what is wrong."""
    from node.cli.anchor_checkup import check_anchors
    from node.cli.checkup import Level
    from node.cli.clock_causes import CHECK, CLOCK_CODE

    facts: dict[str, Any] = {"home": str(home)}
    findings = [*_examine(home, facts)]
    if with_ledgers:
        findings += _examine_ledgers(screen, home)
    if anchors is not None:
        findings += check_anchors(anchors, time.time_ns() // 1_000_000, _trust_of(home))
    levels = {
        Level.OK: (_("ok"), "green"),
        Level.UNKNOWN: (_("unknown"), "yellow"),
        Level.WARNING: (_("warning"), "yellow"),
        Level.PROBLEM: (_("PROBLEM"), "red"),
    }
    for each in findings:
        word, style = levels[each.level]
        screen.line(f"{word}  {title_of(each.check)}", style=style)
        screen.line(f"    {each.detail}")
        if each.fix:
            screen.line("    " + _("fix") + f": {each.fix}")
    facts["findings"] = [asdict(each) for each in findings]
    problems = [each for each in findings if each.level is Level.PROBLEM]
    if not problems:
        return Answer(facts)
    for each in problems:
        if each.check == "ledger":
            return Answer(facts, Fault("GC-2316", each.detail, each.fix))
    if {each.check for each in problems} <= {CHECK, "clocks", "time"} and problems:
        return Answer(facts, Fault(CLOCK_CODE, problems[0].detail, problems[0].fix))
    message = _("{problems} of {count} findings are problems")
    cause = message.format(problems=len(problems), count=len(findings))
    return Answer(facts, Fault("GC-2302", cause, problems[0].fix))


def title_of(check: str) -> str:
    """Return what a check is called in the user's language."""
    return _(check) if check in CHECKS else check


def _trust_of(home: Path) -> TrustAnchor | None:
    """Return what is believed of the network in a folder; None where that cannot be read."""
    from node.cli.network import Network
    from node.errors import NodeError

    try:
        return Network.open(home, None, None).pinned
    except NodeError:
        return None


def _examine(home: Path, facts: dict[str, Any]) -> Iterator[Finding]:
    from node.cli import checkup
    from node.cli.clock_causes import check_clock
    from node.cli.stamping_checkup import check_time_stamping
    from node.operations.topology import is_network

    yield from checkup.check_versions()
    if not is_network(home):
        yield from checkup.check_disk(Path.cwd())
        yield check_clock(_CLOCK_ERROR_MS, is_trial=True)
        detail = _("no network in {home}").format(home=home)
        fix = _("make one: govchain testnet up")
        yield checkup.Finding("nodes", checkup.Level.UNKNOWN, detail, fix)
        return
    yield from checkup.check_disk(home)
    yield from checkup.check_permissions(home)
    yield from checkup.check_certificates(home, time.time())
    yield from check_time_stamping(home, time.time_ns() // 1_000_000)
    yield from _examine_network(home, facts)


def _examine_network(home: Path, facts: dict[str, Any]) -> Iterator[Finding]:
    """Look at what needs the network's own files; a file that cannot be read is a finding too.

    What the validators say goes into `facts`, for programs.
    """
    from node.cli import checkup, stall, stamping_checkup
    from node.cli.clock_causes import check_clock
    from node.cli.network import Network
    from node.errors import NodeError
    from node.operations.supervisor import Supervisor
    from node.rpc.client import HeardDiagnosis

    try:
        network = Network.open(home, None, None)
        yield from stamping_checkup.check_token_roots(home, network.genesis)
        statuses, answers = network.ask(_ask_all)
        promised = stall.newest_parameters(answers) or network.genesis.parameters
        yield check_clock(promised.clock_error_ms, is_trial=network.genesis.testnet)
        nodes = Supervisor(home, lambda _step, _node: None).inspect()
        members = stall.newest_members(answers)
        if not members:
            known = network.pinned.validator_sets[-1]
            members = [each.validator_id for each in known.validators]
        yield from checkup.check_nodes(nodes, statuses, home, members)
        yield from stall.check_chain(answers)
        heard = {
            name: each.diagnosis
            for name, each in answers.items()
            if isinstance(each, HeardDiagnosis)
        }
        now_ms = time.time_ns() // 1_000_000
        yield from stamping_checkup.check_stamping_identities(heard, home, now_ms)
        facts["validators"] = stall.describe_answers(answers)
    except NodeError as error:
        fault = Fault.of(error)
        yield checkup.Finding("files", checkup.Level.PROBLEM, fault.sentence, fault.fix)


async def _ask_all(
    client: LedgerClient,
) -> tuple[dict[str, NodeStatus | ClientError], dict[str, HeardDiagnosis | ClientError]]:
    """Ask for diagnoses second: clocks are compared best over connections that stand."""
    return await client.statuses(_STATUS_MS), await client.diagnoses(_STATUS_MS)


def _examine_ledgers(screen: Screen, home: Path) -> Iterator[Finding]:
    from node.cli import checkup
    from node.cli.network import read_genesis
    from node.operations.supervisor import Supervisor
    from node.operations.topology import GENESIS_FILE, is_network

    if not is_network(home):
        return
    genesis = read_genesis(home / GENESIS_FILE)
    for each in Supervisor(home, lambda _step, _node: None).inspect():
        yield checkup.check_ledger(each, home, genesis, screen.progress)
