"""`python -m tests.simulation`: run seeds and tell which fail, and how to see one again.

A seed is a whole run: validators, clients, faults and, after them, healing; about a hundred blocks
where nothing goes wrong. A failing one is made small and its end told; `--reduced` replays the
small one. In one of twenty validators and clients change (runs.py): `--start 10 --step 20`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice, product

from node.limits import VALIDATORS_MAX
from tests.commands import at_least, not_below_zero
from tests.simulation.minimise import minimise, reduced
from tests.simulation.runs import Report, plan_of, run_plan, run_seed
from tests.simulation.tally import ROOT, changed_tally, revision

SIZE_MIN = 4
"""Fewer validators tolerate no fault: there is nothing to draw."""
CHUNK = 10
"""Seeds a process is given at a time."""
REPEAT_EVERY = 50
"""One seed in so many is run again: by another process, under another hash seed, nothing shared."""
LAST_LINES = 60
"""How much is told of a run that failed."""

Run = tuple[int, int]
"""Seed and number of validators."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds asked for; 0 when all oracles were content, 1 if not, or if none was run."""
    options = _parse(arguments)
    started = time.monotonic()
    reports: list[Report] = []
    compared: list[Report] = []
    failed: list[dict[str, object]] = []
    for first in _reports(options, started):
        is_repeated = options.repeat and first.seed % REPEAT_EVERY == 0 and not first.violation
        report = repeated(first, options.reduced.split()) if is_repeated else first
        reports.append(report)
        if is_repeated:
            compared.append(report)
        if options.json:
            _print_json(_fields(report))
        if report.violation:
            failed.append(_tell_failure(report, options))
    summary: dict[str, object] = {
        "seeds": len(reports),
        "failed": failed if options.json else [failure["run"] for failure in failed],
        "repeated": len(compared),
        "epochs": sum(report.epochs for report in reports),
        **_cost(reports),
        "seconds": round(time.monotonic() - started),
    }
    if options.record:
        summary["clean_seeds"] = _record(reports, compared)
    if options.json:
        _print_json(summary)
    else:
        sys.stdout.write("".join(f"{key}: {value}\n" for key, value in summary.items()))
    return 1 if failed or not reports else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.simulation", description=__doc__)
    add = parser.add_argument
    add("--seeds", type=at_least(1), default=100, help="how many seeds to run")
    add("--start", type=at_least(0), default=0, help="the first seed")
    add("--step", type=at_least(1), default=1, help="from one seed to the next")
    add("--n", type=_sizes, default="4", help="validators, as 4,7: each seed is run with each")
    add("--minutes", type=not_below_zero, default=0.0, help="begin no seed after so long")
    add("--jobs", type=at_least(1), default=1, help="how many processes run seeds")
    add("--reduced", default="", help="leave out of the runs what these words say: minimise.py")
    add("--transcript", action="store_true", help="tell everything that happens")
    add("--no-repeat", dest="repeat", action="store_false", help="run no seed twice")
    add("--record", action="store_true", help="add the clean seeds to clean_seeds.json")
    add("--json", action="store_true", help="one line per seed, and one at the end")
    options = parser.parse_args(arguments)
    if options.jobs > 1 and (options.reduced or options.transcript):
        parser.error("--reduced and --transcript are for --jobs 1")
    if options.record and (options.reduced or not options.repeat):
        parser.error(
            "--record counts whole runs, one in fifty run twice: no --reduced, --no-repeat"
        )
    if options.reduced:
        try:
            for seed, size in product(_seeds(options), options.n):
                reduced(plan_of(seed, size), options.reduced.split())
        except (ValueError, KeyError) as error:
            parser.error(f"--reduced {options.reduced}: {error}")
    return options


def _sizes(text: str) -> list[int]:
    size = at_least(SIZE_MIN, VALIDATORS_MAX)
    return list(dict.fromkeys(size(word) for word in text.split(",")))


def _seeds(options: argparse.Namespace) -> range:
    return range(options.start, options.start + options.seeds * options.step, options.step)


