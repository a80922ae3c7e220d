"""The page of an audit: what it says of sound and other reports, and of hostile ones."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pypdf
import pytest

from node.cli.paper.audit_texts import report_facts
from node.cli.paper.render import render_report_pdf

REPORT: dict[str, Any] = {
    "chain_id": "ab" * 32,
    "auditor": "auditor-1",
    "program": "govchain 1.0",
    "from": 1,
    "to": 300,
    "blocks": 300,
    "transactions": 900,
    "failed": 2,
    "votes": 1_200,
    "records": 4_000,
    "epoch": 1,
    "height": 300,
    "time": "2026-11-22T01:02:03.400Z",
    "header_digest": "cd" * 32,
    "state_root": "ef" * 32,
    "log_size": 4_300,
    "log_root": "01" * 32,
    "source": "validator-1",
    "compared_with": None,
    "blocks_compared": 0,
    "verdict": "sound",
    "rule": None,
    "finding": None,
}
GOLDEN = "d2e84051caf55ea948854ba164673c8cf3f2ed73dac7bc8164ae7440ba56aec1"
"""SHA-256 of the page of this report: the same on any machine."""


def words_of(pdf: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return "".join("".join(page.extract_text().split()) for page in pages)


def test_a_page_has_the_same_bytes_everywhere_and_holds_the_report() -> None:
    pdf = render_report_pdf(b"the signed file", REPORT)
    assert hashlib.sha256(pdf).hexdigest() == GOLDEN
    read = pypdf.PdfReader(io.BytesIO(pdf))
    assert read.attachments == {"audit-report.json": [b"the signed file"]}
    assert len(read.pages) == 1
    catalogue: Any = read.trailer["/Root"]
    assert "<pdfaid:part>3</pdfaid:part>" in catalogue["/Metadata"].get_data().decode()
    words = words_of(pdf)
    for said in ("审计报告", "1-300", "auditor-1", "均相符", "allagree"):
        assert said in words


def test_every_member_of_the_report_is_on_the_page() -> None:
    facts = report_facts(REPORT)
    told = [
        *(row["text"] for row in facts["rows"]),
        *(row.get("note", "") for row in facts["rows"]),
    ]
    words = " ".join([*told, *facts["statement"]])
    for name, value in REPORT.items():
        if value is not None and name not in {"verdict", "from", "to"}:
            assert str(value) in words, name
    assert "compared with: -" in words


def test_what_was_found_stands_first_and_nothing_is_said_to_agree() -> None:
    unsound = REPORT | {"verdict": "not sound", "rule": "audit-execution", "finding": "block 7: no"}
    facts = report_facts(unsound)
    first = facts["rows"][0]
    assert first["label"] == ("发现", "Finding")
    assert (first["text"], first["note"]) == ("block 7: no", "audit-execution")
    assert "all agree" not in facts["statement"][1]
    assert "均相符" not in facts["statement"][0]


@pytest.mark.parametrize(
    "changed",
    [
        {"time": "no time"},
        {"time": None, "auditor": None},
        {"time": "0001-01-01T00:00:00+14:00"},
        {"time": "9999-12-31T23:59:59-14:00"},
        {"finding": "\ud800\x00\u202e#eval(1) " + "x" * 5_000, "verdict": "other"},
        {"chain_id": ["a", {"b": 1}], "auditor": {"c": [None]}, "height": -1.5},
        {"verdict": ["sound"]},
    ],
)
def test_a_hostile_report_is_printed_as_what_it_is(changed: dict[str, Any]) -> None:
    pdf = render_report_pdf(b"{}", REPORT | changed)
    if "finding" in changed:
        words = words_of(pdf).replace("\u200b", "")
        assert "<U+D800><U+0000><U+202E>#eval(1)" in words
        assert "x" * 401 not in words


def test_a_report_without_members_has_a_page() -> None:
    assert render_report_pdf(b"", {}).startswith(b"%PDF-")


def test_anchors_are_told_and_those_by_the_chain_itself_as_what_they_are() -> None:
    anchors = [
        {"authority": "a", "height": 3, "stamped": "T", "verified": True, "outside": True},
        {"authority": "b", "height": 3, "stamped": "T", "verified": True, "insider": "org-1"},
        {"authority": "c", "height": 4, "verified": False, "outside": True, "finding": "step 4"},
        "no anchor",
    ]
    rows = report_facts(REPORT | {"anchors": anchors})["rows"][-3:]
    assert [row["label"][0] for row in rows] == ["外部锚定", "非外部锚定", "非外部锚定"]
    assert rows[0]["text"] == "a: 区块 block 3, T"
    assert [row.get("note") for row in rows] == [None, "org-1", "step 4"]
    broken: tuple[object, ...] = (None, "x", {"a": 1}, [None, 3, [[]]])
    for hostile in broken:
        assert report_facts(REPORT | {"anchors": hostile})["rows"] == report_facts(REPORT)["rows"]
    many = report_facts(REPORT | {"anchors": anchors[:1] * 999})["rows"]
    assert len(many) < len(rows) + len(report_facts(REPORT)["rows"]) + 9
