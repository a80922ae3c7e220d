"""Verifies COSE Receipts with cwt: (FILE ROOT-HEX KEY-HEX)... (x and y of the key).

Prints a line for each: `accepted`, or `refused: why`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cwt import COSE, COSEKey


def verdict(data: bytes, root: bytes, key: bytes) -> str:
    """Return what the library makes of one."""
    compressed = bytes((2 + key[-1] % 2,)) + key[:32]  # what our key identifiers are
    try:
        cose_key = COSEKey.new({1: 2, 2: compressed, 3: -7, -1: 1, -2: key[:32], -3: key[32:]})
        COSE.new().decode(data, cose_key, detached_payload=root)
    except Exception as error:  # noqa: BLE001 - the library raises many kinds
        return f"refused: {type(error).__name__}: {error}"
    return "accepted"


one_after_the_other = iter(sys.argv[1:])
for path, root, key in zip(*[one_after_the_other] * 3, strict=True):
    said = verdict(Path(path).read_bytes(), bytes.fromhex(root), bytes.fromhex(key))
    sys.stdout.write(f"{' '.join(said.split())}\n")
