"""What a step found, or why it failed, in Chinese: the page says what the command line says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.sentences.telling import tell_finding, tell_refusal
from tests.outside.html_verifier import answers, format_cases, judge, proof_cases, vector_cases
from tests.unit.cli.command import CHINESE
from tests.unit.cli.sentences import spoken

INNER = {True: ("pinned at genesis", "§0§"), False: ("expected signed data", "x: y")}


@pytest.fixture(autouse=True)
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", CHINESE["LANGUAGE"])


def told(passed: bool, detail: str) -> str:  # noqa: FBT001 - as a step has it
    return tell_finding(detail) if passed else tell_refusal(detail)


def examples() -> Iterator[tuple[bool, str]]:
    """Yield all that the rooms below can say, filled in, with names before some."""
    for passed, templates in ((True, spoken.findings()), (False, spoken.refusals())):
        for template in sorted(templates):
            for inner in INNER[passed]:
                yield passed, template.replace(spoken.HOLE, inner)
    for name in sorted(spoken.names()):
        yield False, f"{name.replace(spoken.HOLE, 'x')}: expected signed data"


def test_the_page_tells_all_that_can_be_said_as_the_command_line_does(tmp_path: Path) -> None:
    listed = [*examples(), (False, ""), (True, ": "), (False, "x" * 5_000)]
    listed += [(False, f"a-rule: x: {word} log: expected signed data") for word in ("log", "vkey")]
    assert len(listed) > 1_000
    found = answers([{"passed": passed, "detail": detail} for passed, detail in listed], tmp_path)
    assert [each["told"] for each in found] == [told(*each) for each in listed]


def test_of_every_vector_all_that_is_said_is_told(tmp_path: Path) -> None:
    steps = [
        step
        for case in (*vector_cases(), *proof_cases(), *format_cases())
        for step in judge(case).steps
    ]
    listed = sorted({(step.passed, step.detail) for step in steps})
    found = answers([{"passed": passed, "detail": detail} for passed, detail in listed], tmp_path)
    silent = [
        detail
        for (_, detail), answer in zip(listed, found, strict=True)
        if answer["told"] == detail and not is_value(detail)
    ]
    assert silent == []
    assert os.environ["LANGUAGE"] == CHINESE["LANGUAGE"]


def is_value(detail: str) -> bool:
    """Tell whether a detail is a digest, a time or a reference: the same in every language."""
    return detail.startswith(("sha-", "sm3:", "20")) or detail.endswith(")")
