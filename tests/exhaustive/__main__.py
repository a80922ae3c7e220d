"""`python -m tests.exhaustive`: explore every setup within bounds, and tell what was found."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tests.commands import at_least, not_below_zero
from tests.exhaustive.explorer import Outcome, explore, replay
from tests.exhaustive.plants import PLANTS, planted, unplanted
from tests.exhaustive.setups import setups
from tests.exhaustive.system import Setup, System


def main(arguments: Sequence[str] | None = None) -> int:
    """Explore the setups asked for; 0 when all was visited and no rule broken, 1 otherwise."""
    options = _parse(arguments)
    core, new_view = unplanted() if options.plant is None else planted(options.plant)
    chosen = [
        setup
        for each in setups(options.slots, options.views, restarts=not options.no_restarts)
        for setup in [replace(each, whole_quorums=not options.single_votes)]
        if options.setup in (None, setup.name)
    ]
    if not chosen:
        sys.stderr.write("no such setup; there are:\n")
        sys.stderr.write("".join(f"  {s.name}\n" for s in setups(options.slots, options.views)))
        return 2
    if options.replay is not None:
        try:
            broken = replay(System(chosen[0], core, new_view), options.replay)
        except LookupError as error:
            sys.stderr.write(f"--replay: {error.args[0]}\n")
            return 2
        sys.stdout.write(f"{broken or 'no rule is broken'}\n")
        return 1 if broken else 0
    ends = time.monotonic() + options.minutes * 60
    outcomes = []
    for at, setup in enumerate(chosen):
        seconds = max(1.0, (ends - time.monotonic()) / (len(chosen) - at)) if options.minutes else 0
        outcome = explore(System(setup, core, new_view), options.delays, seconds=seconds)
        outcomes.append(outcome)
        _tell(setup, outcome, as_json=options.json)
        if outcome.violation:
            break
    _sum_up(outcomes, as_json=options.json)
    return 0 if all(each.is_complete and not each.violation for each in outcomes) else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.exhaustive", description=__doc__)
    parser.add_argument("--slots", type=int, default=2, choices=(1, 2), help="heights to decide")
    parser.add_argument("--views", type=at_least(1), default=2, help="how many views there can be")
    parser.add_argument(
        "--delays", type=_delays, default=3, help="departures from the schedule, or `all`"
    )
    parser.add_argument(
        "--minutes", type=not_below_zero, default=0.0, help="stop after so long in all"
    )
    parser.add_argument("--no-restarts", action="store_true", help="nobody crashes")
    parser.add_argument("--single-votes", action="store_true", help="hand over votes one by one")
    parser.add_argument("--setup", help="explore this one alone, by its name")
    parser.add_argument("--plant", choices=[p.name for p in PLANTS], help="explore with a mistake")
    parser.add_argument(
        "--replay", type=_transcript, help="take the steps of a transcript, of --setup"
    )
    parser.add_argument("--json", action="store_true", help="one line per setup, one at the end")
    return parser.parse_args(arguments)


def _delays(text: str) -> int | None:
    return None if text == "all" else at_least(0)(text)


def _transcript(path: str) -> list[str]:
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read: {error}") from error
    if not lines:
        raise argparse.ArgumentTypeError(f"{path} has no step")
    return lines


def _tell(setup: Setup, outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"setup": setup.name, **asdict(outcome)}) + "\n")
    else:
        bound = "any number of" if outcome.delays is None else outcome.delays
        extent = "all" if outcome.is_complete else "NOT all"
        if outcome.violation:
            extent = "a rule is broken"
        sys.stdout.write(
            f"{setup.name}: {extent} within {bound} delays: {outcome.states:,} states, "
            f"{outcome.transitions:,} transitions, {outcome.core_steps:,} core steps, "
            f"depth {outcome.depth}, {outcome.cpu_seconds:.1f} s\n"
        )
        if outcome.violation:
            steps = "".join(f"{line}\n" for line in outcome.transcript)
            sys.stdout.write(f"{outcome.violation}\n\n{steps}")
    sys.stdout.flush()


def _sum_up(outcomes: list[Outcome], *, as_json: bool) -> None:
    summary = {
        "setups": len(outcomes),
        "complete": sum(outcome.is_complete for outcome in outcomes),
        "violations": [outcome.violation for outcome in outcomes if outcome.violation],
        "states": sum(outcome.states for outcome in outcomes),
        "transitions": sum(outcome.transitions for outcome in outcomes),
        "core_steps": sum(outcome.core_steps for outcome in outcomes),
        "depth": max(outcome.depth for outcome in outcomes),
        "cpu_seconds": round(sum(outcome.cpu_seconds for outcome in outcomes), 1),
    }
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        sys.stdout.write("".join(f"{key}: {value}\n" for key, value in summary.items()))


if __name__ == "__main__":
    sys.exit(main())
