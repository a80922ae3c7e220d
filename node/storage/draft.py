"""A ledger in the making: what comes of a snapshot, written as it comes, until a ledger opens it.

Nothing is judged here: what is put has been checked against a certified header. A batch is one
piece and the mark that it is here, so that nothing needs a sync before the end: whatever batches a
power loss takes, the pieces that are left are whole and known, and the others are fetched again.

Pieces are known by the hash of their subtree. So a draft begun for one height serves another: what
is the same in both is found here, and what differs is replaced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from node.chain.block import CertifiedHeader, Header
from node.chain.evidence import Evidence
from node.chain.log import EMPTY_FRONTIER, LogFrontier, edge_tiles
from node.chain.merkle import DIGEST_BYTES
from node.chain.state_bucket import BUCKET_KEYS_MAX, Bucket, joined_rows, paths_by, place_of
from node.chain.state_page import DEPTH_MAX, PAGE_LEVELS, SLOTS, Page, first_path, hash_of
from node.crypto.suite import Suite
from node.errors import ProofError
from node.execution.apply import ExecutedBlock
from node.storage import keys
from node.storage.indexes import index_entries
from node.storage.kv import KeyValueStore, WriteBatch
from node.storage.ledger import format_value, put_block, put_listed, tip_value
from node.storage.packing import pack, unpack
from node.storage.past import MissingPast
from node.storage.state_buckets import find_value, put_buckets, read_bucket
from node.storage.stored_block import (
    VALUE_BYTES_MAX,
    StoredBlock,
    damage_explained,
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

    @property
    def is_finished(self) -> bool:
        """Whether `finish` made it a ledger: what its pieces were is not known any more."""
        return self._store.get(keys.FORMAT) is not None

    # --- The state ---

    def missing_below(self, subtree: Subtree) -> list[Subtree] | None:
        """Return the subtrees that this one is made of, where its page is here; none for a whole.

        None where the subtree of this hash is not known here.
        """
        place, subtree_hash = subtree
        mark = self._store.get(keys.draft_mark(place))
        if mark is None or mark[1 : 1 + DIGEST_BYTES] != subtree_hash:
            return None
        if mark[:1] != _SPLIT:
            return []
        try:
            return subtrees_of(Page.decode(mark[1 + DIGEST_BYTES :], place, self._suite), place)
        except ProofError:
            return None  # not what was stored, so it is fetched again

    def value(self, key: bytes) -> bytes | None:
        """Return the value under a state key, if it has come."""
        return find_value(self._store, key, self._suite)

    def put_whole(
        self,
        subtree: Subtree,
        state_keys: Iterable[bytes],
        buckets: Mapping[bytes, Bucket | None],
    ) -> None:
        """Write all that is below a place, instead of what was there: keys, and their buckets."""
        place, subtree_hash = subtree
        batch = WriteBatch()
        self._clear(place, batch)
        for key in state_keys:
            put_listed(batch, key, is_present=True)
        put_buckets(batch, buckets)
        batch.put(keys.draft_mark(place), _WHOLE + subtree_hash)
        self._store.write(batch, sync=False)

    def put_page(self, subtree: Subtree, page: Page) -> None:
        """Write the page of a place; what it is made of has to come on its own."""
        place, subtree_hash = subtree
        batch = WriteBatch()
        if (self._store.get(keys.draft_mark(place)) or b"")[:1] == _WHOLE:
            self._clear(place, batch)  # buckets of other places than those of its parts
        for slot, held in enumerate(page.subtrees[SLOTS:]):
            if not held:
                self._clear(f"{place}{slot:x}", batch)
        batch.put(keys.draft_mark(place), _SPLIT + subtree_hash + page.encode())
        self._store.write(batch, sync=False)

    def _clear(self, place: str, batch: WriteBatch) -> None:
        """Remove what a draft of another height left below a place."""
        for key, _ in self._store.scan(keys.draft_mark(place)):
            batch.delete(key)
        for key, bucket in self._buckets_below(place):
            batch.delete(key)
            for state_key in bucket.keys:
                put_listed(batch, state_key, is_present=False)

    def _buckets_below(self, place: str) -> Iterator[tuple[bytes, Bucket]]:
        """Yield the buckets at a place and below it, with their keys in the store."""
        even, is_odd = divmod(len(place), 2)
        stem = keys.state(bytes.fromhex(place[: 2 * even]))
        start = stem + bytes((int(place[-1], 16) << 4,)) if is_odd else stem
        for key, stored in self._store.scan(stem, start=start):
            bucket_place = key[len(keys.STATE) :]
            if not bucket_place[:-1].hex().startswith(place):
                break
            yield key, Bucket.decode(stored, bucket_place)

    def _into_their_places(self, batch: WriteBatch) -> None:
        """Put what came as a piece of few keys into the bucket that a ledger has for them.

        A piece is a subtree that a page names, and the bucket may be above that. It is the largest
        of as few keys as buckets have; so what stands in the way of one is any piece of more.
        """
        starts: list[int] = []
        buckets: list[Bucket | None] = []
        for key, mark in self._store.scan(keys.DRAFT_MARK):
            if mark[:1] == _WHOLE:
                place = key[len(keys.DRAFT_MARK) :].decode()
                starts.append(first_path(place))
                own_place = place_of(starts[-1], PAGE_LEVELS * len(place))
                buckets.append(bucket := read_bucket(self._store, own_place))
                if bucket is not None:
                    batch.delete(keys.state(own_place))

        def settle(first: int, after: int, depth: int, start: int) -> None:
            few = [bucket for bucket in buckets[first:after] if bucket is not None]
            if not few:
                return
            is_bucket = sum(bucket.count for bucket in few) <= BUCKET_KEYS_MAX
            if is_bucket and len(few) == after - first:
                put_buckets(
                    batch,
                    {
                        place_of(start, depth): Bucket.of(
                            depth, joined_rows(few, paths_by(self._suite)), self._suite
                        )
                    },
                )
                return
            bit = 1 << DEPTH_MAX - 1 - depth
            middle = bisect_left(starts, start | bit, first, after)
            settle(first, middle, depth + 1, start)
            settle(middle, after, depth + 1, start | bit)

        settle(0, len(starts), 0, 0)

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

    def _drop_above(self, height: int, batch: WriteBatch) -> None:
        """Remove the blocks above a height, which a draft begun for a higher state has.

        A ledger would take their transactions for final, and never get past their blocks.
        """
        for key, header_value in self._store.scan(keys.HEADER, start=keys.header(height + 1)):
            packed = self._store.get(keys.body(keys.last_number(key))) or b""
            with damage_explained("block"):
                body_value = unpack(packed, VALUE_BYTES_MAX)
            block, written = StoredBlock.stored(header_value, body_value, self._suite), WriteBatch()
            put_block(written, block, self._suite)
            for entry, _ in written.changes():
                batch.delete(entry)

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
        self._drop_above(header.height, batch)
        self._into_their_places(batch)
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
