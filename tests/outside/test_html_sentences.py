"""What a step found, or why it failed, in Chinese: the page says what the command line says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import node.web.verifier
from node.cli.sentences.telling import tell_finding, tell_refusal
from tests.outside.html_verifier import (
    answers,
    encoded,
    format_cases,
    judge,
    mutants,
    proof_cases,
    vector_cases,
)
from tests.unit.cli.command import CHINESE
from tests.unit.cli.sentences import spoken

SOURCES = Path(node.web.verifier.__file__).parent / "source"
WITHOUT_STEPS = {"texts.js", "sentences.js", "telling.js", "report.js", "page.js", "json.js"}
"""Nor is what a parser of JSON says told in Chinese, here or there."""
LITERAL = re.compile(r"'((?:[^'\\\n]|\\.)+)'|\"([^\"\n]+)\"|`((?:[^`\\]|\\.)+)`")
PART = re.compile(r"\$\{(?:[^{}]|\{[^{}]*\})*\}")
MUTANTS, SEED = 25, 21
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


def test_whatever_the_page_refuses_it_can_say_in_chinese(tmp_path: Path) -> None:
    """Its own words, where what is malformed is told otherwise than by ours."""
    sources = (path for path in sorted(SOURCES.glob("*.js")) if path.name not in WITHOUT_STEPS)
    found = {
        PART.sub("x", next(filter(None, match.groups())))
        for path in sources
        for match in LITERAL.finditer(path.read_text(encoding="utf-8"))
    }
    listed = sorted(each for each in found if each.startswith(("expected ", "the ", "it ", "no ")))
    assert len(listed) > 150
    told = answers([{"passed": False, "detail": each} for each in listed], tmp_path)
    silent = [one for one, answer in zip(listed, told, strict=True) if answer["told"] == one]
    assert silent == []


def test_of_mutants_too_all_that_is_said_is_told(tmp_path: Path) -> None:
    said = answers([encoded(case) for case in mutants(MUTANTS, SEED)], tmp_path)
    steps = [step for answer in said for step in answer["steps"]]
    found = answers(steps, tmp_path)
    silent = [
        step["detail"]
        for step, answer in zip(steps, found, strict=True)
        if answer["told"] == step["detail"] and not is_value(step["detail"])
    ]
    assert silent == []


def is_value(detail: str) -> bool:
    """Tell whether a detail is a digest, a time or a reference: the same in every language."""
    return detail.startswith(("sha-", "sm3:", "20")) or detail.endswith(")")
