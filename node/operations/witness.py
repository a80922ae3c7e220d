"""One log as a witness outside the chain follows it: what it cosigned last, and why not the next.

A checkpoint is cosigned if a quorum of the chain's validators did, and if the log it speaks of
begins with the one cosigned before. What is said last is on disk before it leaves. Two checkpoints
that contradict each other become a proof (node.timestamp.log.fork), and nothing of that log is
cosigned from then on: whoever runs the witness has to look.

Where the log is read from is not believed: see `LogSource`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

from node.chain.log import TileId
from node.chain.membership import ValidatorSet
from node.chain.merkle import TreeHead, verify_consistency
from node.crypto.signature import Signer
from node.errors import CryptoError, DecodeError, PeerError, ProofError, StorageError
from node.operations.topology import write_file
from node.timestamp.history import Handover
from node.timestamp.log.checkpoint import Checkpoint, origin_of, parse_decimal
from node.timestamp.log.fork import FORK_PROOF_SUFFIX, ForkProof, compare
from node.timestamp.log.note import (
    NOTE_BYTES_MAX,
    Note,
    NoteSignature,
    cosign_text,
    decode_text,
    split_note,
)
from node.timestamp.log.policy import parse_policy, policy_of
from node.timestamp.log.proof import parse_hashes, sha256
from node.timestamp.trust import load_trust

TRUST_FILE: Final = "trust.json"
COSIGNED_NOTE: Final = "cosigned.note"
HANDOVER_SUFFIX: Final = ".handover"
REQUEST_BYTES_MAX: Final = NOTE_BYTES_MAX + 8_192
SIZE_MEDIA_TYPE: Final = "text/x.tlog.size"
TEXT_MEDIA_TYPE: Final = "text/plain; charset=utf-8"
_PATH_HASHES_MAX: Final = 63


class LogSource(Protocol):
    """Where a log is served. Raises `SourceError` for what it does not give."""

    def read_tile(self, tile: TileId, size: int) -> bytes:
        """Return a tile as a log of `size` leaves has it."""

    def handover(self, epoch: int) -> bytes | None:
        """Return how an epoch ended; None where it says that it has not."""


class Seen(Enum):
    """What came of a look at a log."""

    COSIGNED = "cosigned"
    SAME = "same"
    """Nothing new since the last time."""
    OLDER = "older"
    """It is behind what was cosigned, and of the same log as far as it goes."""
    FORK = "fork"


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at a log."""

    seen: Seen
    size: int
    proof: Path | None = None
    """Where the proof of a fork is."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the protocol for witnesses (c2sp.org/tlog-witness)."""

    status: HTTPStatus
    body: bytes = b""
    media_type: str = TEXT_MEDIA_TYPE


