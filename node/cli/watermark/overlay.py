"""The text that is laid over a copy: for whom it is, when it was made, its code. Set by typst."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import typst

from node.disclosure.masking import DEFAULT_POLICY
from node.disclosure.watermark import Watermark
from node.timestamp.receipt import iso_time

_POINTS_PER_INCH: Final = 72
_SIZE_LEAST: Final = 5.0
_WIDTH_OF_ONE: Final = 0.55
"""Of a character, in sizes of the type, as a rule."""
_SLANT_ACROSS: Final = 0.95
_SLANT_DOWN: Final = 0.6
"""How far the next text is, across and down, in lengths of one that rises by 30 degrees."""
_SOURCE: Final = """
#let mark = json("mark.json")
#set page(width: mark.width * 1pt, height: mark.height * 1pt, margin: 0pt, fill: none)
#set text(font: ("Libertinus Serif", "Noto Serif CJK SC"), size: mark.size * 1pt,
  fill: rgb(120, 20, 20, 56))
#for spot in mark.spots {
  let (across, down) = spot.map(each => each * 1pt)
  place(top + left, dx: across, dy: down, rotate(-30deg, origin: left, box(mark.text)))
}
#place(bottom + center, dy: -mark.size * 0.6pt, text(size: mark.size * 0.8pt, mark.text))
"""


def text_of(mark: Watermark) -> str:
    """Return the text of a mark, in one line; numbers of people in it masked."""
    recipient = DEFAULT_POLICY.mask_text(mark.recipient)
    return f"{recipient}  {iso_time(mark.time_ms)}  {mark.code_text}"


def overlay(mark: Watermark, width: float, height: float, form: Literal["pdf", "png"]) -> bytes:
    """Return a page of this size with the text over all of it, on nothing.

    The size is in points for a PDF, in pixels for a PNG.
    """
    text = text_of(mark)
    size = max(_SIZE_LEAST, min(width, height) / 42)
    length = size * _WIDTH_OF_ONE * len(text)
    across, down = length * _SLANT_ACROSS, length * _SLANT_DOWN
    spots = [
        (column * across - (row % 2) * across / 2, (row + 1) * down / 2)
        for row in range(int(2 * height / down) + 2)
        for column in range(int(width / across) + 2)
    ]
    facts = {"width": width, "height": height, "size": size, "text": text, "spots": spots}
    room = resources.files("node.cli.paper")
    with TemporaryDirectory(prefix="govchain-") as folder, resources.as_file(room) as source:
        root = Path(folder)
        (root / "mark.typ").write_text(_SOURCE, encoding="utf-8")
        (root / "mark.json").write_text(json.dumps(facts), encoding="utf-8")
        return typst.compile(
            root / "mark.typ",
            root=root,
            font_paths=[source / "fonts"],
            ignore_system_fonts=True,
            format=form,
            ppi=_POINTS_PER_INCH,
        )
