"""The one HTML file of a report, made of its sources, the vendored plots and the results.

Nothing in it is fetched or minified, and the page can reach nothing: its policy allows this script
and this style, by their hashes. The results are data in it, which the script shows as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from node.errors import invariant

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from node.cli.bench.result import Result

SCRIPTS: Final = (
    "vendor/uplot-1.6.32/uPlot.iife.js",
    "source/texts.js",
    "source/figures.js",
    "source/plots.js",
    "source/page.js",
)
"""In the order in which they run: each defines names that the later ones use."""
STYLES: Final = ("vendor/uplot-1.6.32/uPlot.min.css", "source/page.css")
LICENCE: Final = "vendor/uplot-1.6.32/LICENSE"

_HOLE: Final = re.compile(r"\{\{(\w+)\}\}")


def bundle(results: Sequence[Result]) -> bytes:
    """Return the page of these results: the same results, the same bytes."""
    script = "\n".join(map(read_source, SCRIPTS))
    style = "\n".join(map(read_source, STYLES))
    for text, end in ((script, "</script"), (style, "</style")):
        invariant(end not in text.lower() and "<!--" not in text, "a source would end its element")
    data = json.dumps([each.to_json() for each in results], ensure_ascii=False, allow_nan=False)
    filled = {
        "script": script,
        "style": style,
        "licence": read_source(LICENCE),
        "data": data.replace("<", "\\u003c"),  # nothing in it ends its element
        "script_hash": _hash(script),
        "style_hash": _hash(style),
    }
    return _HOLE.sub(lambda hole: filled[hole[1]], read_source("source/page.html")).encode()


def read_source(path: str) -> str:
    """Return a file of this package, by its path in it."""
    found: Traversable = files(__package__)
    for part in path.split("/"):
        found = found / part
    return found.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return how a content security policy names an inline element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
