"""PDFs marked: the text laid over every page, the code in the properties; and read again.

Whoever edits the file can take both away; who prints it, photographs it or converts its pages to
images keeps what is seen. A signature in the original does not survive: the copy is another file.
"""

from __future__ import annotations

import io
import re
from typing import Final

from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.errors import PyPdfError

from node.cli.watermark.overlay import overlay
from node.disclosure.watermark import Watermark
from node.errors import ClientError

PAGES_MAX: Final = 2_000
_PROPERTY: Final = "/GovchainWatermark"
_CODE: Final = re.compile(r"(?:[0-9A-F]{4}-){7}[0-9A-F]{4}")


def mark_pdf(data: bytes, mark: Watermark) -> bytes:
    """Return a copy with the text of a mark over every page; raises `ClientError`."""
    reader = _open(data)
    writer = PdfWriter()
    layers: dict[tuple[float, float], PageObject] = {}
    try:
        for page in reader.pages:
            added = writer.add_page(page)
            added.transfer_rotation_to_content()
            box = added.mediabox
            size = (round(float(box.width), 1), round(float(box.height), 1))
            if size not in layers:
                layers[size] = PdfReader(io.BytesIO(overlay(mark, *size, "pdf"))).pages[0]
            added.merge_translated_page(layers[size], float(box.left), float(box.bottom))
        writer.add_metadata({_PROPERTY: mark.code_text})
        out = io.BytesIO()
        writer.write(out)
    except (PyPdfError, ValueError, KeyError, RecursionError) as error:
        raise _refusal(error) from error
    return out.getvalue()


def codes_in_pdf(data: bytes) -> set[str]:
    """Return the codes that a PDF shows or has in its properties; raises `ClientError`."""
    reader = _open(data)
    try:
        properties = reader.metadata
        texts = [] if properties is None else [str(properties.get(_PROPERTY, ""))]
        texts += [page.extract_text() for page in reader.pages]
    except (PyPdfError, ValueError, KeyError, RecursionError) as error:
        raise _refusal(error) from error
    return {code for text in texts for code in _CODE.findall(text)}


def _open(data: bytes) -> PdfReader:
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted:
            raise ClientError("PDF: it is encrypted", code="GC-2615")
        pages = len(reader.pages)
    except (PyPdfError, ValueError, KeyError, RecursionError) as error:
        raise _refusal(error) from error
    if not 0 < pages <= PAGES_MAX:
        raise ClientError(f"PDF: expected 1..{PAGES_MAX} pages, got {pages}", code="GC-2615")
    return reader


def _refusal(error: Exception) -> ClientError:
    return ClientError(f"PDF: expected one that can be read: {error}", code="GC-2615")
