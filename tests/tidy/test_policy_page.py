"""The page that says what is promised of time gives the values that parameters have by default."""

from __future__ import annotations

import re
from pathlib import Path

import node
from node.chain.genesis import Parameters
from node.timestamp.tokens.issuing import POLICY

PAGE = Path(node.__file__).parent.parent / "proto/TSA-POLICY.md"


def test_the_page_gives_the_defaults_and_the_identifier() -> None:
    page = PAGE.read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE))
    assert stated == {name: str(getattr(Parameters(), name)) for name in stated}
    assert len(stated) == 4
    assert f"`{POLICY}`" in page
