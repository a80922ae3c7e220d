"""Verifies a COSE Receipt with cwt: FILE ROOT-HEX KEY-HEX (x and y). Prints what came of it."""

from __future__ import annotations

import sys
from pathlib import Path

from cwt import COSE, COSEKey

data, root, key = Path(sys.argv[1]).read_bytes(), *map(bytes.fromhex, sys.argv[2:4])
compressed = bytes((2 + key[-1] % 2,)) + key[:32]  # what our key identifiers are
try:
    cose_key = COSEKey.new({1: 2, 2: compressed, 3: -7, -1: 1, -2: key[:32], -3: key[32:]})
    COSE.new().decode(data, cose_key, detached_payload=root)
except Exception as error:  # noqa: BLE001 - the library raises many kinds
    sys.exit(f"refused: {type(error).__name__}: {error}")
