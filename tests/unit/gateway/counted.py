"""`python -m tests.unit.gateway.counted FILE ...`: the command, its signatures counted in FILE.

Two numbers of 8 bytes: how often a key signed, and how often a signature was checked.
"""

from __future__ import annotations

import functools
import mmap
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from node.cli.main import main
from node.crypto.signature import Ed25519PublicKey, Ed25519Signer, P256PublicKey, P256Signer
from node.crypto.sm2 import Sm2PublicKey, Sm2Signer

NUMBER: Final = struct.Struct("=Q")
COUNTED: Final = (
    (0, "sign", (P256Signer, Ed25519Signer, Sm2Signer)),
    (1, "verify", (P256PublicKey, Ed25519PublicKey, Sm2PublicKey)),
)
_ALONE: Final = threading.Lock()


def count(numbers: mmap.mmap, place: int, kind: type, name: str) -> None:
    """Have a method of a class counted, whoever calls it."""
    call: Callable[..., object] = getattr(kind, name)

    @functools.wraps(call)
    def counted(*arguments: object) -> object:
        with _ALONE:
            offset = place * NUMBER.size
            (before,) = NUMBER.unpack_from(numbers, offset)
            NUMBER.pack_into(numbers, offset, before + 1)
        return call(*arguments)

    setattr(kind, name, counted)


if __name__ == "__main__":
    with Path(sys.argv.pop(1)).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 2 * NUMBER.size)
    for place, name, kinds in COUNTED:
        for kind in kinds:
            count(shared, place, kind, name)
    sys.exit(main())
