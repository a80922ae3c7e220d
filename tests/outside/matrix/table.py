"""The matrix itself: every row by every column, as a table in Markdown, and read back from one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from tests.outside.matrix.flips import FLIPS
from tests.outside.matrix.forgeries import FORGERIES, GOOD
from tests.outside.matrix.rows import Absent, Cells, Row
from tests.outside.matrix.verifiers import ACCEPTS, Verifier

ROWS: Final = (*GOOD, *FLIPS, *FORGERIES)
ABSENT: Final = "-"
CANNOT_TELL: Final = "cannot tell"
"""It accepts what is not good: the difference is none that it looks at."""
Column = Mapping[str, str]
"""Verdicts by the names of the rows."""


@cache
def cells(row: Row) -> Cells:
    """Return the samples of a row in each format."""
    return row.make()


def judge(verifier: Verifier) -> Column:
    """Return what one column says; several verdicts of one cell are joined by a slash."""
    found = {row: cells(row)[verifier.format] for row in ROWS}
    present = {row: cell for row, cell in found.items() if not isinstance(cell, Absent)}
    said = iter(verifier.judge([sample for cell in present.values() for sample in cell]))
    column = {row.name: ABSENT for row in ROWS}
    for row, cell in present.items():
        verdicts = {next(said) for _ in cell}
        if row not in GOOD:
            verdicts = {CANNOT_TELL if said == ACCEPTS else said for said in verdicts}
        column[row.name] = " / ".join(sorted(verdicts))
    return column


def reasons() -> dict[str, list[str]]:
    """Return why cells are empty, and which are, as row and format."""
    found: dict[str, list[str]] = {}
    for row in ROWS:
        for name, cell in cells(row).items():
            if isinstance(cell, Absent):
                found.setdefault(cell.reason, []).append(f"{row.name}: {name}")
    return found


def to_markdown(columns: Mapping[str, Column]) -> str:
    """Return the columns, by their titles, as one table."""
    head = ["", *columns]
    lines = [head, ["---"] * len(head)]
    lines += [[row.name, *(column[row.name] for column in columns.values())] for row in ROWS]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def from_markdown(text: str) -> dict[str, Column]:
    """Return the columns of the one table of a text whose lines begin with a bar."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = ([part.strip() for part in line.strip("|").split("|")] for line in lines)
    return {title: {row[0]: row[at] for row in rows} for at, title in enumerate(head) if at}
