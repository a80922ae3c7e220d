"""The pages that name scenarios, tests and oracles: all of them exist, and none is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import node.consensus
from tests.scenario.script import read_scenario

HERE = Path(__file__).parent
TESTS = HERE.parent
README = HERE / "README.md"
ARGUMENT = Path(node.consensus.__file__).with_name("README.md")

SHOWN = {path.stem: read_scenario(path).headings["shows"].split() for path in HERE.glob("*.txt")}
"""Scenario to the claims of the paper and the steps of the argument that it shows."""


def rows(page: Path, first: str) -> list[list[str]]:
    """Return the cells of the table rows whose first cell matches."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.read_text().splitlines()
        if line.startswith("| ")
    ]
    return [cells for cells in found if re.fullmatch(first, cells[0])]


def named(text: str) -> list[str]:
    """Return what a text names in code marks."""
    return re.findall(r"`([^`]+)`", text)


def exists(name: str) -> bool:
    """Whether a name is a scenario, a test, a file of tests, an oracle or a rule of a header."""
    if name in SHOWN:
        return True
    sources = "".join(path.read_text() for path in TESTS.rglob("*.py"))
    if name.startswith("test_"):
        return f"def {name}(" in sources or any(TESTS.rglob(name))
    if re.fullmatch(r"[A-Z]\d?", name):
        return any(f'"{name}: ' in path.read_text() for path in TESTS.glob("simulation/*.py"))
    return f'"{name}"' in (TESTS.parent / "node/chain/validation.py").read_text()


def guards(page: Path, first: str) -> list[str]:
    return sorted({name for cells in rows(page, first) for name in named(cells[-1])})


@pytest.mark.parametrize("name", guards(README, ".*") + guards(ARGUMENT, r"[SLB]\d+"))
def test_what_a_page_names_exists(name: str) -> None:
    assert exists(name)


def test_what_does_not_exist_is_noticed() -> None:
    for name in ("a-scenario-nobody-wrote", "test_nothing" + "_at_all", "Z9", "header-nonsense"):
        assert not exists(name)


def test_every_scenario_answers_a_pitfall() -> None:
    pitfalls = [cells for cells in rows(README, "[a-zA-Z].*") if len(cells) == 3]
    answered = {name for cells in pitfalls for name in named(cells[2])}
    assert set(SHOWN) - answered == set()
    assert [cells[0] for cells in pitfalls if not cells[2]] == []


def test_claims_and_scenarios_name_each_other() -> None:
    claims = {cells[0]: named(cells[2]) for cells in rows(README, r"4\.\d\.\d+[a-z]?")}
    for claim, names in claims.items():
        showing = {name for name, shows in SHOWN.items() if claim in shows}
        assert showing == {name for name in names if name in SHOWN}, claim
    stated = {claim for shows in SHOWN.values() for claim in shows if claim[0].isdigit()}
    assert stated - set(claims) == set()


def test_steps_and_scenarios_name_each_other() -> None:
    steps = {cells[0]: named(cells[-1]) for cells in rows(ARGUMENT, r"[SLB]\d+")}
    assert all(steps.values())
    for step, names in steps.items():
        showing = {name for name, shows in SHOWN.items() if step in shows}
        assert showing == {name for name in names if name in SHOWN}, step
    stated = {step for shows in SHOWN.values() for step in shows if not step[0].isdigit()}
    assert stated - set(steps) == set()
