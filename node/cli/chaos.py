"""`govchain testnet chaos`: faults on purpose, what is expected of the network, and the verdict."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, VerbGroup, home_option, verb

if TYPE_CHECKING:
    from node.cli.experiment import Trial
    from node.cli.network import Network
    from node.operations.supervisor import Supervisor

DURATION_MS: Final = 5_000
DURATION_MS_MAX: Final = 120_000
PRIMARY_WITHIN_MS: Final = 3_000
WITHIN_MS: Final = 10_000

_MARGIN_MS: Final = 10_000  # a fault lasts this much longer than asked: it is undone before
_HOPS: Final = 3
"""Messages one after the other from a proposal to its block: it, PREPARE, COMMIT."""
_ASK_MS: Final = 2_000


class _Duration(click.ParamType[int]):
    """A time such as `10s` or `500ms`; a bare number is seconds. Its value is milliseconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the milliseconds; wrong usage for anything else, or too long a time."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,6})(ms|s|)", str(value))
        if found is None:
            self.fail(_("{text}: expected a time such as 10s or 500ms").format(text=value))
        duration_ms = int(found[1]) * (1 if found[2] == "ms" else 1_000)
        if not 0 < duration_ms <= DURATION_MS_MAX:
            self.fail(_("expected 1 to {ms} ms").format(ms=DURATION_MS_MAX), param, ctx)
        return duration_ms


