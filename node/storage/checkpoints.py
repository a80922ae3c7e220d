"""The public log's checkpoints that a quorum cosigned, kept beside the ledger they are of.

They are no part of the chain: what this node collected. Each is written once and never changes. A
ledger made anew lacks them; later ones cover what they covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from node.chain.encoding import decode, encode, expect_array, expect_blob, expect_uint
from node.storage import keys
from node.storage.kv import KeyValueStore, WriteBatch
from node.storage.stored_block import damage_explained

_VALUE_BYTES_MAX: Final = 131_072


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A checkpoint as it is served."""

    size: int
    """Of the log, in leaves."""
    epoch: int
    """Of the validators who cosigned it."""
    note: bytes


class CheckpointStore:
    """Keeps checkpoints in a ledger's database. Reads may come from any thread."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store

    def keep(self, kept: KeptCheckpoint) -> None:
        """Keep a checkpoint, unless one of its size is kept already.

        Not synced: a loss costs nothing but the next one's coming.
        """
        if self.at(kept.size) is None:
            batch = WriteBatch()
            batch.put(keys.checkpoint(kept.size), encode([kept.epoch, kept.note]))
            self._store.write(batch, sync=False)

    def at(self, size: int) -> KeptCheckpoint | None:
        """Return the checkpoint of this size, or None."""
        value = self._store.get(keys.checkpoint(size))
        return None if value is None else _read(size, value)

    def newest(self, size_max: int | None = None) -> KeptCheckpoint | None:
        """Return the largest checkpoint, of at most `size_max` leaves if given, or None."""
        start = b"" if size_max is None else keys.checkpoint(size_max)
        for key, value in self._store.scan(keys.CHECKPOINT, start=start, reverse=True, limit=1):
            return _read(keys.last_number(key), value)
        return None


def _read(size: int, value: bytes) -> KeptCheckpoint:
    with damage_explained(f"the checkpoint of size {size}"):
        epoch, note = expect_array(
            decode(value, what="kept checkpoint", size_max=_VALUE_BYTES_MAX), 2, "kept checkpoint"
        )
        return KeptCheckpoint(
            size,
            expect_uint(epoch, "kept checkpoint epoch"),
            expect_blob(note, "kept checkpoint", size_max=_VALUE_BYTES_MAX),
        )