def _cost(reports: list[Report]) -> dict[str, object]:
    """Return how many blocks became final and what they took of the processor, first runs only.

    Seeds differ in length: a hundred blocks count as one, whatever seeds they are of.
    """
    blocks = sum(report.blocks for report in reports)
    cpu_s = sum(report.cpu_us for report in reports) / 1_000_000
    return {
        "blocks": blocks,
        "cpu_s": round(cpu_s, 1),
        "cpu_s_per_hundred_blocks": round(cpu_s * 100 / max(blocks, 1), 3),
        "hundred_block_seeds_per_core_hour": int(blocks * 36 / max(cpu_s, 0.001)),
    }


# ---------------------------------------------------------------------- running


def _reports(options: argparse.Namespace, started: float) -> Iterator[Report]:
    runs = iter(product(_seeds(options), options.n))
    if options.jobs == 1:
        for seed, size in _until(runs, options, started):
            if options.reduced or options.transcript:
                write = print if options.transcript else None
                yield run_plan(seed, size, options.reduced.split(), write)
            else:
                yield run_seed(seed, size)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        running: dict[Future[list[Report]], None] = {}
        chunks = iter(lambda: list(islice(_until(runs, options, started), CHUNK)), [])
        while True:
            for chunk in islice(chunks, max(options.jobs * 2 - len(running), 0)):
                running[pool.submit(_run_chunk, chunk)] = None
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in [future for future in running if future in done]:
                del running[future]
                yield from future.result()


def _until(runs: Iterator[Run], options: argparse.Namespace, started: float) -> Iterator[Run]:
    while not options.minutes or time.monotonic() - started < options.minutes * 60:
        run = next(runs, None)
        if run is None:
            return
        yield run


def _run_chunk(runs: list[Run]) -> list[Report]:
    return [run_seed(seed, size) for seed, size in runs]


def repeated(report: Report, words: Sequence[str] = ()) -> Report:
    """Run a seed again elsewhere, with nothing shared: a violation if it was another run.

    `words` say what the run was reduced by.
    """
    seed, run = report.seed, (report.seed, report.size, [*words])
    code = f"from tests.simulation.runs import run_alone; print(run_alone(*{run}).trace)"
    again = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(seed % 1_000 + 1)},
        check=True,
        capture_output=True,
        text=True,
    )
    if again.stdout.strip() == report.trace:
        return report
    return report.failing("H: another run under another hash seed, nothing shared")


# ---------------------------------------------------------------------- telling


def _tell_failure(report: Report, options: argparse.Namespace) -> dict[str, object]:
    """Make a failing run small, tell its end, and return how to replay it."""
    seed, size = report.seed, report.size
    given = options.reduced.split()

    def fails(words: Sequence[str]) -> bool:
        return run_plan(seed, size, words).oracle == report.oracle

    words = [*given]
    if report.oracle != "H" and not options.transcript:
        words = minimise(plan_of(seed, size), fails, given)
    again = f"python -m tests.simulation --seeds 1 --start {seed} --n {size} --transcript"
    if words:
        again += f" --reduced '{' '.join(words)}'"
    if not options.json:
        sys.stdout.write(f"seed {seed} n {size}: {report.violation}\n")
        if not options.transcript:
            lines: deque[str] = deque(maxlen=LAST_LINES)
            small = run_plan(seed, size, words, lines.append)
            sys.stdout.write("".join(f"  {line}\n" for line in [*lines, small.violation]))
        sys.stdout.write(f"  again: {again}\n")
        sys.stdout.flush()
    return {"run": f"{seed}/{size}", "violation": report.violation, "again": again}


def _record(reports: list[Report], compared: list[Report]) -> dict[str, int]:
    with changed_tally() as tally:
        for size in sorted({report.size for report in reports}):
            tally.add(size, _clean(reports, size), _clean(compared, size))
        failed = [f"{r.seed}/{r.size}" for r in reports if r.violation]
        tally.failed = sorted({*tally.failed, *failed})
        if revision() not in tally.commits:
            tally.commits.append(revision())
    return tally.count()


def _clean(reports: list[Report], size: int) -> list[int]:
    return [report.seed for report in reports if report.size == size and not report.violation]


def _fields(report: Report) -> dict[str, object]:
    return {name: getattr(report, name) for name in report.__slots__}


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
