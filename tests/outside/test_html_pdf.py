"""The HTML verifier on PDF files that attach more than they show: refused as ours refuses them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from node.limits import RECEIPT_FILE_BYTES_MAX
from tests.outside.html_verifier import GOLDEN, answers, difference, encoded, format_cases
from tests.unit.timestamp.pdf_files import hostile, slow, sound


def test_every_pdf_has_the_same_answer(tmp_path: Path) -> None:
    (golden,) = (case for case in format_cases() if case.name == "document.txt.pdf")
    receipt = (GOLDEN / "document.txt.receipt").read_bytes()
    good = [*sound(receipt).values()]
    bad = [data for data, _ in hostile(receipt, receipt).values()]
    bad += slow(RECEIPT_FILE_BYTES_MAX // 16).values()
    cases = [replace(golden, receipt=data) for data in (*good, *bad)]
    found = answers([encoded(case) for case in cases], tmp_path)
    assert [answer["outcome"] for answer in found] == (
        ["verified"] * len(good) + ["not verified"] * len(bad)
    )
    assert [each for each in map(difference, cases, found) if each is not None] == []
    told = [answer["steps"][-1]["detail"] for answer in found[len(good) :]]
    for (_data, reason), said in zip(hostile(receipt, receipt).values(), told, strict=False):
        assert reason in said or "does not inflate" in said, (reason, said)
