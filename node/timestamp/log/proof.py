"""C2SP tlog-proofs: one record's proof as text, made of a receipt.

Source: c2sp.org/tlog-proof. The record leaf travels as the proof's extra data: it is what the path
begins at, and says digest, T and submitter. Verification is in verify.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.chain.merkle import DIGEST_BYTES
from node.chain.record import LEAF_BYTES_MAX
from node.crypto.hashing import HashFunction
from node.errors import ClientError, DecodeError
from node.timestamp.log.checkpoint import parse_decimal
from node.timestamp.log.note import (
    NOTE_BYTES_MAX,
    Note,
    decode_text,
    from_base64,
    split_note,
    to_base64,
)
from node.timestamp.receipt import Receipt

TLOG_PROOF_SUFFIX: Final = ".tlog-proof"
FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
PATH_HASHES_MAX: Final = 63
TLOG_PROOF_BYTES_MAX: Final = NOTE_BYTES_MAX + 16_384

sha256: Final = HashFunction(hashlib.sha256)
"""The hash of every log in this form."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof as written: its parts, decoded but not checked against each other."""

    entry: bytes
    """What stands at the index: here always sent along, as the extra data."""
    index: int
    path: tuple[bytes, ...]
    checkpoint: Note

    def encode(self) -> bytes:
        """Return the text of the proof."""
        lines = [
            FIRST_LINE,
            f"extra {to_base64(self.entry)}",
            f"index {self.index}",
            *map(to_base64, self.path),
            "",
        ]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint.encode()

    @classmethod
    def decode(cls, data: bytes) -> TlogProof:
        """Read a proof; raises `DecodeError` on all but the one form of one with extra data."""
        text = decode_text(data, "tlog-proof", size_max=TLOG_PROOF_BYTES_MAX)
        head, _, note = text.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != FIRST_LINE:
            raise DecodeError(f"tlog-proof: expected the first line {FIRST_LINE}")
        if len(lines) < len(("first", "extra", "index")):
            raise DecodeError("tlog-proof: expected lines extra and index")
        extra, index, *path = lines[1:]
        if len(path) > PATH_HASHES_MAX:
            raise DecodeError(f"tlog-proof: expected at most {PATH_HASHES_MAX} hashes")
        return cls(
            from_base64(_after("extra", extra), "tlog-proof extra", size_max=LEAF_BYTES_MAX),
            parse_decimal(_after("index", index), "tlog-proof index"),
            parse_hashes(path, "tlog-proof path"),
            Note(*split_note(note)),
        )


def tlog_proof_of(receipt: Receipt) -> TlogProof:
    """Return a receipt's proof in this form.

    Raises `ClientError` where the receipt holds no checkpoint: one is cosigned some time after the
    block, and receipts handed out from then on hold it. Raises `DecodeError` where it holds none in
    form; whether the proof holds is for `verify_tlog_proof` to say.
    """
    if receipt.checkpoint is None:
        raise ClientError(
            "the receipt holds no checkpoint of the public log",
            fix="fetch the receipt again: govchain receipt get",
        )
    public = receipt.checkpoint
    note = Note.decode(public.note)
    return TlogProof(receipt.leaf.encode(), receipt.log_index, public.path, note)


def parse_hashes(lines: Sequence[str], what: str) -> tuple[bytes, ...]:
    """Read one hash per line; raises `DecodeError`."""
    hashes = tuple(from_base64(line, what, size_max=DIGEST_BYTES) for line in lines)
    if any(len(each) != DIGEST_BYTES for each in hashes):
        raise DecodeError(f"{what}: expected hashes of {DIGEST_BYTES} bytes")
    return hashes


def _after(word: str, line: str) -> str:
    if not line.startswith(f"{word} "):
        raise DecodeError(f"tlog-proof: expected a line that begins with {word}")
    return line.removeprefix(f"{word} ")
