"""Makes every file of this folder from fixed keys: `python -m tests.vectors.receipt.generate`.

A case that fails differs from a good one in one thing, as far as one thing can: what it breaks is
the only rule that stands between it and a later step, or the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.vectors.receipt.case import Case
from tests.vectors.receipt.chain import Chain
from tests.vectors.receipt.compact import compact_cases
from tests.vectors.receipt.contradictory import contradictory_cases
from tests.vectors.receipt.formats import golden_files
from tests.vectors.receipt.keyed import build_keyed_chain, compact_files
from tests.vectors.receipt.malformed import malformed_cases
from tests.vectors.receipt.mismatched import mismatched_cases
from tests.vectors.receipt.public import public_cases
from tests.vectors.receipt.refreshed import refreshed_cases
from tests.vectors.receipt.story import DOCUMENT, build_chain
from tests.vectors.receipt.tokens import token_cases
from tests.vectors.receipt.trust_files import trust_cases, trust_files
from tests.vectors.receipt.unrooted import unrooted_cases
from tests.vectors.receipt.unsigned import unsigned_cases
from tests.vectors.receipt.verified import verified_cases
from tests.vectors.writing import write_generated

FOLDER: Final = Path(__file__).parent
GENERATED: Final = ("cases", "refreshed-cases", "trust", "trust-cases")
"""Folders in which nothing else lies."""


def cases(chain: Chain) -> Iterator[Case]:
    """Yield every receipt case."""
    yield from verified_cases(chain)
    yield from malformed_cases(chain)
    yield from mismatched_cases(chain)
    yield from unrooted_cases(chain)
    yield from unsigned_cases(chain)
    yield from contradictory_cases(chain)
    yield from public_cases(chain)
    yield from compact_cases(build_keyed_chain())
    yield from token_cases(chain)


def files() -> dict[str, bytes]:
    """Return every generated file of this folder by its relative path."""
    chain = build_chain()
    made = {
        "document.txt": DOCUMENT,
        **golden_files(chain),
        **compact_files(),
        **{f"trust/{name}.json": trust.encode() for name, trust in trust_files(chain).items()},
    }
    for folder, found in (
        ("cases", cases(chain)),
        ("refreshed-cases", refreshed_cases(chain)),
        ("trust-cases", trust_cases(chain)),
    ):
        for case in found:
            path = f"{folder}/{case.name}.json"
            if path in made:
                raise ValueError(f"two cases are named {case.name}")
            made[path] = case.to_json()
    return made


def main() -> None:
    """Write the files, and remove those that are no longer made."""
    write_generated(FOLDER, files(), *(f"{folder}/*.json" for folder in GENERATED))


if __name__ == "__main__":
    main()
