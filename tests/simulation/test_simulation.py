"""Whole clusters under faults: hundreds of seeds, every past failure, and that a seed is a run."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.simulation import cluster
from tests.simulation.cluster import run_seed

ROOT = Path(__file__).parents[2]
REGRESSIONS = Path(__file__).with_name("regressions.txt")

CHUNK = 10
SEEDS = [(seed, 4) for seed in range(200)]
LARGER = [(seed, size) for size in (5, 6, 7) for seed in range(4)]
REPEATED = (3, 8, 11, 27)
"""Seeds that are run more than once."""

AGAIN = "from tests.simulation.cluster import run_seed; print(run_seed({}, 4).trace)"


def past_failures() -> list[tuple[int, int]]:
    lines = [line.split() for line in REGRESSIONS.read_text().splitlines()]
    return [(int(words[0]), int(words[1])) for words in lines if words and words[0].isdigit()]


def chunks() -> list[list[tuple[int, int]]]:
    runs = [*SEEDS, *LARGER, *past_failures()]
    return [runs[at : at + CHUNK] for at in range(0, len(runs), CHUNK)]


@pytest.mark.parametrize("runs", chunks(), ids=lambda runs: f"{runs[0]}-{runs[-1]}")
def test_no_oracle_objects(runs: list[tuple[int, int]]) -> None:
    violations = []
    for seed, size in runs:
        report = run_seed(seed, size)
        if report.violation:
            violations.append(
                f"seed {seed}, {size} validators: {report.violation}\n"
                f"  python -m tests.simulation --transcript --start {seed} --seeds 1 --n {size}"
            )
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize("seed", REPEATED)
def test_a_seed_is_one_run_whatever_the_hash_seed(seed: int) -> None:
    here = run_seed(seed, 4)
    assert here.steps > 100
    elsewhere = subprocess.run(
        [sys.executable, "-c", AGAIN.format(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(seed + 1)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert elsewhere.stdout.split() == [here.trace]


def test_sharing_the_work_that_validators_do_alike_changes_nothing() -> None:
    shared = run_seed(REPEATED[0], 4)
    with patch.object(cluster, "shared_work", nullcontext):
        assert run_seed(REPEATED[0], 4) == shared
