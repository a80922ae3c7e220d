"""Whole clusters under faults: hundreds of seeds, every past failure, and that a seed is a run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.__main__ import repeated
from tests.simulation.runs import run_alone, run_seed

REGRESSIONS = Path(__file__).with_name("regressions.txt")

CHUNK = 4
SEEDS = [(seed, 4) for seed in range(100)]
LARGER = [(seed, size) for size in (5, 6, 7) for seed in range(8)]
REPEATED = (3, 8, 11, 27)
"""Seeds that are run more than once."""


def past_failures() -> list[tuple[int, int]]:
    lines = [line.split() for line in REGRESSIONS.read_text().splitlines()]
    return [(int(words[0]), int(words[1])) for words in lines if words and words[0].isdigit()]


def chunks() -> list[list[tuple[int, int]]]:
    runs = [*past_failures(), *LARGER, *SEEDS]  # the long ones first, that none is left at the end
    return [runs[at : at + CHUNK] for at in range(0, len(runs), CHUNK)]


@pytest.mark.parametrize("runs", chunks(), ids=lambda runs: f"{runs[0]}-{runs[-1]}")
def test_no_oracle_objects(runs: list[tuple[int, int]]) -> None:
    violations = []
    for seed, size in runs:
        report = run_seed(seed, size)
        if report.violation:
            violations.append(
                f"seed {seed}, {size} validators: {report.violation}\n"
                f"  python -m tests.simulation --seeds 1 --start {seed} --n {size}"
            )
    assert not violations, "\n".join(violations)


run_once = cache(run_seed)
of_repeated = pytest.mark.xdist_group("repeated")  # what one test ran, others look at


@of_repeated
@pytest.mark.parametrize("seed", REPEATED)
def test_a_seed_is_one_run_whatever_the_hash_seed(seed: int) -> None:
    here = run_once(seed, 4)
    assert here.steps > 100
    assert not repeated(here).violation


@of_repeated
def test_another_run_of_a_seed_is_noticed() -> None:
    here = run_once(REPEATED[0], 4)
    assert repeated(replace(here, trace="another")).oracle == "H"


@of_repeated
def test_sharing_the_work_that_validators_do_alike_changes_nothing() -> None:
    assert run_alone(REPEATED[0], 4) == run_once(REPEATED[0], 4)
