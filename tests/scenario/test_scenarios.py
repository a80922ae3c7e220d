"""Every scenario file: its trace is what the cores do, and what it expects holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenario.script import play, read_scenario

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_is_played_as_written(path: Path, request: pytest.FixtureRequest) -> None:
    scenario = read_scenario(path)
    assert scenario.expectations > 0, "a scenario without an expectation proves nothing"
    played = play(scenario)
    if request.config.getoption("--rewrite", default=False):
        path.write_text(played.text)
    assert not played.failures, "\n".join(played.failures)
    assert played.text == path.read_text(), "the trace changed: --rewrite, and read the diff"
