"""The matrix of README.md: what every verifier says of good and broken receipts, cell by cell."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from node.timestamp.export import NATIVE, QR, TLOG
from node.timestamp.opening import PDF
from tests.outside.html_verifier import Case, compare
from tests.outside.matrix.forgeries import FORGERIES, GOOD
from tests.outside.matrix.rows import FORMATS, Absent
from tests.outside.matrix.story import NOW_MS, PINNED_HEIGHT, chain_of
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


def test_the_page_for_browsers_answers_as_ours_does(tmp_path: Path) -> None:
    """What is really signed, in the forms that differ most; flips are for tests of its own."""
    trust = chain_of().trust(PINNED_HEIGHT).encode()
    samples = {
        f"{row.name}: {name}": cell[0]
        for row in (*GOOD, *FORGERIES)
        for name, cell in cells(row).items()
        if name in {NATIVE, QR, TLOG} and not isinstance(cell, Absent)
    }
    digests = {name: hashlib.sha256(each.document).hexdigest() for name, each in samples.items()}
    cases = [
        Case(name, trust, sample.data, f"sha-256:{digests[name]}", NOW_MS)
        for name, sample in samples.items()
    ]
    assert len(cases) > 15
    assert compare(cases, tmp_path) == []
