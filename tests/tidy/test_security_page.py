"""What the threat model claims, tests show: each named is there, and no claim is without."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("SECURITY.md", "node/crypto/README.md")
NAMED = re.compile(r"`(tests/[\w/.]+\.py)::(\w+)`")
CLAIMS = re.compile(
    r"^\| (?:claim|who \| gets) \| shown by \|\n\|[-|]+\|\n((?:\|.*\n)+)", re.MULTILINE
)


def rows(page: str) -> list[str]:
    """Return the rows of the tables of claims on a page."""
    text = (ROOT / page).read_text()
    return [row for table in CLAIMS.findall(text) for row in table.splitlines()]


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests in a file."""
    found = ROOT / path
    if not found.is_file():
        return frozenset()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = (each.name for each in ast.parse(found.read_text()).body if isinstance(each, kinds))
    return frozenset(name for name in names if name.startswith("test_"))


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_is_there(page: str) -> None:
    named = NAMED.findall((ROOT / page).read_text())
    assert len(named) > 8
    assert [(path, name) for path, name in named if name not in names_in(path)] == []


@pytest.mark.parametrize(("page", "least"), [(PAGES[0], 40), (PAGES[1], 6)])
def test_every_claim_names_a_test_or_says_that_none_can_show_it(page: str, least: int) -> None:
    claims = rows(page)
    assert len(claims) >= least
    assert [row for row in claims if not NAMED.search(row) and "| none: " not in row] == []


def test_a_test_that_is_not_there_is_missed() -> None:
    assert "test_every_test_that_is_named_is_there" in names_in("tests/tidy/test_security_page.py")
    assert "test_of_nobody" not in names_in("tests/tidy/test_security_page.py")
    assert names_in("tests/tidy/test_no_such_file.py") == frozenset()
