"""`python -m tests.simulation`: run seeds and tell which fail, and how to see one again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator

from tests.simulation.cluster import Report, run_seed


def main() -> int:
    """Run the seeds asked for; 0 when all oracles were content, 1 otherwise."""
    options = _parse()
    sizes = [int(size) for size in options.n.split(",")]
    started = time.monotonic()
    failed: list[Report] = []
    done = steps = blocks = 0
    for report in _reports(options, sizes, started):
        done += 1
        steps += report.steps
        blocks += report.blocks
        if report.violation:
            failed.append(report)
        _tell(report, options)
    seconds = time.monotonic() - started
    summary = {
        "seeds": done,
        "failed": [f"{report.seed}/{report.size}" for report in failed],
        "blocks_per_second": round(blocks / seconds),
        "steps_per_second": round(steps / seconds),
        "seeds_per_hour": round(done / seconds * 3_600),
    }
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        sys.stdout.write("".join(f"{key}: {value}\n" for key, value in summary.items()))
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--n", default="4", help="validators, for instance 4,7: each seed runs all")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long")
    parser.add_argument("--transcript", action="store_true", help="tell everything that happens")
    parser.add_argument("--json", action="store_true", help="one line per seed, and one at the end")
    return parser.parse_args()


def _reports(options: argparse.Namespace, sizes: list[int], started: float) -> Iterator[Report]:
    for seed in range(options.start, options.start + options.seeds):
        for size in sizes:
            if options.minutes and time.monotonic() - started > options.minutes * 60:
                return
            yield run_seed(seed, size, print if options.transcript else None)


def _tell(report: Report, options: argparse.Namespace) -> None:
    if options.json:
        fields = {name: getattr(report, name) for name in Report.__slots__}
        sys.stdout.write(json.dumps(fields) + "\n")
    elif report.violation:
        sys.stdout.write(
            f"seed {report.seed} n {report.size}: {report.violation}\n"
            f"  again: python -m tests.simulation --seeds 1 --start {report.seed}"
            f" --n {report.size}\n"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
