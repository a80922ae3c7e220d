"""The matrix of README.md: what every verifier says of good and broken receipts, cell by cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.timestamp.opening import PDF
from tests.outside.matrix.forgeries import GOOD
from tests.outside.matrix.rows import FORMATS, Absent
from tests.outside.matrix.table import (
    ABSENT,
    CANNOT_TELL,
    ROWS,
    cells,
    from_markdown,
    judge,
    reasons,
    to_markdown,
)
from tests.outside.matrix.verifiers import ACCEPTS, NOT_ROOTED, REFUSES, VERIFIERS, Verifier

README = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
EXPECTED = from_markdown(README)
OURS = [verifier for verifier in VERIFIERS if verifier.name == "ours"]
NOT_OF_THE_PROOF = {(PDF, "flipped: the page"), (PDF, "flipped: the last byte")}
"""The attachment is the proof; that the page differs, `govchain verify` says beside the verdict."""


@pytest.mark.parametrize("verifier", VERIFIERS, ids=lambda verifier: verifier.title)
def test_every_verdict_is_the_expected_one(verifier: Verifier) -> None:
    assert judge(verifier) == EXPECTED[verifier.title]


def test_the_table_is_whole() -> None:
    assert list(EXPECTED) == [verifier.title for verifier in VERIFIERS]
    assert to_markdown(EXPECTED) in README
    assert {name for row in ROWS for name in cells(row)} == set(FORMATS)
    assert {verifier.format for verifier in OURS} == set(FORMATS)


def test_why_a_cell_is_empty_is_said() -> None:
    for reason, where in reasons().items():
        assert f"- {reason}: {'; '.join(where)}." in README
    for row in ROWS:
        for name, cell in cells(row).items():
            for verifier in VERIFIERS:
                if verifier.format == name:
                    is_empty = EXPECTED[verifier.title][row.name] == ABSENT
                    assert is_empty == isinstance(cell, Absent)


@pytest.mark.parametrize("verifier", OURS, ids=lambda verifier: verifier.title)
def test_ours_takes_what_is_good_and_nothing_else(verifier: Verifier) -> None:
    for row in ROWS:
        expected = EXPECTED[verifier.title][row.name]
        if expected == ABSENT:
            continue
        if row in GOOD:
            assert expected == ACCEPTS
        elif (verifier.format, row.name) in NOT_OF_THE_PROOF:
            assert expected == CANNOT_TELL
        else:
            assert expected.rpartition(" ")[0] in {REFUSES, NOT_ROOTED}


def test_no_outside_verifier_objects_to_what_is_good_but_by_todays_clock() -> None:
    objecting = [
        (verifier.title, row.name)
        for verifier in VERIFIERS
        for row in GOOD
        if EXPECTED[verifier.title][row.name] not in {ACCEPTS, ABSENT}
    ]
    assert objecting == [("tsr: openssl", "the certificate expired since, valid at T")]
