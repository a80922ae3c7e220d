"""What a mutant is: a few replacements in the text of the product, and how they are made.

A replacement whose text is not found exactly once raises `Stale`, so that no mutant is left behind
by a change of what it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import cache
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Stale(Exception):  # noqa: N818 - what a mutant has become
    """The source no longer holds the text that a mutant replaces."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in one file; `old` stands there exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """The product with one mistake."""

    name: str
    """Stable: `M01` for one known from a real system, else place:operator:ordinal."""
    mistake: str
    known_from: str
    """System and public report; empty for a mutant made by an operator."""
    edits: tuple[Edit, ...]
    instead: str = ""
    """Where the mechanism of the report is not part of this design: what was meant there."""

    @property
    def digest(self) -> str:
        """What a result is about: another edit under the same name is another mutant."""
        return _digest_of(self.edits)

    def texts(self, root: Path) -> dict[str, str]:
        """Return the edited files below `root`, by path; raises `Stale`."""
        texts: dict[str, str] = {}
        for edit in self.edits:
            text = texts.get(edit.path) or (root / edit.path).read_text()
            found = text.count(edit.old)
            if found != 1:
                raise Stale(f"{self.name}: found {found} times in {edit.path}:\n{edit.old}")
            texts[edit.path] = text.replace(edit.old, edit.new)
        return texts

    def changed_lines(self, root: Path) -> list[str]:
        """Return the lines taken out (`-`) and put in (`+`), without their indentation."""
        lines: list[str] = []
        for path, text in self.texts(root).items():
            before = (root / path).read_text().splitlines()
            changes = list(unified_diff(before, text.splitlines(), n=0, lineterm=""))[2:]
            lines += [f"{line[0]} {line[1:].strip()}" for line in changes if line[0] in "-+"]
        return lines


@cache
def _digest_of(edits: tuple[Edit, ...]) -> str:
    return sha256(repr(edits).encode()).hexdigest()[:12]


def select(mutants: Sequence[Mutant], names: Sequence[str]) -> list[Mutant]:
    """Return the mutants whose names are, or begin like, one of `names`; all if there is none.

    Raises `LookupError` for a name that fits none.
    """
    if not names:
        return list(mutants)
    for name in names:
        if not any(mutant.name.startswith(name) for mutant in mutants):
            raise LookupError(f"no mutant {name}")
    return [mutant for mutant in mutants if mutant.name.startswith(tuple(names))]
