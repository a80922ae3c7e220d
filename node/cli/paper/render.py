"""A receipt as PDF/A-3: texts, page and font put together by typst; the same bytes everywhere.

Nothing of this machine gets in: system fonts are ignored, the date is T, and the font is ours. The
native receipt is attached as `proof.receipt`. typst and segno come with the extra `[pdf]`.
"""

from __future__ import annotations

import io
import json
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import segno
import typst

from node.cli.paper.texts import code_text, page_facts
from node.timestamp.receipt import Receipt

_PAGE: Final = "page.typ"


def render_pdf(receipt: Receipt) -> bytes:
    """Return the PDF certificate of a receipt, whether or not the receipt is true."""
    room = resources.files(__package__)
    with TemporaryDirectory(prefix="govchain-") as folder, resources.as_file(room) as source:
        root = Path(folder)
        (root / _PAGE).write_bytes((source / _PAGE).read_bytes())
        (root / "receipt.json").write_text(json.dumps(page_facts(receipt)), encoding="utf-8")
        (root / "proof.receipt").write_bytes(receipt.encode())
        (root / "code.svg").write_bytes(_code(code_text(receipt)))
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
