"""The language itself: what is false fails whatever the trace, and nothing misspelt passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenario.cast import ScriptError
from tests.scenario.script import Played, Scenario, play, read_scenario

HEADINGS = {"title": "t", "pitfall": "p", "known from": "k", "shows": "S1"}


def played(*lines: str, **settings: str) -> Played:
    return play(Scenario(HEADINGS | settings, lines))


@pytest.mark.parametrize(
    "expectation",
    [
        "all committed nothing",
        "nobody committed b1",
        "only 0 1 2 committed b1",
        "0 committed b1 b1",
        "all sent PROPOSAL b1",
        "0 sent PROPOSAL 2 times",
        "only 1 2 sent COMMIT b1 v0",
        "3 sent PREPARE b1 v1",
        "all stands in view 1",
        "0 stands leaving for view 0",
        "0 refused by rule header-parent",
        "1 accused 0",
        "2 halted",
        "all has waiting tx1",
        "all checked 5 votes",
    ],
)
def test_what_is_false_fails_whatever_the_trace(expectation: str) -> None:
    outcome = played("> submit tx1", f"expect: {expectation}")
    assert len(outcome.failures) == 1
    assert expectation in outcome.failures[0]


@pytest.mark.parametrize(
    "line",
    [
        "expect: nobody committed b7",
        "expect: nobody sent COMIT",
        "expect: nobody sent COMMIT b7 v0",
        "expect: nobody commited b1",
        "> submitt tx1",
        "> hold COMIT",
        "> lift COMMIT",
        "> 0 sends COMMIT b1 v0 to all",
        "> crash 4",
        "just text",
    ],
)
def test_what_is_misspelt_or_impossible_fails(line: str) -> None:
    assert len(played("> submit tx1", line).failures) == 1


def test_the_trace_follows_its_command_and_old_ones_are_forgotten(tmp_path: Path) -> None:
    first = played("# A remark.", "> submit tx1", "expect: all committed b1", validators="4")
    assert not first.failures
    path = tmp_path / "again.txt"
    path.write_text(first.text.replace("commits b1", "commits something else"))
    assert play(read_scenario(path)) == first
    lines = first.text.splitlines()
    assert lines[lines.index("> submit tx1") + 1].endswith(
        "0  PROPOSAL b1 v0 on genesis: tx1, T+0 -> all"
    )


def test_no_more_than_f_validators_are_scripted() -> None:
    with pytest.raises(ScriptError, match="more than 1"):
        played("> submit tx1", scripted="2 3")


def test_a_file_says_what_it_is_about(tmp_path: Path) -> None:
    path = tmp_path / "bare.txt"
    path.write_text("title: t\npitfall: p\n\n> submit tx1\n")
    with pytest.raises(ScriptError, match="lacks known from, shows"):
        read_scenario(path)
