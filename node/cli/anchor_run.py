"""`govchain anchor run`: what is due stamped by authorities outside, and recorded, every day."""

from __future__ import annotations

import signal
import time
from contextlib import AbstractContextManager, ExitStack
from gettext import gettext as _
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

    from node.errors import NodeError
    from node.operations.anchor_home import KeptAnchor, PinnedAuthority
    from node.operations.anchoring import Failing, Sight
    from node.timestamp.trust import TrustAnchor

_POLL_S: Final = 60


@click.command(
    "run",
    cls=Verb,
    help=_(
        "Once a day (UTC), have each authority of ANCHORS stamp the last certified block of the "
        "day before, and record the anchor on the chain, until told to stop (SIGTERM, Ctrl-C). An "
        "authority that is down is told of, and asked again."
    ),
)
@click.argument("folder", metavar="ANCHORS", type=click.Path(path_type=Path, file_okay=False))
@click.option("--once", is_flag=True, help=_("Do what is due and end."))
@click.option("--newest", is_flag=True, help=_("With --once: anchor the newest block at once."))
@click.option(
    "--metrics",
    "metrics_address",
    metavar="HOST:PORT",
    help=_("Serve metrics for Prometheus there, in clear text: how old anchors are, what failed."),
)
@network_options
@verb("anchor run")
def run(
    screen: Screen,
    *,
    folder: Path,
    once: bool,
    newest: bool,
    metrics_address: str | None,
    network: NetworkChoice,
) -> Answer:
    """Make anchors."""
    from node.cli.anchor_chain import ReachedChain
    from node.cli.anchor_verify import warn_of_insider
    from node.operations.anchor_home import AnchorHome
    from node.operations.anchor_metrics import AnchorMetrics
    from node.operations.anchoring import Anchoring, Failing, Progress
    from node.operations.stamp_client import ask_authority
    from node.operations.topology import lock_folder

    if newest and not once:
        raise click.UsageError(_("--newest goes with --once"))
    if once and metrics_address is not None:
        raise click.UsageError(_("--metrics does not go with --once"))
    kept = AnchorHome(folder)
    authorities = kept.authorities()
    trust = network.open().pinned  # what cannot be used is told at once
    insiders = _find_insiders(authorities, trust)
    for name, insider in insiders.items():
        warn_of_insider(screen, name, insider)
    making = Anchoring(kept, lambda: ReachedChain(network.open()), ask_authority, utc_ms)
    metrics = AnchorMetrics(kept, insiders, utc_ms)
    looks: list[dict[str, Any]] = []
    faults: list[Fault] = []

    def tell(authority: PinnedAuthority, seen: Sight | Failing) -> None:
        metrics.note(authority, seen)
        if isinstance(seen, Failing):
            fault = _fault_of(seen.error)
            text = _("{name}: {fault}; asked again at {time}")
            told = text.format(
                name=authority.name, fault=fault.sentence, time=_spoken(seen.retry_ms)
            )
            screen.note(f"{told}\n  {fault.fix}")
            if once:
                faults.append(fault)
        elif once or seen.progress is not Progress.UP_TO_DATE:
            screen.line(_told(authority, seen))
        if once:
            looks.append(_describe_look(authority, seen))

    with lock_folder(folder, wait=False):
        if once:
            making.look_around(tell, newest=newest)
            return Answer(
                {"anchors_folder": str(folder), "looks": looks}, faults[0] if faults else None
            )
        stopping = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_arguments: stopping.set())
        names = ", ".join(each.name for each in authorities)
        with _serving(metrics.registry, metrics_address):
            screen.note(_("makes anchors by {names}").format(names=names))
            while not stopping.is_set():
                making.look_around(tell)
                stopping.wait(_POLL_S)
    return Answer({"anchors_folder": str(folder)})


def _find_insiders(authorities: Iterable[PinnedAuthority], trust: TrustAnchor) -> dict[str, str]:
    """Return who of the chain is behind authorities, by their names."""
    from node.timestamp.outside.kinship import find_insider

    found = {each.name: find_insider(each.outside.known, trust) for each in authorities}
    return {name: insider for name, insider in found.items() if insider is not None}


def _serving(registry: CollectorRegistry, address: str | None) -> AbstractContextManager[object]:
    """Serve metrics for as long as the context lasts, where an address is given."""
    from node.config import Address
    from node.service.telemetry import serve_metrics

    stack = ExitStack()
    if address is not None:
        parsed = Address.parse(address)
        stack.callback(serve_metrics(registry, parsed.host, parsed.port))
    return stack


def _told(authority: PinnedAuthority, sight: Sight) -> str:
    from node.operations.anchoring import Progress

    kept = sight.kept
    if kept is None:
        return _("{name}: no block is due yet").format(name=authority.name)
    said = {
        Progress.ANCHORED: _("{name}: stamped and recorded block {height}: {path}"),
        Progress.RECORDED: _("{name}: recorded what was stamped, to block {height}: {path}"),
        Progress.UP_TO_DATE: _("{name}: nothing new since block {height}: {path}"),
    }[sight.progress]
    return said.format(name=authority.name, height=kept.height, path=kept.path)


def _describe_look(authority: PinnedAuthority, seen: Sight | Failing) -> dict[str, Any]:
    from node.operations.anchoring import Failing

    if isinstance(seen, Failing):
        fault = _fault_of(seen.error)
        return {"authority": authority.name, "progress": "failing", "error": fault.to_json()}
    kept = None if seen.kept is None else describe_kept(seen.kept)
    return {"authority": authority.name, "progress": seen.progress.value, "anchor": kept}


def describe_kept(kept: KeptAnchor) -> dict[str, Any]:
    """Return an anchor as JSON members, nothing of it verified; without times if it is damaged."""
    from node.errors import NodeError

    try:
        stamped_ms: int | None = kept.stamped_ms()
    except NodeError:
        stamped_ms = None
    return {
        "path": str(kept.path),
        "date": kept.date,
        "height": kept.height,
        "authority": kept.authority,
        "stamped": None if stamped_ms is None else _spoken(stamped_ms),
        "stamped_ms": stamped_ms,
        "recorded": kept.receipt is not None,
    }


def _fault_of(error: NodeError) -> Fault:
    return error.fault if isinstance(error, CommandError) else Fault.of(error)


def _spoken(time_ms: int) -> str:
    from node.timestamp.receipt import iso_time

    return iso_time(time_ms)


def run_at_once(folder: Path) -> str:
    """Return the command that makes the next anchor now, due or not, and says why it fails."""
    return f"govchain anchor run {folder} --once --newest"


def utc_ms() -> int:
    """Return what the clock of this machine says."""
    return time.time_ns() // 1_000_000
