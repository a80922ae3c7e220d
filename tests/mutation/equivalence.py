"""Reads equivalent.md: mutants that behave as the product does, and why.

A section is a mutant's name, the lines it changes as a diff, and the proof. The lines bind the
proof to the code: where they are not the mutant's any more, the proof is void.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutant import Mutant

PAGE = Path(__file__).with_name("equivalent.md")
_SECTION = re.compile(
    r"^## `(?P<name>[^`]+)`\n\n```diff\n(?P<lines>.+?)\n```\n\n(?P<proof>.+?)(?=\n## |\Z)",
    re.MULTILINE | re.DOTALL,
)


class VoidProof(Exception):  # noqa: N818 - what is wrong with a section
    """A section is about no mutant that exists, or proves nothing."""


def proved_equivalent(mutants: Sequence[Mutant], root: Path, text: str) -> dict[str, str]:
    """Return the proofs of a page by mutant of the sources at `root`; raises `VoidProof`."""
    by_name = {mutant.name: mutant for mutant in mutants}
    proofs = {}
    for section in _SECTION.finditer(text):
        name, lines = section["name"], section["lines"].splitlines()
        if name not in by_name:
            raise VoidProof(f"{name}: there is no such mutant")
        changed = by_name[name].changed_lines(root)
        if lines != changed:
            raise VoidProof(f"{name} changes other lines:\n" + "\n".join(changed))
        proofs[name] = section["proof"].strip()
    headings = re.findall(r"^## ", text, re.MULTILINE)
    if len(headings) != len(proofs):
        raise VoidProof(f"{len(headings)} sections, {len(proofs)} of them sound and different")
    return proofs
