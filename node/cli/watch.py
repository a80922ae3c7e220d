"""`govchain watch`: record what settles in a folder, as it comes, until told to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from gettext import gettext as _
from pathlib import Path
from threading import Event
from typing import Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.notarize import check_text, recording_options
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb
from node.limits import RECORD_TYPE_BYTES_MAX

_PAUSE_MIN_S: Final = 0.1
_PAUSE_MAX_S: Final = 3_600


@click.command(
    "watch",
    cls=Verb,
    help=_(
        "Record the files of a folder as they come, until told to stop (SIGTERM, Ctrl-C). Each is "
        "recorded once it has settled, its size and time of change the same at two looks. What has "
        "its receipt is not recorded again, also after a new start."
    ),
)
@click.argument(
    "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER"
)
@click.option(
    "--every",
    "pause_s",
    type=click.FloatRange(_PAUSE_MIN_S, _PAUSE_MAX_S),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help=_("Time between two looks."),
)
@recording_options
@network_options
@verb("watch")
def watch(
    screen: Screen,
    *,
    folder: Path,
    pause_s: float,
    out: Path,
    type_code: str,
    patience_s: int,
    network: NetworkChoice,
) -> Answer:
    """Watch a folder."""
    from node.cli.readiness import await_service
    from node.cli.recording import expect_folder
    from node.cli.watching import Watch
    from node.client.recording import Outlook
    from node.operations.topology import lock_folder

    check_text("--type", type_code, RECORD_TYPE_BYTES_MAX)
    if out.resolve() == folder.resolve():
        raise click.UsageError(_("receipts go to another folder than the one that is watched"))
    found = network.open()
    expect_folder(out)
    with _told_to_stop() as stopping, lock_folder(out, wait=False):
        await_service(screen, found, patience_s)
        watching = Watch(screen, found, folder, out, Outlook(type_code))
        screen.note(_("watching {folder}; receipts go to {out}").format(folder=folder, out=out))
        watching.run(stopping, pause_s)
    told = _("stopped: {recorded} files recorded, {recorded_before} had their receipts before")
    counts = asdict(watching.tally)
    screen.note(told.format(**counts))
    return Answer({"folder": str(folder), "out": str(out), **counts})


@contextmanager
def _told_to_stop() -> Iterator[Event]:
    """Yield what is set when this process is told to stop: what is under way ends first."""
    stopping = Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_arguments: stopping.set()) for number in numbers]
    try:
        yield stopping
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
