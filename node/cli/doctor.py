"""`govchain doctor`: what is wrong with this machine and the network on it, and what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import home_option, verb

if TYPE_CHECKING:
    from node.cli.checkup import Finding

_STATUS_MS: Final = 2_000
_CLOCK_ERROR_MS: Final = 50  # of a network's genesis, where there is none to ask


@click.command("doctor", help=_("Find what is wrong with this machine and the network on it."))
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
@home_option
@verb("doctor")
def doctor(screen: Screen, *, home: Path, with_ledgers: bool) -> Answer:
    """Find what is wrong."""
    from node.cli.checkup import Level

    findings = [*_examine(home)]
    if with_ledgers:
        findings += _examine_ledgers(screen, home)
    levels = {
        Level.OK: (_("ok"), "green"),
        Level.UNKNOWN: (_("unknown"), "yellow"),
        Level.WARNING: (_("warning"), "yellow"),
        Level.PROBLEM: (_("PROBLEM"), "red"),
    }
    for each in findings:
        word, style = levels[each.level]
        screen.line(f"{word}  {each.check}", style=style)
        screen.line(f"    {each.detail}")
        if each.fix:
            screen.line("    " + _("fix") + f": {each.fix}")
    facts = {"home": str(home), "findings": [asdict(each) for each in findings]}
    problems = [each for each in findings if each.level is Level.PROBLEM]
    if not problems:
        return Answer(facts)
    for each in problems:
        if each.check == "ledger":
            return Answer(facts, Fault("GC-2316", each.detail, each.fix))
    message = _("{problems} of {count} findings are problems")
    cause = message.format(problems=len(problems), count=len(findings))
    return Answer(facts, Fault("GC-2302", cause, problems[0].fix))


def _examine(home: Path) -> Iterator[Finding]:
    from node.cli import checkup
    from node.operations.topology import is_network

    yield from checkup.check_versions()
    if not is_network(home):
        yield from checkup.check_disk(Path.cwd())
        yield from checkup.check_clock(_CLOCK_ERROR_MS)
        detail = _("no network in {home}").format(home=home)
        fix = _("make one: govchain testnet up")
        yield checkup.Finding("nodes", checkup.Level.UNKNOWN, detail, fix)
        return
    yield from checkup.check_disk(home)
    yield from checkup.check_permissions(home)
    yield from checkup.check_certificates(home, time.time())
    yield from _examine_network(home)


def _examine_network(home: Path) -> Iterator[Finding]:
    """Look at what needs the network's own files; a file that cannot be read is a finding too."""
    from node.cli import checkup
    from node.cli.network import Network
    from node.errors import NodeError
    from node.operations.supervisor import Supervisor

    try:
        network = Network.open(home, None, None)
        yield from checkup.check_clock(network.genesis.parameters.clock_error_ms)
        nodes = Supervisor(home, lambda _step, _node: None).inspect()
        statuses = network.ask(lambda client: client.statuses(_STATUS_MS))
        yield from checkup.check_nodes(nodes, statuses, home)
    except NodeError as error:
        fault = Fault.of(error)
        yield checkup.Finding("files", checkup.Level.PROBLEM, fault.sentence, fault.fix)


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
