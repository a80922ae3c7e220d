"""A ledger in the making: what comes of a snapshot, written as it comes, until a ledger opens it.

Nothing is judged here: what is put has been checked against a certified header. A batch is one
piece and the mark that it is here, so that nothing needs a sync before the end: whatever batches a
power loss takes, the pieces that are left are whole and known, and the others are fetched again.

Pieces are known by the hash of their subtree. So a draft begun for one height serves another: what
is the same in both is found here, and what differs is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from node.chain.block import CertifiedHeader, Header
from node.chain.evidence import Evidence
from node.chain.log import EMPTY_FRONTIER, LogFrontier, edge_tiles
from node.chain.state_page import SLOTS, Page, hash_of
from node.chain.state_tree import key_path
from node.crypto.suite import Suite
from node.execution.apply import ExecutedBlock
from node.storage import keys
from node.storage.indexes import index_entries
from node.storage.kv import KeyValueStore, WriteBatch
from node.storage.ledger import format_value, put_block, put_state, tip_value
from node.storage.packing import pack
from node.storage.past import MissingPast
from node.storage.state_pages import put_pages, read_page
from node.storage.stored_block import (
    StoredBlock,
    decode_header_value,
    encode_body_value,
    encode_header_value,
)

_WHOLE: Final = b"w"
_SPLIT: Final = b"s"

Subtree = tuple[str, bytes]
"""A place in the state tree, and the hash of all that is below it."""


class LedgerDraft:
    """Pieces of a snapshot in a store of their own."""

    def __init__(self, store: KeyValueStore, suite: Suite) -> None:
        self._store, self._suite = store, suite

    # --- The state ---

    def missing_below(self, subtree: Subtree) -> list[Subtree] | None:
        """Return the subtrees that this one is made of, where its page is here; none for a whole.

        None where the subtree of this hash is not known here.
        """
        place, subtree_hash = subtree
        mark = self._store.get(keys.draft_mark(place))
        if mark is None or mark[1:] != subtree_hash:
            return None
        page = read_page(self._store, place, self._suite) if mark[:1] == _SPLIT else None
        return [] if page is None else subtrees_of(page, place)

    def value(self, key: bytes) -> bytes | None:
        """Return the value under a state key, if it has come."""
        entry = self._store.get(keys.state(key_path(key, self._suite)))
        return None if entry is None else keys.split_state_entry(entry)[1]

    def put_whole(
        self, subtree: Subtree, values: Mapping[bytes, bytes], pages: Mapping[str, Page | None]
    ) -> None:
        """Write all that is below a place, instead of what was there."""
        batch = WriteBatch()
        self._clear(subtree[0], batch)
        for key, value in values.items():
            put_state(batch, key, value, self._suite)
        put_pages(batch, pages)
        batch.put(keys.draft_mark(subtree[0]), _WHOLE + subtree[1])
        self._store.write(batch, sync=False)

    def put_page(self, subtree: Subtree, page: Page) -> None:
        """Write the page of a place; what it is made of has to come on its own."""
        place = subtree[0]
        batch = WriteBatch()
        for slot, held in enumerate(page.subtrees[SLOTS:]):
            if not held:
                self._clear(f"{place}{slot:x}", batch)
        put_pages(batch, {place: page})
        batch.put(keys.draft_mark(place), _SPLIT + subtree[1])
        self._store.write(batch, sync=False)

    def _clear(self, place: str, batch: WriteBatch) -> None:
        """Remove what a draft of another height left below a place."""
        for prefix in (keys.draft_mark(place), keys.state_page(place)):
            for key, _ in self._store.scan(prefix):
                batch.delete(key)
        even, is_odd = divmod(len(place), 2)
        stem = keys.state(bytes.fromhex(place[: 2 * even]))
        start = stem + bytes((int(place[-1], 16) << 4,)) if is_odd else stem
        for path, entry in self._store.scan(stem, start=start):
            if not path[len(keys.STATE) :].hex().startswith(place):
                break
            put_state(batch, keys.split_state_entry(entry)[0], None, self._suite)

    # --- Blocks ---

    def header_at(self, height: int) -> Header | None:
        """Return the header of a block that is here."""
        if self._store.get(keys.body(height)) is None:
            return None
        value = self._store.get(keys.header(height))
        return None if value is None else decode_header_value(value, self._suite)[0]

    def put_blocks(self, blocks: Iterable[StoredBlock]) -> None:
        """Write blocks with their index entries, in any order."""
        batch = WriteBatch()
        for block in blocks:
            put_block(batch, block, self._suite)
        self._store.write(batch, sync=False)

    # --- The end ---

    def finish(
        self,
        *,
        genesis: ExecutedBlock,
        head: CertifiedHeader,
        log_edge: Sequence[bytes],
        frontier: LogFrontier,
        held_from: int,
        barriers: Iterable[CertifiedHeader],
        evidence: Iterable[Evidence],
    ) -> None:
        """Make it a ledger whose tip is `head`, durably.

        The state of `head` and the blocks from `held_from` up to it are here. `barriers` are the
        last headers of all epochs that have ended, `evidence` is what this node knew before.
        """
        header, size = head.header, head.header.log_size
        batch = WriteBatch()
        for key, _ in self._store.scan(keys.DRAFT_MARK):
            batch.delete(key)
        for barrier in barriers:
            value = encode_header_value(barrier.header, barrier.certificate)
            batch.put(keys.header(barrier.header.height), value)
        batch.put(keys.header(0), encode_header_value(genesis.header, None))
        batch.put(keys.body(0), pack(encode_body_value(genesis)))
        for key, entry in index_entries(genesis.header, 0, (), (), self._suite):
            batch.put(key, entry)
        for tile, content in zip(edge_tiles(size), log_edge, strict=True):
            if content:
                batch.put(keys.log_tile(tile), content)
        for each in evidence:
            batch.put(keys.evidence(each.charge), each.encode())
        past = MissingPast(1, held_from, header.height, size, EMPTY_FRONTIER)
        batch.put(keys.MISSING_PAST, past.encode())
        digest = head.certificate.subject.header_digest
        batch.put(keys.TIP, tip_value(header.height, digest, frontier))
        batch.put(keys.FORMAT, format_value(header.chain_id))
        self._store.write(batch, sync=True)


def subtrees_of(page: Page, place: str) -> list[Subtree]:
    """Return the subtrees that the page at a place is made of."""
    return [
        (f"{place}{slot:x}", hash_of(held))
        for slot, held in enumerate(page.subtrees[SLOTS:])
        if held
    ]
