"""Verifies COSE Receipts with pycose: (FILE ROOT-HEX KEY-HEX)... (x and y of the key).

Prints a line for each: `accepted`, or `refused: why`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import Sign1Message


def verdict(data: bytes, root: bytes, key: bytes) -> str:
    """Return what the library makes of one."""
    try:
        message = Sign1Message.decode(data)
        message.key = EC2Key(crv=P256, x=key[:32], y=key[32:])
        is_valid = message.verify_signature(detached_payload=root)
    except Exception as error:  # noqa: BLE001 - the library raises many kinds
        return f"refused: {type(error).__name__}: {error}"
    return "accepted" if is_valid else "refused: the signature is not valid"


one_after_the_other = iter(sys.argv[1:])
for path, root, key in zip(*[one_after_the_other] * 3, strict=True):
    said = verdict(Path(path).read_bytes(), bytes.fromhex(root), bytes.fromhex(key))
    sys.stdout.write(f"{' '.join(said.split())}\n")
