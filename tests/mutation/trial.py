"""What kills a mutant: seeds of the simulator from several starts, scenarios, unit tests."""

from __future__ import annotations

import json
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from statistics import median_low
from typing import Any

from tests.mutation.copies import environment

STARTS = tuple(range(0, 5_000_000, 1_000_000))
"""First seeds of the runs whose median is told."""
SILENCE_SECONDS_MAX = 400
"""How long one seed may take on a machine that has other work."""
TESTS_SECONDS_MAX = 600
SUITES = {
    "scenario": ("tests/scenario",),
    "unit": (
        "tests/unit/consensus",
        "tests/unit/service",
        "tests/unit/chain",
        "tests/unit/execution",
        "tests/unit/storage",
    ),
}
_PYTEST = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True)
class Budget:
    """What the simulator may spend on one mutant."""

    seeds: int
    """From each starting point."""
    minutes: float
    """From all of them together; the first alone is run to its end if it needs that."""
    starts: int


@dataclass(slots=True)
class Runs:
    """What the simulator found."""

    oracle: str = ""
    """The rule that was broken first; empty if none was."""
    violation: str = ""
    seeds_to_kill: list[float] = field(default_factory=list)
    """From each starting point; infinite, None in `fields`, where the mutant survived."""
    seeds: int = 0
    seconds: int = 0

    @property
    def median_seeds(self) -> float:
        """How many seeds it took, in the middle of the starting points."""
        return median_low(self.seeds_to_kill)

    def fields(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {
            "oracle": self.oracle,
            "violation": self.violation.strip().rpartition("\n")[2][
                :300
            ],  # of a traceback, its end
            "seeds_to_kill": [None if n == inf else n for n in self.seeds_to_kill],
            "median_seeds": None if self.median_seeds == inf else self.median_seeds,
            "seeds": self.seeds,
            "seconds": self.seconds,
        }


class Unsound(Exception):  # noqa: N818 - what the kill was
    """The product as it is fails at a seed too, which so says nothing of a mutant."""


def simulate(root: Path, budget: Budget, unchanged: Path) -> Runs:
    """Run seeds in the copy `root` until the mutant is dead from each start, or time is up.

    Each seed that kills it is run without it as well, in the sources `unchanged`; raises `Unsound`
    where these fail there too.
    """
    started = time.monotonic()
    runs = Runs()
    for start in STARTS[: budget.starts]:
        seconds_left = budget.minutes * 60 - (time.monotonic() - started)
        if runs.seeds_to_kill and (not runs.oracle or seconds_left <= 0):
            break
        told = _seeds(root, start, budget.seeds, seconds_left)
        runs.seeds += len(told)
        violation = told[-1]["violation"]
        if violation:
            (control,) = _seeds(unchanged, start, len(told), inf, skipped=len(told) - 1)
            if control["violation"]:
                raise Unsound(control["violation"])
            runs.seeds_to_kill.append(len(told))
            if not runs.oracle:
                runs.oracle, runs.violation = violation.partition(":")[0], violation
        elif len(told) == budget.seeds or not runs.seeds_to_kill:
            runs.seeds_to_kill.append(inf)
    runs.seconds = round(time.monotonic() - started)
    return runs


def _seeds(
    root: Path, start: int, count: int, seconds: float, skipped: int = 0
) -> list[dict[str, Any]]:
    """Return what became of the seeds from `start`: the last one killed the mutant, if any did."""
    told: list[dict[str, Any]] = []
    deadline = time.monotonic() + seconds
    with subprocess.Popen(
        _worker(start, count, skipped),
        cwd=root,
        env=environment(root, hash_seed=1),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as worker:
        while not told or (len(told) < count - skipped and not told[-1]["violation"]):
            line = _line(worker)
            told.append(json.loads(line or '{"violation": "E: the simulator ended or hung"}'))
            if time.monotonic() > deadline:
                break
        worker.kill()
    if not told[0]["violation"] and _is_another_run(root, told[0], start, skipped):
        return [{"violation": "H: another run under another hash seed"}]
    return told


def _worker(start: int, count: int, skipped: int) -> list[str]:
    """Return the command line of worker.py, which is this one's whatever the copy is of."""
    script = Path(__file__).with_name("worker.py")
    return [sys.executable, "-P", str(script), str(start), str(count), str(skipped)]


def _line(worker: subprocess.Popen[bytes]) -> bytes:
    """Return the next line; nothing at the end, or if it does not come for very long."""
    if worker.stdout is None:
        return b""
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        return worker.stdout.readline() if selector.select(SILENCE_SECONDS_MAX) else b""


def _is_another_run(root: Path, told: dict[str, Any], start: int, skipped: int) -> bool:
    """Run the first of the seeds again under another hash seed, which must change nothing."""
    again = subprocess.run(
        _worker(start, skipped + 1, skipped),
        cwd=root,
        env=environment(root, hash_seed=2),
        capture_output=True,
        text=True,
        check=False,
    )
    return not again.stdout or json.loads(again.stdout)["trace"] != told["trace"]


def run_suite(root: Path, tests: Sequence[str]) -> str:
    """Return which test of some files or folders fails first in the copy `root`; empty if none."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *tests, *_PYTEST],
            cwd=root,
            env=environment(root, hash_seed=1),
            capture_output=True,
            text=True,
            check=False,
            timeout=TESTS_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired:
        return "no end"
    if done.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return failed.group(1) if failed else (done.stdout + done.stderr)[-200:]
