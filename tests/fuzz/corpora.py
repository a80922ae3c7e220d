"""The inputs that are kept of each target: one file of text each, in base64, the shortest first.

They are what reaches the most of a target with the least bytes: begun with what the unit tests hand
to it, widened by each run of the fuzzer, and reduced to what still adds something.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("corpus")
INPUT_BYTES_MAX: Final = 16_384
"""What is longer is not kept: it takes the fuzzer longer than it teaches it."""


def file_of(name: str) -> Path:
    """Return where the inputs of a target lie."""
    return FOLDER / f"{name.replace(':', '.').replace(' ', '-')}.txt"


def read(name: str) -> list[bytes]:
    """Return the inputs kept of a target; none if it is new."""
    file = file_of(name)
    return [b64decode(line) for line in file.read_text().splitlines()] if file.exists() else []


def write(name: str, inputs: Iterable[bytes]) -> None:
    """Keep these inputs and no others."""
    kept = sorted({data for data in inputs if len(data) <= INPUT_BYTES_MAX}, key=_place)
    FOLDER.mkdir(exist_ok=True)
    file_of(name).write_text("".join(f"{b64encode(data).decode()}\n" for data in kept))


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """Write each input to a file of its own, as the fuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / sha256(data).hexdigest()).write_bytes(data)


def pack(name: str, folder: Path) -> None:
    """Keep what the fuzzer left in its folder."""
    write(name, (file.read_bytes() for file in folder.iterdir()))


def _place(data: bytes) -> tuple[int, bytes]:
    return len(data), data
