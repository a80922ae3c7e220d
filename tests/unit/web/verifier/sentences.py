"""The sentences of the command line as the page holds them: made of its tables and the catalogue.

As a command it writes them anew, which is due whenever a sentence or its translation changes:

    python -m tests.unit.web.verifier.sentences
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from babel.messages.pofile import read_po

import node.cli
import node.web.verifier
from node.cli.sentences.findings import FINDINGS
from node.cli.sentences.names import NAMES
from node.cli.sentences.refusals import REFUSALS

PATH: Final = Path(node.web.verifier.__file__).parent / "source" / "sentences.js"
JOINING: Final = "{name}: {said}"
HEAD: Final = """\
// What a step found, or why it failed, in English and Chinese: the tables of the command line.
// Written by `python -m tests.unit.web.verifier.sentences`; change it there, not here.
"""


def chinese() -> dict[str, str]:
    """Return the catalogue."""
    with (node.cli.LOCALE_FOLDER / "zh/LC_MESSAGES/govchain.po").open("rb") as file:
        return {str(each.id): str(each.string) for each in read_po(file, locale="zh") if each.id}


def module() -> str:
    """Return the text of the page's module."""
    catalogue = chinese()
    tables = {
        "FINDINGS": FINDINGS,
        "REFUSALS": REFUSALS,
        "NAMES": NAMES,
        "JOINING": (JOINING,),
    }
    parts = [HEAD]
    for name, messages in tables.items():
        lines = "".join(f"  [{_quoted(each)}, {_quoted(catalogue[each])}],\n" for each in messages)
        parts.append(f"\nexport const {name} = [\n{lines}];\n")
    return "".join(parts)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(PATH.write_text(module(), encoding="utf-8") == 0)
