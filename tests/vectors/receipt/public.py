"""Receipts with a checkpoint of the public log, good ones and such as fail at step 7."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from node.crypto.signature import Ed25519Signer
from node.timestamp.log.note import Note, NoteSignature, cosign_text, sign_text
from node.timestamp.receipt import Receipt
from node.timestamp.verify import Step
from tests.vectors.receipt.case import Case, fails
from tests.vectors.receipt.chain import Chain, seed
from tests.vectors.receipt.cosigned import (
    TIME_S,
    checkpoint_at,
    cosignature,
    cosigned,
    cosigner_of,
    with_checkpoint,
)
from tests.vectors.receipt.story import FIRST_OF_EPOCH_1, LAST_OF_EPOCH_0, PLAIN, SET_0, SET_1
from tests.vectors.receipt.verified import good


def public_cases(chain: Chain) -> Iterator[Case]:
    """Yield receipts with a checkpoint."""
    plain = chain.receipt(PLAIN, 1)
    later = chain.blocks[LAST_OF_EPOCH_0 - 1].header.log_size
    own = chain.blocks[PLAIN - 1].header.log_size
    note = cosigned(checkpoint_at(chain, later), SET_0)
    yield good("public", "a later checkpoint", _with(chain, plain, note, later), height=2)
    first = chain.receipt(FIRST_OF_EPOCH_1, 1)
    size = first.block.header.log_size
    four = cosigned(checkpoint_at(chain, size), SET_1, (0, 2, 3, 4))
    yield good("public-own", "of its own block", _with(chain, first, four, size), height=7)
    yield from _of_whom(chain, plain, note, later)
    yield from _of_what(chain, plain, note, later)
    elsewhere = with_checkpoint(chain, plain, note.encode(), own)
    yield _fails("path", "the path in another tree", replace(plain, checkpoint=elsewhere), "proof-")


def _of_whom(chain: Chain, plain: Receipt, note: Note, size: int) -> Iterator[Case]:
    checkpoint = checkpoint_at(chain, size)
    log_line, *lines = note.signatures
    few = cosigned(checkpoint, SET_0, (0, 1))
    yield _fails("few", "two cosigners", _with(chain, plain, few, size), "checkpoint-quorum")
    for name, about, signatures, reason in (
        ("twice", "one of three twice", (log_line, *lines, lines[2]), "note-twice"),
        ("order", "not in the order of the set", (log_line, *lines[::-1]), "checkpoint-lines"),
        ("log-missing", "no line of the log", lines, "checkpoint-log"),
        ("log-last", "the log's line at the end", (*lines, log_line), "checkpoint-lines"),
        (
            "stranger",
            "a fourth, outside the set",
            (log_line, *lines, cosignature(checkpoint, "validator-9")),
            "checkpoint-lines",
        ),
        (
            "posing",
            "the third by another key",
            (log_line, *lines[:2], _posing(checkpoint.text, lines[2].name)),
            "checkpoint-quorum",
        ),
        (
            "borrowed",
            "the third with a signature of the second",
            (log_line, *lines[:2], replace(lines[2], signature=lines[1].signature)),
            "note-signature",
        ),
    ):
        changed = Note(note.text, tuple(signatures))
        yield _fails(name, about, _with(chain, plain, changed, size), reason)
    retired = chain.receipt(FIRST_OF_EPOCH_1, 1)
    at = retired.block.header.log_size
    old = cosigned(checkpoint_at(chain, at), SET_0)
    yield _fails(
        "retired", "by the set before", _with(chain, retired, old, at), "checkpoint-quorum"
    )


def _of_what(chain: Chain, plain: Receipt, note: Note, size: int) -> Iterator[Case]:
    checkpoint = checkpoint_at(chain, size)
    other = replace(checkpoint, origin=f"govchain/{bytes(32).hex()}")
    elsewhere = _with(chain, plain, cosigned(other, SET_0), size)
    yield _fails("origin", "of another chain's log", elsewhere, "checkpoint-origin")
    forged = replace(checkpoint, head=replace(checkpoint.head, root=seed("root")))
    forgery = _with(chain, plain, cosigned(forged, SET_0), size)
    yield _fails("root", "of a log without the record", forgery, "proof-root")
    extended = f"{checkpoint.text}more\n"
    key = cosigner_of("validator-1")
    lines = [
        cosign_text(extended, line.name, cosigner_of(f"validator-{at}"), TIME_S)
        for at, line in enumerate(note.signatures[1:], start=1)
    ]
    four = Note(extended, (sign_text(extended, checkpoint.origin, key), *lines))
    yield _fails("extended", "a fourth line", _with(chain, plain, four, size), "checkpoint: expec")
    for name, about, data, reason in (
        ("empty", "no bytes", b"", "note: expected"),
        ("utf-8", "no text", b"\xff" + note.encode(), "note: expected UTF-8"),
        ("end", "no line feed at the end", note.encode()[:-1], "note: expected text"),
        ("return", "a carriage return", note.encode().replace(b"\n", b"\r\n"), "note: expected no"),
        (
            "size",
            "leading zeros",
            note.encode().replace(f"\n{size}\n".encode(), f"\n0{size}\n".encode()),
            "checkpoint size",
        ),
        (
            "padding",
            "base64 without padding",
            note.encode().replace(b"=\n\n", b"\n\n"),
            "checkpoint root",
        ),
    ):
        checkpointed = with_checkpoint(chain, plain, data, size)
        yield _fails(name, about, replace(plain, checkpoint=checkpointed), reason)


def _fails(name: str, about: str, receipt: Receipt, reason: str) -> Case:
    return fails(Step.SIGNATURES, f"public-{name}", f"checkpoint: {about}", receipt, reason)


def _with(chain: Chain, receipt: Receipt, note: Note, size: int) -> Receipt:
    return replace(receipt, checkpoint=with_checkpoint(chain, receipt, note.encode(), size))


def _posing(text: str, name: str) -> NoteSignature:
    return cosign_text(text, name, Ed25519Signer.from_secret(seed("nobody")), TIME_S)
