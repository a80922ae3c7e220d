"""The rounds: what is done to a network, and what is said of it. Each yields the cases it measured.

A round takes a `Field`, on which it puts up networks, and a `Plan`. Nothing is printed here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from gettext import gettext as _
from statistics import median
from typing import Any, Final

from node.cli.bench.figures import compare_dead, longest_wait_ms
from node.cli.bench.result import Case, make_case
from node.cli.bench.rig import Field, Load, Rig
from node.cli.verb import CommandError

SPIKE_FACTOR: Final = 2
STABLE_SHARE: Final = 0.2
"""Of the rate that was committed under pressure: what spike and stability are loaded with."""
OPEN_OUTSTANDING: Final = 32
"""Batches under way per validator in open loops: as many as a stream takes."""
RECEIPTS_VERIFIED: Final = 1_000
"""Of a transaction of many records, after each load of those."""
KILL_AT_S: Final = 3
"""When the primary is killed, in the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a round is to do, by the options of its verb."""

    nodes: Sequence[int]
    """How many validators each network has."""
    runs: int
    """How many times each is measured."""
    load: Load
    dead: int = 0
    sizes: Sequence[int] = ()
    """Of batches."""
    records: Sequence[int] = ()
    """Of transactions."""
    rate_per_s: float | None = None
    """Transactions due per second; None: `share` of what is committed under pressure."""
    share: float = 1.0
    long_s: int = 0
    """How long a stable load is measured."""


Round = Callable[[Field, Plan], Iterator[Case]]


def saturate(field: Field, plan: Plan) -> Iterator[Case]:
    """Load networks as far as they go; in turns while some validators are dead, if asked to."""
    for nodes, rig in _rigs(field, plan):
        with rig as network:
            idle = network.measure_idle()
            whole, reduced = [], []
            dead = network.validators[nodes - plan.dead :] if plan.dead else ()
            for _run in range(plan.runs):
                whole.append(network.load(plan.load).figures)
                if dead:
                    with network.dead(dead):
                        reduced.append(network.load(plan.load, dead=dead).figures)
            figures = {"idle": idle, "signing": network.tell_signing()}
            if dead:
                figures["dead"] = compare_dead(dead, whole, reduced)
            figures["disk"] = network.measure_disk()
            yield _case(nodes, plan.load, whole, figures)


def latency(field: Field, plan: Plan) -> Iterator[Case]:
    """Load networks at a rate below what they can, and see how long it takes."""
    for nodes, rig in _rigs(field, plan):
        with rig as network:
            idle = network.measure_idle()
            load = _at_rate(plan.load, plan, network)
            runs = [network.load(load).figures for _run in range(plan.runs)]
            yield _case(nodes, load, runs, {"idle": idle})


def batch(field: Field, plan: Plan) -> Iterator[Case]:
    """Load networks as far as they go: with batches of several sizes, and of many records each."""
    loads = {f"batch-{size}": replace(plan.load, batch=size) for size in plan.sizes}
    for records in plan.records:
        loads[f"records-{records}"] = replace(plan.load, batch=1, records=records)
    for nodes, rig in _rigs(field, plan):
        with rig as network:
            seen: dict[str, list[dict[str, Any]]] = {kind: [] for kind in loads}
            receipts: dict[str, dict[str, Any]] = {}
            for _run in range(plan.runs):
                for kind, load in loads.items():
                    seen[kind].append(network.load(load).figures)
                    if load.records > 1:
                        receipts[kind] = network.verify_receipts(RECEIPTS_VERIFIED)
            for kind, runs in seen.items():
                figures = {"receipts": receipts[kind]} if kind in receipts else None
                yield _case(nodes, loads[kind], runs, figures, kind=kind)


def catch_up(field: Field, plan: Plan) -> Iterator[Case]:
    """Load networks while the last validator is dead, and see how fast it catches up then."""
    for nodes, rig in _rigs(field, plan):
        with rig as network:
            last = network.validators[-1]
            runs, ratios = [], []
            for _run in range(plan.runs):
                with network.dead([last]):
                    live = network.load(plan.load, dead=[last]).figures
                    caught_up = network.time_catch_up(last)
                ratios.append(_over(caught_up["transactions_per_s"], live["transactions_per_s"]))
                runs.append({**live, "catch_up": {**caught_up, "ratio_to_live": ratios[-1]}})
            yield _case(nodes, plan.load, runs)


def failover(field: Field, plan: Plan) -> Iterator[Case]:
    """Kill the primary under load, and see for how long nothing becomes final."""
    for nodes, rig in _rigs(field, plan):
        with rig as network:
            load = replace(_at_rate(plan.load, plan, network), to_all=True)
            runs = [_fail_over(network, load) for _run in range(plan.runs)]
            yield _case(nodes, load, runs)


def stability(field: Field, plan: Plan) -> Iterator[Case]:
    """Load networks at a rate for long, and see what grows."""
    for nodes, rig in _rigs(field, plan):
        with rig as network:
            load = replace(_at_rate(plan.load, plan, network), seconds=plan.long_s)
            runs = [network.load(load).figures for _run in range(plan.runs)]
            yield _case(nodes, load, runs, {"disk": network.measure_disk()})


def caict(field: Field, plan: Plan) -> Iterator[Case]:
    """Load networks as CAICT does: pressure, a spike of twice that rate, a fifth of it for long."""
    for nodes, rig in _rigs(field, plan):
        with rig as network:
            pressure = [network.load(plan.load).figures for _run in range(plan.runs)]
            yield _case(nodes, plan.load, pressure, kind="pressure")
            rate_per_s = _expect_some(median(run["transactions_per_s"] for run in pressure), nodes)
            open_loop = replace(plan.load, outstanding=OPEN_OUTSTANDING)
            spike = replace(open_loop, rate_per_s=round(SPIKE_FACTOR * rate_per_s, 1))
            runs = [network.load(spike).figures for _run in range(plan.runs)]
            yield _case(nodes, spike, runs, kind="spike")
            stable_per_s = round(STABLE_SHARE * rate_per_s, 1)
            stable = replace(open_loop, rate_per_s=stable_per_s, seconds=plan.long_s)
            steady = [network.load(stable).figures]
            disk = network.measure_disk()
            yield _case(nodes, stable, steady, {"disk": disk}, kind="stability")


def _rigs(field: Field, plan: Plan) -> Iterator[tuple[int, Any]]:
    """Yield each number of validators with the context that puts such a network up."""
    alone = len(plan.nodes) == 1
    for nodes in plan.nodes:
        yield nodes, field.rig(nodes, alone=alone)


def _at_rate(load: Load, plan: Plan, network: Rig) -> Load:
    """Return the load in an open loop: at the rate asked for, else at a share of what goes."""
    rate_per_s = plan.rate_per_s
    if rate_per_s is None:
        saturated_per_s: float = network.load(load).figures["transactions_per_s"]
        rate_per_s = plan.share * _expect_some(saturated_per_s, len(network.validators))
    return replace(load, rate_per_s=round(rate_per_s, 1), outstanding=OPEN_OUTSTANDING)


def _expect_some(rate_per_s: float, nodes: int) -> float:
    """Return a rate found under load; raises `CommandError` where there is none to go by."""
    if not rate_per_s:
        message = _("{nodes} validators on this machine made nothing final while it was measured")
        raise CommandError("GC-2382", message.format(nodes=nodes))
    return rate_per_s


def _fail_over(network: Rig, load: Load) -> dict[str, Any]:
    primary = network.primary
    struck_s = [0.0]
    with ExitStack() as fault:

        def strike(second: int) -> None:
            if second == KILL_AT_S:
                struck_s[0] = time.monotonic()
                fault.enter_context(network.dead([primary]))

        seen = network.load(load, without=[primary], at_second=strike)
    until_s = seen.window.ticks[-1].time_s
    outage_ms = longest_wait_ms(seen.window.samples, struck_s[0], until_s)
    return {**seen.figures, "outage_ms": outage_ms}


def _case(
    nodes: int,
    load: Load,
    runs: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any] | None = None,
    *,
    kind: str = "",
) -> Case:
    settings = {"validators": nodes, "kind": kind, **asdict(load)}
    return make_case(f"{nodes}-{kind}" if kind else f"{nodes}", settings, runs, figures)


def _over(value: float | None, base: float) -> float | None:
    return round(value / base, 2) if value is not None and base else None


ROUNDS: Final[Mapping[str, Round]] = {
    "saturate": saturate,
    "latency": latency,
    "batch": batch,
    "catch-up": catch_up,
    "failover": failover,
    "scale": saturate,
    "stability": stability,
    "caict": caict,
}