class LogWitness:
    """Follows one log, keeping what it needs in a folder of its own. Not for several threads."""

    def __init__(self, folder: Path, name: str, signer: Signer, utc_s: Callable[[], int]) -> None:
        """Read what is in `folder`, its trust file above all; `utc_s` is the clock.

        Raises `StorageError`, `DecodeError` or `ProofError` for what cannot be gone on from.
        """
        self._folder, self._name, self._signer, self._utc_s = folder, name, signer, utc_s
        anchor = load_trust(self._read(TRUST_FILE))
        self.chain_id = anchor.chain_id
        self._suite = anchor.suite
        self._sets = list(anchor.validator_sets)
        self._ends = {
            each.block.header.epoch: each.block.header.log_size for each in anchor.handovers
        }
        while (folder / f"{len(self._sets) - 1}{HANDOVER_SUFFIX}").exists():
            self._go_on(self._read(f"{len(self._sets) - 1}{HANDOVER_SUFFIX}"))
        self._last: Note | None = None
        self._epoch = 0
        if (folder / COSIGNED_NOTE).exists():
            self._last = Note.decode(self._read(COSIGNED_NOTE))
            self._epoch = self._epoch_of(self._last)

    # ------------------------------------------------------------------ what is known

    @property
    def origin(self) -> str:
        """The name of the log."""
        return origin_of(self.chain_id)

    @property
    def sets(self) -> tuple[ValidatorSet, ...]:
        """The validator sets known, by epoch."""
        return tuple(self._sets)

    @property
    def cosigned(self) -> bytes | None:
        """The checkpoint cosigned last, this witness's line in it; None before the first."""
        return None if self._last is None else self._last.encode()

    @property
    def head(self) -> TreeHead | None:
        """The head cosigned last."""
        return None if self._last is None else Checkpoint.parse(self._last.text).head

    @property
    def forks(self) -> tuple[Path, ...]:
        """The proofs that this log was forked."""
        return tuple(sorted(self._folder.glob(f"*{FORK_PROOF_SUFFIX}")))

    # ------------------------------------------------------------------ looking

    def look(self, data: bytes, source: LogSource) -> Sight:
        """Judge a checkpoint as served, and cosign it if it goes on from the last one.

        Raises `ProofError` or `DecodeError` where no quorum known here signed it, or where what is
        served beside it is not of its log.
        """
        note = Note.decode(data)
        self._learn(source)
        epoch, size = self._epoch_of(note), Checkpoint.parse(note.text).head.size
        if self._last is not None:
            larger = max(size, Checkpoint.parse(self._last.text).head.size)
            proof = compare(self._last, note, partial(_tile, source, larger))
            if proof is not None:
                return Sight(Seen.FORK, size, self._keep_proof(proof))
        head = self.head
        if head is not None and size <= head.size:
            return Sight(Seen.SAME if size == head.size else Seen.OLDER, size)
        self._refuse_after_a_fork()
        self._cosign(note, epoch)
        return Sight(Seen.COSIGNED, size)

    def add_checkpoint(self, old_size: int, path: tuple[bytes, ...], note: Note) -> Reply:
        """Answer a checkpoint that somebody brought with a proof (c2sp.org/tlog-witness)."""
        head = Checkpoint.parse(note.text).head
        try:
            epoch = self._epoch_of(note)
            self._refuse_after_a_fork()
        except (DecodeError, ProofError) as error:
            return Reply(HTTPStatus.FORBIDDEN, f"{error}\n".encode())
        if old_size > head.size:
            return Reply(HTTPStatus.BAD_REQUEST, b"the old size is above the checkpoint's\n")
        last = self.head
        if old_size != (0 if last is None else last.size):
            return _conflict(0 if last is None else last.size)
        if last is not None and last.size == head.size and last.root != head.root:
            self._keep_proof(ForkProof((), self._required_last, note))
            return _conflict(last.size)
        if last is None and path:
            return Reply(HTTPStatus.UNPROCESSABLE_ENTITY, b"expected no proof from size 0\n")
        try:
            if last is not None:
                verify_consistency(last, head, path, sha256)
        except ProofError as error:
            return Reply(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}\n".encode())
        return Reply(HTTPStatus.OK, f"{self._cosign(note, epoch)}\n".encode())

    @property
    def _required_last(self) -> Note:
        if self._last is None:
            raise StorageError(f"{self._folder}: nothing was cosigned yet")
        return self._last

    def _refuse_after_a_fork(self) -> None:
        if self.forks:
            raise ProofError("witness-fork", f"the log was forked: {self.forks[0]}")

    # ------------------------------------------------------------------ whose word it is

    def _learn(self, source: LogSource) -> None:
        """Follow the chain to its newest epoch: retired validators may cosign nothing new.

        Raises `ProofError` or `DecodeError` for a false handover.
        """
        while (ended := source.handover(len(self._sets) - 1)) is not None:
            self._go_on(ended)
            self._write(f"{len(self._sets) - 2}{HANDOVER_SUFFIX}", ended)

    def _epoch_of(self, note: Note) -> int:
        """Return the newest epoch, not before that of the last time, whose validators signed."""
        failure: ProofError | None = None
        for epoch in range(len(self._sets) - 1, self._epoch - 1, -1):
            policy = parse_policy(policy_of(self.chain_id, self._sets[epoch]).encode())
            try:
                size = policy.check(note).checkpoint.head.size
            except ProofError as error:
                failure = failure or error
                continue
            if size <= self._ends.get(epoch, size):
                return epoch
            failure = ProofError("witness-retired", f"epoch {epoch} ended before size {size}")
        raise failure or ProofError("witness-epoch", "no epoch is known")

    def _go_on(self, data: bytes) -> None:
        """Follow a handover; raises `ProofError` or `DecodeError` for a false one."""
        handover = Handover.decode(data, self._suite)
        try:
            handover.check(self.chain_id, self._sets[-1])
        except (CryptoError, PeerError) as error:
            raise ProofError("witness-handover", str(error)) from error
        self._ends[handover.block.header.epoch] = handover.block.header.log_size
        self._sets.append(handover.next_set)

    # ------------------------------------------------------------------ what is kept

    def _cosign(self, note: Note, epoch: int) -> NoteSignature:
        """Sign a checkpoint, and return the line once it is on disk."""
        line = cosign_text(note.text, self._name, self._signer, self._utc_s())
        others = (each for each in note.signatures if each.name != self._name)
        signed = Note(note.text, (*others, line))
        self._write(COSIGNED_NOTE, signed.encode())
        self._last, self._epoch = signed, epoch
        return line

    def _keep_proof(self, proof: ForkProof) -> Path:
        data = proof.encode()
        path = self._folder / f"{hashlib.sha256(data).hexdigest()[:16]}{FORK_PROOF_SUFFIX}"
        if not path.exists():
            self._write(path.name, data)
        return path

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise StorageError(f"{self._folder / name}: {error.strerror}") from error

    def _write(self, name: str, data: bytes) -> None:
        try:
            write_file(self._folder / name, data)
        except OSError as error:
            raise StorageError(f"{self._folder / name}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request of the protocol for witnesses, read."""

    old_size: int
    path: tuple[bytes, ...]
    note: Note

    @classmethod
    def decode(cls, data: bytes) -> AddCheckpoint:
        """Read a request's body; raises `DecodeError`."""
        text = decode_text(data, "add-checkpoint", size_max=REQUEST_BYTES_MAX)
        head, gap, note = text.partition("\n\n")
        old, *path = head.split("\n")
        if not gap or not old.startswith("old ") or len(path) > _PATH_HASHES_MAX:
            raise DecodeError("add-checkpoint: expected an old size, a proof, and a checkpoint")
        read = cls(
            parse_decimal(old.removeprefix("old "), "old size"),
            parse_hashes(path, "consistency proof"),
            Note(*split_note(note)),
        )
        Checkpoint.parse(read.note.text)
        return read


def _tile(source: LogSource, size: int, tile: TileId) -> bytes:
    return source.read_tile(tile, size)


def _conflict(size: int) -> Reply:
    return Reply(HTTPStatus.CONFLICT, f"{size}\n".encode(), SIZE_MEDIA_TYPE)
