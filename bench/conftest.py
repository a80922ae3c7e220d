"""What all benchmarks share: a way to print what they counted, after the table of their times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

MAX_TIME_S = 0.5
"""How long each figure is measured, unless five rounds take longer: the minimum needs no more."""

Say = Callable[[Callable[[float], str]], None]

_LINES = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that adds a line to the end of the run's output, whatever was measured."""
    return request.config.stash.setdefault(_LINES, []).append


@pytest.fixture
def say(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Say:
    """Return a function that adds a line to the end of the run's output.

    It takes what makes the line of the best time of a round, in seconds. Nothing is measured, and
    nothing said, under `--benchmark-disable`.
    """

    def say(line_of: Callable[[float], str]) -> None:
        if benchmark.stats is not None:
            lines = request.config.stash.setdefault(_LINES, [])
            lines.append(line_of(benchmark.stats.stats.min))

    return say


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.benchmark(max_time=MAX_TIME_S))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(_LINES, [])
    if lines:
        terminalreporter.section("counted")
        for line in lines:
            terminalreporter.write_line(line)
