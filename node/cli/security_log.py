"""`govchain security-log`: who did what, allowed or refused, verified; its head recorded."""

from __future__ import annotations

import asyncio
from gettext import gettext as _
from pathlib import Path
from typing import Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, VerbGroup, verb

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False, exists=True)


@click.group("security-log", cls=VerbGroup, help=_("Verify who did what, allowed or refused."))
def security_log() -> None:
    """Hold the verbs."""


@security_log.command(
    "verify",
    help=_(
        "Verify the security log in FOLDER offline: that no line was changed, inserted or taken "
        "out, and how far the chain vouches for it, by the receipts beside it."
    ),
)
@click.argument("folder", type=_FOLDER)
@click.option(
    "--trust", "trust_path", type=_FILE, required=True, help=_("Trust file that pins the chain.")
)
@verb("security-log verify")
def verify(screen: Screen, *, folder: Path, trust_path: Path) -> Answer:
    """Verify a security log."""
    from node.cli.trust_file import load_anchor
    from node.errors import DecodeError, ProofError
    from node.gateway.notarizing import verify_log
    from node.timestamp.receipt import iso_time

    anchor = load_anchor(trust_path)
    try:
        verdict = verify_log(folder, anchor)
    except (DecodeError, ProofError) as error:
        raise CommandError("GC-2708", f"{folder}: {error}") from error
    screen.line(_("{count} lines, as they were written").format(count=verdict.head.size))
    for each in verdict.notarized:
        said = _("the first {count} were there no later than {time} (block {height})")
        screen.line(said.format(count=each.size, time=iso_time(each.time_ms), height=each.height))
    open_count = verdict.head.size - verdict.vouched
    if open_count:
        said = _("for the last {count} nobody vouches yet: these could be other ones, or missing")
        screen.line(said.format(count=open_count), style="yellow")
    rows = [
        {"size": each.size, "height": each.height, "time_ms": each.time_ms, "sender": each.sender}
        for each in verdict.notarized
    ]
    facts = {"lines": verdict.head.size, "head": verdict.head.digest.hex(), "notarized": rows}
    return Answer(facts)


@security_log.command(
    "notarize",
    help=_(
        "Record on the chain how far the security log in FOLDER goes, and keep the receipt beside "
        "it. Gateways do so by themselves; for the log of a node, have it done now and then."
    ),
)
@click.argument("folder", type=_FOLDER)
@network_options
@verb("security-log notarize")
def notarize(screen: Screen, *, folder: Path, network: NetworkChoice) -> Answer:
    """Record the head of a security log."""
    from node.client import Client
    from node.errors import ProofError
    from node.gateway.notarizing import notarize_head
    from node.storage.security_log import check_log

    found = network.open()
    try:
        head = check_log(folder)
    except ProofError as error:
        raise CommandError("GC-2708", f"{folder}: {error}") from error
    if not head.size:
        raise CommandError("GC-2304", _("{path}: holds no security log").format(path=folder))

    async def record() -> Path:
        async with Client(found) as client:
            return await notarize_head(client, folder, head)

    path = asyncio.run(record())
    screen.line(_("{count} lines recorded: {path}").format(count=head.size, path=path))
    return Answer({"lines": head.size, "head": head.digest.hex(), "receipt": str(path)})
