"""Receipts and audits as PDF/A-3: texts, page and font put together by typst.

The bytes are the same everywhere. Nothing of this machine gets in: system fonts are ignored, the
date is T, and the font is ours. What the page is a reading of is attached. typst and segno come
with the extra `[pdf]`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import segno
import typst

from node.cli.paper.audit_texts import report_facts
from node.cli.paper.texts import code_text, page_facts
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.receipt import Receipt
from node.timestamp.refreshed import encode_receipt

_PAGE: Final = "page.typ"


def render_pdf(receipt: Receipt, join: ConsistencyProof | None = None) -> bytes:
    """Return the PDF certificate of a receipt, refreshed by `join`, whether or not it is true."""
    attached = encode_receipt(receipt, join)
    return _set(page_facts(receipt, join), attached, _code(code_text(receipt, join)))


def render_report_pdf(data: bytes, report: Mapping[str, Any]) -> bytes:
    """Return an audit report's page as PDF; `data` is the signed file that holds the report."""
    return _set(report_facts(report), data)


def _set(facts: Mapping[str, Any], attached: bytes, code: bytes | None = None) -> bytes:
    room = resources.files(__package__)
    with TemporaryDirectory(prefix="govchain-") as folder, resources.as_file(room) as source:
        root = Path(folder)
        (root / _PAGE).write_bytes((source / _PAGE).read_bytes())
        (root / "page.json").write_text(json.dumps(facts), encoding="utf-8")
        (root / facts["file"]).write_bytes(attached)
        if code is not None:
            (root / "code.svg").write_bytes(code)
        return typst.compile(
            root / _PAGE,
            root=root,
            font_paths=[source / "fonts"],
            ignore_system_fonts=True,
            pdf_standards="a-3a",
        )


def _code(text: str) -> bytes:
    """Return the code of the lowest version that holds the text, without a margin."""
    image = io.BytesIO()
    code = segno.make_qr(text, error="l", boost_error=True)
    code.save(image, kind="svg", border=0, xmldecl=False, dark="#1c1a17")
    return image.getvalue()
