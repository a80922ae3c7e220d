"""From a failing run to a small one that fails alike: drop what the failure does not need.

A reduction is a word, and a reduced run is a seed, a size and such words, so it replays from a
command line and fits a line of regressions.txt:

- `fault:I` leaves out the I-th fault of the drawn plan
- `honest:V` makes Byzantine validator V follow the protocol; `trick:V:NAME` takes one trick from it
- `calm` makes links calm, `alike` all clocks, disks and pools sound
- `requests:N` has clients ask only N times
- `unchanged` leaves clients their keys and rights, in a governed run
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tests.simulation.adversaries.tricks import Trick
from tests.simulation.network import CALM
from tests.simulation.node import Machine
from tests.simulation.plan import Plan

MINIMISE_SECONDS = 120


def reduced(plan: Plan, words: Sequence[str]) -> Plan:
    """Return a drawn plan with reductions; raises `ValueError` for what is none of `plan`."""
    left_out = []
    for word in words:
        kind, *arguments = word.split(":")
        match kind, arguments:
            case "fault", [index] if int(index) in range(len(plan.faults)):
                left_out.append(int(index))
            case "honest", [validator] if int(validator) in plan.byzantine:
                others = {v: t for v, t in plan.byzantine.items() if v != int(validator)}
                plan = replace(plan, byzantine=others)
            case "trick", [validator, name] if int(validator) in plan.byzantine:
                tricks = [t for t in plan.byzantine[int(validator)] if t is not Trick[name]]
                plan = replace(plan, byzantine={**plan.byzantine, int(validator): tuple(tricks)})
            case "calm", []:
                plan = replace(plan, links=CALM)
            case "alike", []:
                plan = replace(plan, machines=(Machine(),) * plan.size)
            case "unchanged", []:
                plan = replace(plan, client_changes=0)
            case "requests", [count] if int(count) >= 0:
                plan = replace(plan, workload=replace(plan.workload, requests=int(count)))
            case _:
                raise ValueError(f"{word} is no reduction of this plan")
    kept = tuple(fault for index, fault in enumerate(plan.faults) if index not in left_out)
    return replace(plan, faults=kept)


def minimise(
    plan: Plan, fails: Callable[[Sequence[str]], bool], given: Sequence[str] = ()
) -> list[str]:
    """Return reductions of `plan`, the `given` ones among them, under which it still `fails`.

    Greedy, and ended after two minutes with what was found by then.
    """
    deadline = time.monotonic() + MINIMISE_SECONDS
    words = list(given)
    while True:
        for word in _candidates(plan, words):
            if time.monotonic() > deadline:
                return words
            kept = [w for w in words if not w.startswith("requests:")]
            tried = [*(kept if word.startswith("requests:") else words), word]
            if fails(tried):
                words = tried
                break
        else:
            return words


def _candidates(plan: Plan, words: Sequence[str]) -> Iterator[str]:
    """Yield what `words` do not leave out yet, the likeliest to be spared first."""
    now = reduced(plan, words)
    if now.links != CALM:
        yield "calm"
    if any(machine != Machine() for machine in now.machines):
        yield "alike"
    if now.client_changes:
        yield "unchanged"
    for validator, tricks in now.byzantine.items():
        yield f"honest:{validator}"
        if len(tricks) > 1:
            yield from (f"trick:{validator}:{trick.name}" for trick in tricks)
    for index in reversed(range(len(plan.faults))):
        if f"fault:{index}" not in words:
            yield f"fault:{index}"
    for divisor in (4, 2):
        if now.workload.requests >= divisor:
            yield f"requests:{now.workload.requests // divisor}"