def _options(
    *, within_ms: int, duration_ms: int = DURATION_MS
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--home`, `--for` and `--within`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @home_option
        @click.option(
            "--for",
            "duration_ms",
            type=_Duration(),
            default=duration_ms,
            help=_("How long the fault lasts.") + f"  [{duration_ms} ms]",
        )
        @click.option(
            "--within",
            "within_ms",
            type=_Duration(),
            default=within_ms,
            help=_("How soon the next block is to come.") + f"  [{within_ms} ms]",
        )
        @functools.wraps(function)
        def run(**arguments: object) -> object:
            return function(**arguments)

        return run

    return decorate


@dataclass(frozen=True, slots=True)
class _Times:
    """What the options say of time."""

    duration_ms: int
    within_ms: int


@click.group(
    "chaos", cls=VerbGroup, help=_("Disturb a trial network on purpose, and judge what it does.")
)
def chaos() -> None:
    """Hold the verbs."""


@chaos.command("kill-primary", help=_("Kill the primary as a crash does; start it again after."))
@_options(within_ms=PRIMARY_WITHIN_MS)
@verb("testnet chaos kill-primary")
def kill_primary(screen: Screen, home: Path, duration_ms: int, within_ms: int) -> Answer:
    """Kill the primary."""
    said = _("kill the primary, {nodes}")
    times = _Times(duration_ms, within_ms)
    return _take_out(screen, home, "kill-primary", said, lambda net: [current_primary(net)], times)


@chaos.command("kill", help=_("Kill COUNT validators as a crash does; start them again after."))
@click.argument("count", type=click.IntRange(1, 64))
@_options(within_ms=WITHIN_MS)
@verb("testnet chaos kill")
def kill(screen: Screen, home: Path, count: int, duration_ms: int, within_ms: int) -> Answer:
    """Kill some validators."""
    times = _Times(duration_ms, within_ms)
    return _take_out(screen, home, "kill", _("kill {nodes}"), lambda net: _last(net, count), times)


@chaos.command("pause", help=_("Keep COUNT validators from running for a while."))
@click.argument("count", type=click.IntRange(1, 64))
@_options(within_ms=WITHIN_MS)
@verb("testnet chaos pause")
def pause(screen: Screen, home: Path, count: int, duration_ms: int, within_ms: int) -> Answer:
    """Pause some validators."""
    times = _Times(duration_ms, within_ms)
    said = _("pause {nodes}")
    return _take_out(screen, home, "pause", said, lambda net: _last(net, count), times)


@chaos.command(
    "partition",
    help=_("Cut the network into groups that do not hear each other, such as 1,2/3,4."),
)
@click.argument("groups")
@_options(within_ms=WITHIN_MS)
@verb("testnet chaos partition")
def partition(screen: Screen, home: Path, groups: str, duration_ms: int, within_ms: int) -> Answer:
    """Cut the network into groups."""

    def plan(network: Network, supervisor: Supervisor) -> Trial:
        from node.cli.experiment import Trial
        from node.operations import chaos as faults
        from node.service.chaos import Chaos

        names = _names(network)
        parts = [[_resolve(names, each) for each in part.split(",")] for part in groups.split("/")]
        if sorted(name for part in parts for name in part) != sorted(names) or len(parts) <= 1:
            message = _("{text}: expected every validator once, in two groups or more")
            raise click.UsageError(message.format(text=groups))
        largest = max(parts, key=len)
        goes_on = len(largest) >= network.validators.quorum
        until_ms = faults.monotonic_ms() + duration_ms + within_ms + _MARGIN_MS
        cuts = {
            name: Chaos(until_ms=until_ms, cut=tuple(other for other in names if other not in part))
            for part in parts
            for name in part
        }
        return Trial(
            name="partition",
            detail=_("cut the network into {groups}").format(
                groups=" | ".join(", ".join(part) for part in parts)
            ),
            fault=lambda: faults.disturbed(home, supervisor, cuts),
            duration_ms=duration_ms,
            asked=tuple(largest),
            goes_on=goes_on,
            within_ms=within_ms,
            idle=tuple(name for name in names if not goes_on or name not in largest),
            obeying=tuple(names),
        )

    return _try_out(screen, home, plan)


@chaos.command("delay", help=_("Hold every message between validators back by MS milliseconds."))
@click.argument("ms", type=click.IntRange(1, 2_000))
@_options(within_ms=2 * WITHIN_MS)
@verb("testnet chaos delay")
def delay(screen: Screen, home: Path, ms: int, duration_ms: int, within_ms: int) -> Answer:
    """Delay all messages."""

    def plan(network: Network, supervisor: Supervisor) -> Trial:
        from node.cli.experiment import Trial
        from node.operations import chaos as faults
        from node.service.chaos import Chaos

        names = _names(network)
        until_ms = faults.monotonic_ms() + duration_ms + within_ms + _MARGIN_MS
        late = dict.fromkeys(names, Chaos(until_ms=until_ms, delay_ms=ms))
        return Trial(
            name="delay",
            detail=_("delay all messages by {ms} ms").format(ms=ms),
            fault=lambda: faults.disturbed(home, supervisor, late),
            duration_ms=duration_ms,
            asked=tuple(names),
            goes_on=True,
            within_ms=within_ms,
            not_before_ms=_HOPS * ms if len(names) > 1 else 0,
            obeying=tuple(names),
        )

    return _try_out(screen, home, plan)


@chaos.command(
    "skew",
    help=_("Put the clock of validator NODE forward by MS milliseconds; back, if MS is negative."),
    context_settings={"ignore_unknown_options": True},  # a negative number is no option
)
@click.argument("node")
@click.argument("ms", type=click.IntRange(-3_600_000, 3_600_000))
@_options(within_ms=WITHIN_MS)
@verb("testnet chaos skew")
def skew(
    screen: Screen, home: Path, *, node: str, ms: int, duration_ms: int, within_ms: int
) -> Answer:
    """Put a clock wrong."""

    def plan(network: Network, supervisor: Supervisor) -> Trial:
        from node.cli.experiment import Trial
        from node.operations import chaos as faults
        from node.service.chaos import Chaos

        names = _names(network)
        name = _resolve(names, node)
        until_ms = faults.monotonic_ms() + duration_ms + within_ms + _MARGIN_MS
        wrong = {name: Chaos(until_ms=until_ms, skew_ms=ms)}
        others = tuple(other for other in names if other != name)
        tolerated = len(others) >= network.validators.quorum
        forward, back = (
            _("put the clock of {node} forward by {ms} ms"),
            _("put the clock of {node} back by {ms} ms"),
        )
        said = back if ms < 0 else forward
        return Trial(
            name="skew",
            detail=said.format(node=name, ms=abs(ms)),
            fault=lambda: faults.disturbed(home, supervisor, wrong),
            duration_ms=duration_ms,
            asked=others or (name,),
            goes_on=tolerated or abs(ms) <= network.genesis.parameters.precision_ms,
            within_ms=within_ms,
            obeying=(name,),
            skewed_ms={name: ms} if others else {},
        )

    return _try_out(screen, home, plan)


def _try_out(screen: Screen, home: Path, plan: Callable[[Network, Supervisor], Trial]) -> Answer:
    """Plan and run a trial, if the network is one for trials and nobody else disturbs it."""
    from node.cli.experiment import run_trial
    from node.cli.network import Network
    from node.operations.chaos import alone
    from node.operations.supervisor import Supervisor

    network = Network.open(home, None, None)
    if not network.genesis.testnet:
        message = _("the genesis of {home} does not say that it is for trials").format(home=home)
        raise CommandError("GC-2318", message)
    supervisor = Supervisor(home, lambda _step, _node: None)
    with alone(home):
        return run_trial(screen, network, plan(network, supervisor))


def _take_out(  # noqa: PLR0917 - a trial has so many parts
    screen: Screen,
    home: Path,
    name: str,
    said: str,
    choose: Callable[[Network], list[str]],
    times: _Times,
) -> Answer:
    """Try out what happens without some validators, killed or paused."""

    def plan(network: Network, supervisor: Supervisor) -> Trial:
        from node.cli.experiment import Trial
        from node.operations import chaos as faults

        victims = choose(network)
        left = tuple(each for each in _names(network) if each not in victims)
        goes_on = len(left) >= network.validators.quorum
        fault = faults.paused if name == "pause" else faults.killed
        return Trial(
            name=name,
            detail=said.format(nodes=", ".join(victims)),
            fault=lambda: fault(supervisor, victims),
            duration_ms=times.duration_ms,
            asked=left,
            goes_on=goes_on,
            within_ms=times.within_ms,
            idle=() if goes_on else left,
        )

    return _try_out(screen, home, plan)


def _names(network: Network) -> list[str]:
    return [each.validator_id for each in network.validators.validators]


def _last(network: Network, count: int) -> list[str]:
    names = _names(network)
    if count > len(names):
        message = _("expected at most {count} validators").format(count=len(names))
        raise click.UsageError(message)
    return names[len(names) - count :]


def _resolve(names: Sequence[str], text: str) -> str:
    """Return the validator that a person means: by its id, or by the number in it."""
    for name in (text.strip(), f"validator-{text.strip()}"):
        if name in names:
            return name
    raise click.UsageError(_("{text}: no such validator").format(text=text))


def current_primary(network: Network) -> str:
    """Return who is primary now, by the word of the one that is furthest."""
    from node.rpc.client import HeardDiagnosis

    answers = network.ask(lambda client: client.diagnoses(_ASK_MS)).values()
    heard = [each.diagnosis for each in answers if isinstance(each, HeardDiagnosis)]
    if not heard:
        return _names(network)[0]
    furthest = max(heard, key=lambda said: (said.epoch, said.standing.view))
    return furthest.validators[furthest.standing.view % len(furthest.validators)]
