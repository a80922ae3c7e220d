"""The committed chain on a key-value store: one atomic batch per block, and all there is to ask.

Whoever holds a `LedgerStore` is its only writer. Between a `commit` and the next, everything read
is the state after one block: the store is its tip's `StateReader`. A crash leaves the last block
whose batch was written whole; `open` finds it. How keys look is in keys.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from heapq import merge
from itertools import islice
from threading import Lock
from typing import Final

from node.chain.block import CertifiedBlock, CertifiedHeader, Header, TransactionResult
from node.chain.certificate import QuorumCertificate
from node.chain.compact import CompactCertificate
from node.chain.encoding import decode, encode, expect_array, expect_bytes, expect_uint
from node.chain.evidence import Evidence
from node.chain.log import (
    HashedTiles,
    LogFrontier,
    LogTree,
    ReadTile,
    TileId,
    consistency_path_from_tiles,
    tiles_changed,
)
from node.chain.merkle import leaf_hashes
from node.chain.record import Record, RecordLeaf
from node.chain.state_bucket import Bucket, path_number
from node.chain.state_tree import (
    EMPTY_TREE,
    StateMap,
    StateProof,
    StateTree,
    bucket_place,
    prove,
    root_of,
)
from node.crypto.suite import Suite
from node.errors import InvariantViolation, ProofError, StorageError, invariant
from node.execution.apply import ExecutedBlock
from node.execution.registry import StateKind, prefix_of
from node.storage import keys
from node.storage.held_state import HeldState
from node.storage.indexes import index_entries, transaction_position
from node.storage.kv import KeyValueStore, KeyValueView, WriteBatch
from node.storage.packing import pack, unpack
from node.storage.past import MissingPast, NotHeldYet, Pruned
from node.storage.runs import found_in_runs
from node.storage.state_buckets import find_value, put_buckets, read_bucket, read_tree
from node.storage.stored_block import (
    VALUE_BYTES_MAX,
    StoredBlock,
    damage_explained,
    decode_header_value,
    encode_body_value,
    encode_header_value,
)

FORMAT_VERSION: Final = 7
STATES_HELD: Final = 2
RECORDS_EXAMINED_MAX: Final = 10_000
"""How many records one call of `records` looks at, whatever its limit."""
TREES_REMEMBERED: Final = 6
"""Sizes of the log whose paths were asked for last: a receipt has paths in three of them."""
PATHS_REMEMBERED: Final = 8_192
"""Of state keys that blocks ask for again and again: senders, their rights, the rules in force."""
BUCKETS_REMEMBERED: Final = 16_384
"""Buckets of state last written, and up to as many written earlier, at about 1.1 kB each."""
ABSENT_REMEMBERED: Final = 32_768
"""Transaction ids last found absent, and up to as many found earlier, at about 150 bytes each."""

_META_BYTES_MAX: Final = 4_096
_DIGEST_BYTES: Final = 32
_BLOCKS_PER_STEP: Final = 64
_NO_TILES: Final[Mapping[TileId, bytes]] = {}

CertifiedExecution = tuple[ExecutedBlock, QuorumCertificate]
"""A block with all it does, and the certificate that makes it final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordQuery:
    """Which records are wanted: those that match every field given."""

    digest: bytes | None = None
    reference: str | None = None
    type_code: str | None = None
    from_ms: int | None = None
    """Earliest T, inclusive."""
    to_ms: int | None = None
    """Latest T, exclusive."""

    def matches(self, record: Record) -> bool:
        """Say whether a record matches in all but time, which its block has for it."""
        return (
            self.digest in (None, record.digest)
            and self.reference in (None, record.reference)
            and self.type_code in (None, record.type_code)
        )


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record of the log."""

    log_index: int
    leaf: RecordLeaf


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Matching records in log order, and where to go on."""

    records: tuple[FoundRecord, ...]
    next_log_index: int | None
    """The log index to start the next page at; None if there is nothing more to look at."""


@dataclass(frozen=True, slots=True)
class ProvenState:
    """What the state after a block holds for a key, and the proof of it."""

    block: CertifiedHeader
    value: bytes | None
    proof: StateProof


@dataclass(frozen=True, slots=True)
class _Tip:
    header: Header
    digest: bytes
    frontier: LogFrontier


class LedgerStore:
    """The chain of one node up to its tip. Get one from `open`."""

    def __init__(
        self, store: KeyValueStore, suite: Suite, tip: _Tip, missing: MissingPast | None
    ) -> None:
        self._store = store
        self._suite = suite
        self._tip = tip
        self._missing = missing
        pruned = store.get(keys.PRUNED)
        self._pruned_below = 0 if pruned is None else keys.last_number(pruned)
        self._held: dict[int, HeldState] = {}
        self._trees: tuple[LogTree, ...] = ()
        self._tiles = HashedTiles(self.tile, suite.hash)
        self._state_tree: StateTree | None = None
        self._tip_moves = Lock()
        """Held while the tip of the store and the one here may differ."""
        self._remembered_path = lru_cache(PATHS_REMEMBERED)(partial(path_number, suite=suite))
        self._recent_buckets: dict[bytes, Bucket | None] = {}
        self._older_buckets: dict[bytes, Bucket | None] = {}
        """By place, as commits left them: so what other threads read never gets here."""
        self._recent_absent: dict[bytes, None] = {}
        self._older_absent: dict[bytes, None] = {}
        """Ids found absent: a transaction is asked for when it comes, and again when executed."""

    @classmethod
    def open(cls, store: KeyValueStore, suite: Suite, genesis: ExecutedBlock) -> LedgerStore:
        """Open the ledger in `store`, or begin it there, durably, with `genesis` if it is empty.

        Raises `StorageError`: no ledger of this format (GC-3010), or another chain's (GC-3011).
        """
        if next(store.scan(b"", limit=1), None) is None:
            blocks = _BlockBatch(_NO_TILES.__getitem__, suite)
            blocks.add(genesis, None)
            batch = blocks.whole()
            batch.put(keys.FORMAT, format_value(genesis.header.chain_id))
            store.write(batch, sync=True)
        _check_format(store.get(keys.FORMAT), genesis.header.chain_id)
        return cls(store, suite, _read_tip(store, suite), _read_missing(store))

    # --- The state at the tip: node.execution's StateReader ---

    @property
    def header(self) -> Header:
        """The header of the newest committed block."""
        return self._tip.header

    @property
    def header_digest(self) -> bytes:
        """Its digest."""
        return self._tip.digest

    @property
    def log_frontier(self) -> LogFrontier:
        """The log after it."""
        return self._tip.frontier

    def get(self, key: bytes) -> bytes | None:
        """Return the current value under a state key, or None."""
        tree = self._state_tree
        if tree is not None:
            path = self._path_of(key)
            place = bucket_place(tree, path)
            bucket = None if place is None else self.bucket(place)
            if place is None or bucket is not None:
                return None if bucket is None else bucket.get(path, key)
        # No tree yet, or it is being replaced while a thread that does not commit asks.
        with closing(self._store.view()) as view:
            return find_value(view, key, self._suite)

    def _path_of(self, key: bytes) -> int:
        """Return the path of a state key: hashed once, unless it is of a reference, one of many."""
        if keys.listed(key) is None:
            return path_number(key, self._suite)
        return self._remembered_path(key)

    def state_under(self, prefix: bytes) -> Iterator[bytes]:
        """Yield the current values whose state keys begin with `prefix`, in order of the keys."""
        return (value for _, value in self.entries_under(prefix))

    def entries_under(self, prefix: bytes, *, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield state key and current value of all whose keys begin with `prefix`, in order.

        With `after`, which begins so, too, those that come after it.
        """
        start = keys.STATE_KEY + after + b"\x00" if after else b""
        for listed, _ in self._store.scan(keys.STATE_KEY + prefix, start=start):
            key = listed[len(keys.STATE_KEY) :]
            value = self.get(key)
            if value is not None:
                yield key, value

    def entries_of(self, kind: StateKind, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` entries of a kind whose state keys come after one, in order."""
        prefix = prefix_of(kind)
        found = self.entries_under(prefix, after=after if after.startswith(prefix) else b"")
        return list(islice(found, limit))

    @property
    def tree(self) -> StateTree:
        """The current state tree.

        When it is first asked for it is read, from all of the state. Raises `StorageError` where
        that is not the state of the tip.
        """
        if self._state_tree is not None:
            return self._state_tree
        with self._tip_moves:
            return self._read_state_tree()

    def _read_state_tree(self) -> StateTree:
        if self._state_tree is None:
            tree = read_tree(self._store, self._suite)
            if root_of(tree) != self.header.state_root:
                raise _damaged("the state that is stored has not the root that the tip names")
            self._state_tree = tree
        return self._state_tree

    def bucket(self, place: bytes) -> Bucket | None:
        """Return a bucket of the current state, or None where there is none."""
        for remembered in (self._recent_buckets, self._older_buckets):
            if place in remembered:
                return remembered[place]
        return read_bucket(self._store, place)

    def _remember(self, buckets: Mapping[bytes, Bucket | None]) -> None:
        """Remember buckets that were written; those written longest ago are forgotten."""
        if len(self._recent_buckets) >= BUCKETS_REMEMBERED:
            self._older_buckets, self._recent_buckets = self._recent_buckets, {}
        self._recent_buckets |= buckets

    def has_transaction(self, tx_id: bytes) -> bool:
        """Say whether the chain holds this transaction, failed or not.

        For one thread alone, as it remembers what is absent until a block brings it. Where another
        commits meanwhile, whoever asks looks first among the ids of the blocks being committed.
        """
        if tx_id in self._recent_absent or tx_id in self._older_absent:
            return False
        if self._store.get(keys.transaction(tx_id)) is not None:
            return True
        self._recent_absent[tx_id] = None
        if len(self._recent_absent) > ABSENT_REMEMBERED:
            self._older_absent, self._recent_absent = self._recent_absent, {}
        return False

    def find_held(self, tx_ids: Sequence[bytes]) -> bytes | None:
        """Return one of these transactions that the chain holds, or None.

        As `has_transaction`, but what is absent is not remembered: it is asked for the last time.
        """
        recent, older, get = self._recent_absent, self._older_absent, self._store.get
        for tx_id in tx_ids:
            if tx_id in recent or tx_id in older:
                continue
            if get(keys.transaction(tx_id)) is not None:
                return tx_id
        return None

    # --- Writing ---

    def commit(self, blocks: Sequence[CertifiedExecution], *, sync: bool) -> None:
        """Append the blocks that follow the tip, all of them or none, in one atomic batch.

        With `sync` they are durable on return. Raises `StorageError` if the write failed: then only
        opening the store again tells whether they are there.
        """
        batch = _BlockBatch(self.tile, self._suite)
        tip = self._tip
        for executed, certificate in blocks:
            header, subject = executed.header, certificate.subject
            invariant(
                header.height == tip.header.height + 1 and header.parent == tip.digest,
                f"block {header.height} does not follow the tip {tip.header.height}",
            )
            invariant(
                subject.header_digest == executed.digest and subject.height == header.height,
                f"the certificate of block {header.height} is that of another",
            )
            batch.add(executed, certificate)
            tip = _Tip(header, executed.digest, executed.frontier)
        with self._tip_moves:
            self._store.write(batch.whole(), sync=sync)
            self._tip, self._state_tree = tip, batch.tree
            self._remember(batch.buckets)
        for absent in (self._recent_absent, self._older_absent):
            if absent:
                for executed, _ in blocks:
                    for result in executed.results:
                        absent.pop(result.tx_id, None)

    def sync(self) -> None:
        """Make every committed block durable."""
        self._store.write(WriteBatch(), sync=True)

    # --- Blocks ---

    @property
    def tip_height(self) -> int:
        """Height of the newest committed block; 0 at genesis."""
        return self._tip.header.height

    def header_at(self, height: int) -> tuple[Header, QuorumCertificate | None] | None:
        """Return a committed header and its certificate (genesis has none); None above the tip.

        None also where the block is missing from the past, unless it ended an epoch.
        """
        value = self._store.get(keys.header(height))
        return None if value is None else decode_header_value(value, self._suite)

    def digest_at(self, height: int) -> bytes | None:
        """Return the digest of a committed header; None above the tip, else as `header_at`."""
        if height == self.tip_height:
            return self.header_digest
        found = self.header_at(height)
        return None if found is None else found[0].digest(self._suite)

    def block(self, height: int) -> StoredBlock | None:
        """Return a committed block, or None above the tip; raises `NotHeldYet`."""
        values = self._values(height)
        return None if values is None else StoredBlock.stored(*values, self._suite)

    def block_values(self, height: int) -> tuple[bytes, bytes] | None:
        """Return the header and the body value of a block; None above the tip and where pruned."""
        return None if height < self._pruned_below else self._values(height)

    def _values(self, height: int) -> tuple[bytes, bytes] | None:
        if self._missing is not None and height in self._missing.heights:
            raise self._missing.refusal()
        header = self._store.get(keys.header(height))
        if header is None:
            return None
        packed = self._require(keys.body(height), f"body of block {height}")
        with damage_explained("block"):
            return header, unpack(packed, VALUE_BYTES_MAX)

    def certified_block(self, height: int) -> CertifiedBlock | None:
        """Return a committed block with its certificate; None for genesis and where none is."""
        block = self.block(height) if self._holds(height) else None
        return None if block is None else block.certified()

    def encoded_block(self, height: int) -> bytes | None:
        """Return the canonical bytes of what `certified_block` gives; decodes no transaction."""
        block = self.block(height) if self._holds(height) else None
        return None if block is None or block.certificate is None else block.encode()

    def _holds(self, height: int) -> bool:
        """Say whether a block up to the tip is here with its transactions as they were signed."""
        return height >= self._pruned_below and height not in self.missing

    # --- Pruning ---

    @property
    def pruned_below(self) -> int:
        """The height below which blocks are pruned: of their transactions, receipts' needs remain.

        0 where none is. Blocks in which governance acted remain as they were.
        """
        return self._pruned_below

    def pruned(self) -> Pruned:
        """Return the error for a question that needs what was pruned."""
        return Pruned(self._pruned_below)

    def prune(self, below: int) -> None:
        """Prune the blocks below a height that are not pruned yet, durably and at once.

        Whoever has many to prune does it in steps. Raises `NotHeldYet`.
        """
        invariant(below <= self.tip_height, "the tip is never pruned")
        if self._missing is not None:
            raise self._missing.refusal()
        if below <= self._pruned_below:
            return
        batch = WriteBatch()
        for height in range(max(self._pruned_below, 1), below):
            body = self._require_block(height).pruned_body()
            if body is not None:
                batch.put(keys.body(height), pack(body))
        batch.put(keys.PRUNED, keys.number(below))
        self._store.write(batch, sync=True)
        self._pruned_below = below

    def put_back(self, block: StoredBlock) -> None:
        """Write a pruned block as it was; raises `ProofError` for another one.

        It is sound. It counts as pruned until `end_pruning_at` says that all above it are back.
        """
        held = self.require_header(block.header.height)[0]
        if held != block.header:
            raise ProofError("archive-block", f"another block {held.height} is held here")
        batch = WriteBatch()
        batch.put(keys.body(held.height), pack(block.body_value))
        self._store.write(batch, sync=False)

    def end_pruning_at(self, below: int) -> None:
        """Have the blocks from a height on, all put back, count as whole, durably."""
        invariant(below <= self._pruned_below, "only what is whole counts as whole")
        batch = WriteBatch()
        if below > 1:
            batch.put(keys.PRUNED, keys.number(below))
        else:
            batch.delete(keys.PRUNED)
        self._store.write(batch, sync=True)
        self._pruned_below = below if below > 1 else 0

    # --- Transactions ---

    def find_transaction(self, tx_id: bytes) -> tuple[int, int] | None:
        """Return (height, index in the block) of a committed transaction, or None."""
        value = self._store.get(keys.transaction(tx_id))
        return None if value is None else transaction_position(value)

    def result(self, tx_id: bytes) -> TransactionResult | None:
        """Return what became of a committed transaction, or None."""
        found = self.find_transaction(tx_id)
        return None if found is None else self._require_block(found[0]).result(found[1])

    # --- The log and its records ---

    def leaves(self, log_indexes: Iterable[int]) -> Iterator[bytes]:
        """Yield the leaf at each index; neighbours cost one block read.

        Raises `ProofError` at an index not below the log's size.
        """
        return (block.leaf(log_index) for log_index, block in self._located(log_indexes))

    def leaf(self, log_index: int) -> bytes:
        """Return one leaf of the log, as `leaves`."""
        return next(self.leaves([log_index]))

    def header_of_size(self, size: int) -> Header | None:
        """Return the header after whose block the log had `size` leaves; None where none did."""
        found = self._block_at(size - 1) if 0 < size <= self._tip.frontier.size else None
        held = None if found is None else self.header_at(found[1])
        return held[0] if held is not None and held[0].log_size == size else None

    def tile(self, tile: TileId) -> bytes:
        """Return what is held of a tile of the log, perhaps nothing."""
        return self._store.get(keys.log_tile(tile)) or b""

    def inclusion_paths(self, log_indexes: Iterable[int], size: int) -> list[list[bytes]]:
        """Return the path of each leaf to the root of the log when it had `size` leaves.

        Raises `ProofError` unless every index is below `size`, and `NotHeldYet`. A block's own root
        is that of its header's `log_size`.
        """
        log_indexes = tuple(log_indexes)
        self._require_tiles(min(log_indexes, default=0), size)
        tree = self._tree(size)
        return [tree.inclusion_path(log_index) for log_index in log_indexes]

    def _tree(self, size: int) -> LogTree:
        """Return the log of `size` leaves; those asked for last know what they have read."""
        for known in self._trees:
            if known.size == size:
                return known
        tree = LogTree(size, self.tile, self._suite.hash, self._tiles)
        self._trees = (tree, *self._trees[: TREES_REMEMBERED - 1])
        return tree

    def inclusion_path(self, log_index: int, size: int) -> list[bytes]:
        """Return the path of one leaf, as `inclusion_paths`."""
        return self.inclusion_paths([log_index], size)[0]

    def consistency_path(self, old_size: int, size: int) -> list[bytes]:
        """Return the proof that the log of `old_size` leaves is a prefix of that of `size`.

        Raises `NotHeldYet`.
        """
        self._require_tiles(old_size, size)
        return consistency_path_from_tiles(old_size, size, self.tile, self._suite.hash)

    def records(self, query: RecordQuery, *, limit: int, start: int = 0) -> RecordPage:
        """Return at most `limit` matching records, in log order from log index `start` on.

        Raises `NotHeldYet` where some of them may lie in a past that is missing.
        The page can be short, even empty, and yet not the last: one call looks at no more than
        `RECORDS_EXAMINED_MAX` records.
        """
        self._require_records(query, start)
        found: list[FoundRecord] = []
        candidates = self._located(self._candidates(query, start))
        for examined, (log_index, block) in enumerate(candidates):
            if len(found) == limit or examined == RECORDS_EXAMINED_MAX:
                return RecordPage(tuple(found), log_index)
            leaf = block.record_leaf(log_index)
            if leaf is not None and query.matches(leaf.record):
                found.append(FoundRecord(log_index, leaf))
        return RecordPage(tuple(found), None)

    # --- The past, where this ledger began with a snapshot ---

    @property
    def missing(self) -> range:
        """The heights of the blocks that are not here yet."""
        return range(0) if self._missing is None else self._missing.heights

    @property
    def is_whole(self) -> bool:
        """Whether all of the past is here, the tiles of its log included."""
        return self._missing is None

    def not_held_yet(self) -> NotHeldYet:
        """Return the error for a question that needs what is missing."""
        return self._past().refusal()

    def _past(self) -> MissingPast:
        if self._missing is None:
            raise InvariantViolation("nothing of the past is missing")
        return self._missing

    def fill(self, blocks: Sequence[StoredBlock]) -> None:
        """Write the next missing blocks, durably; raises `ProofError` if their log is another.

        They are sound, certified and follow one another. Without any, those that are here take the
        next step: their leaves enter the tiles of the log.
        """
        past = self._past()
        batch = WriteBatch()
        tiles: dict[TileId, bytes] = {}
        for block in blocks or self._held_blocks(past):
            invariant(block.header.height == past.next_height, "another block is the next missing")
            if blocks:
                put_block(batch, block, self._suite)
            past = self._with_leaves(past, block, tiles)
        for tile, content in tiles.items():
            if len(self.tile(tile)) < len(content):  # else it grew before its past was here
                batch.put(keys.log_tile(tile), content)
        if past.next_height > past.head:
            batch.delete(keys.MISSING_PAST)
        else:
            batch.put(keys.MISSING_PAST, past.encode())
        self._store.write(batch, sync=True)
        self._missing = None if past.next_height > past.head else past
        self._recent_absent, self._older_absent = {}, {}

    def _held_blocks(self, past: MissingPast) -> list[StoredBlock]:
        end = min(past.next_height + _BLOCKS_PER_STEP, past.head + 1)
        return [self._require_block(height) for height in range(past.next_height, end)]

    def _with_leaves(
        self, past: MissingPast, block: StoredBlock, tiles: dict[TileId, bytes]
    ) -> MissingPast:
        """Return what is missing once a block's leaves are in `tiles`, which it adds them to."""
        header, hash_function = block.header, self._suite.hash
        leaves = leaf_hashes(
            map(block.leaf, range(block.first_log_index, header.log_size)), hash_function
        )
        frontier, growth = past.frontier.append(leaves, hash_function)
        if block.first_log_index != past.frontier.size or header.log_roots != (
            frontier.root(hash_function),
        ):
            raise ProofError("past-log", f"block {header.height}: its leaves give another log")
        tiles |= tiles_changed(growth, lambda tile: tiles.get(tile) or self.tile(tile))
        return replace(past, next_height=header.height + 1, frontier=frontier)

    def _require_tiles(self, first: int, size: int) -> None:
        """Refuse a path from a leaf in the log of `size` leaves that needs tiles not here."""
        past = self._missing
        if past is not None and size > past.frontier.size and first < past.head_log_size:
            raise past.refusal()

    def _require_records(self, query: RecordQuery, start: int) -> None:
        """Refuse a search whose answer may lie in what is missing."""
        past = self._missing
        if past is None or not past.heights:
            return
        first = self._require_block(past.held_from)
        is_later = query.from_ms is not None and query.from_ms >= first.header.time_ms
        if start < first.first_log_index and not is_later:
            raise past.refusal()

    # --- What others that are far behind may read ---

    def hold(self) -> None:
        """Keep the state at the tip readable, besides the last one kept, whatever comes."""
        height = self.tip_height
        header, certificate = self.require_header(height)
        if height in self._held or certificate is None:
            return
        block = CertifiedHeader(header, certificate)
        self._held[height] = HeldState(self._store.view(), self.tree, block, self._suite)
        if len(self._held) > STATES_HELD:
            self._held.pop(min(self._held)).close()

    @property
    def held(self) -> Mapping[int, HeldState]:
        """The states kept readable, by height."""
        return self._held

    def require_header(self, height: int) -> tuple[Header, QuorumCertificate | None]:
        """Return what `header_at` does, of a block that must be here; raises `StorageError`."""
        found = self.header_at(height)
        if found is None:
            raise _damaged(f"the header of block {height} is missing")
        return found

    # --- The state ---

    def prove(self, key: bytes) -> ProvenState | None:
        """Return what the state at the tip holds for a state key, which may be nothing, and proof.

        None at genesis, which nobody certified. All of it is read from one view of the store, so
        that it is of one block whatever is committed meanwhile.
        """
        with self._tip_moves:
            height, tree, view = self.tip_height, self._read_state_tree(), self._store.view()
        with closing(view):
            value = view.get(keys.header(height))
            header, certificate = decode_header_value(value or b"", self._suite)
            if certificate is None:
                return None
            read = partial(read_bucket, view)
            return ProvenState(
                CertifiedHeader(header, certificate),
                StateMap(tree, read, self._suite).get(key),
                prove(tree, key, read, self._suite),
            )

    # --- Evidence of misbehaviour: no part of the chain, but as durable ---

    def keep_evidence(self, evidence: Evidence) -> None:
        """Keep evidence, durably; it replaces what was kept for the same charge."""
        batch = WriteBatch()
        batch.put(keys.evidence(evidence.charge), evidence.encode())
        self._store.write(batch, sync=True)

    def evidence(self) -> list[Evidence]:
        """Return all evidence kept, in order of epoch, offence and validator."""
        with damage_explained("evidence"):
            stored = self._store.scan(keys.EVIDENCE)
            return [Evidence.decode(value, self._suite) for _, value in stored]

    # --- Compact certificates: no part of the chain, and made anew if they are lost ---

    def keep_compact(self, certificate: CompactCertificate) -> None:
        """Keep a checked certificate; it replaces an older one of its epoch, for it proves more."""
        batch = WriteBatch()
        batch.put(keys.compact(certificate.checkpoint.epoch), certificate.encode())
        self._store.write(batch, sync=False)

    def compact(self, epoch: int) -> CompactCertificate | None:
        """Return the newest compact certificate of an epoch, or None."""
        with damage_explained("compact certificate"):
            stored = self._store.get(keys.compact(epoch))
            return None if stored is None else CompactCertificate.decode(stored)

    # --- Reading ---

    def _candidates(self, query: RecordQuery, start: int) -> Iterator[int]:
        """Yield the log indexes worth looking at, in order, from the narrowest index there is."""
        first, end = start, self._tip.frontier.size
        if query.from_ms is not None:
            first = max(first, self._log_index_at(query.from_ms))
        if query.to_ms is not None:
            end = self._log_index_at(query.to_ms)
        if first >= end:
            return
        if query.digest is not None:
            single, runs = keys.records_by_digest(query.digest), keys.DIGEST_RUN
            fingerprint = query.digest[: keys.FINGERPRINT_BYTES]
            if len(fingerprint) < keys.FINGERPRINT_BYTES:  # no document's digest is so short
                return
        elif query.reference is not None:
            hashed = keys.reference_hash(query.reference, self._suite)
            single, runs = keys.records_by_reference(hashed), keys.REFERENCE_RUN
            fingerprint = hashed[: keys.FINGERPRINT_BYTES]
        elif query.type_code is not None:
            yield from self._of_type(query.type_code, first, end)
            return
        else:
            yield from range(first, end)
            return
        yield from merge(
            self._of_entries(single, first, end),
            found_in_runs(self._store.scan, runs, fingerprint, first, end),
        )

    def _of_entries(self, prefix: bytes, first: int, end: int) -> Iterator[int]:
        """Yield the log indexes from `first` up to `end` of records with entries of their own."""
        for key, _ in self._store.scan(prefix, start=prefix + keys.log_index(first)):
            log_index = keys.last_log_index(key)
            if log_index >= end:
                return
            yield log_index

    def _of_type(self, type_code: str, first: int, end: int) -> Iterator[int]:
        """Yield the log indexes from `first` up to `end` of records of a type."""
        prefix = keys.records_by_type(type_code)
        block = self._block_at(first)  # a run lies in one block, so none before it comes this far
        start = prefix + keys.number(first if block is None else block[0])
        for key, run_end in self._store.scan(prefix, start=start):
            run_first = keys.last_number(key)
            if run_first >= end:
                return
            yield from range(max(first, run_first), min(end, keys.last_number(run_end)))

    def _log_index_at(self, time_ms: int) -> int:
        """Return the log index that the first block with T >= `time_ms` begins at."""
        found = self._store.scan(
            keys.LOG_INDEX_AT_TIME, start=keys.log_index_at_time(time_ms), limit=1
        )
        for _, log_index in found:
            return keys.last_number(log_index)
        return self._tip.frontier.size

    def _located(self, log_indexes: Iterable[int]) -> Iterator[tuple[int, StoredBlock]]:
        """Yield each log index with its block, which neighbours share."""
        block: StoredBlock | None = None
        for log_index in log_indexes:
            if block is None or not block.first_log_index <= log_index < block.header.log_size:
                block = self._block_of_leaf(log_index)
            yield log_index, block

    def _block_of_leaf(self, log_index: int) -> StoredBlock:
        size = self._tip.frontier.size
        if not 0 <= log_index < size:
            raise ProofError("proof-index", f"expected an index below {size}, got {log_index}")
        found = self._block_at(log_index)
        block = None if found is None else self._require_block(found[1])
        if block is not None and log_index < block.header.log_size:
            return block
        if self._missing is not None:
            raise self._missing.refusal()
        raise _damaged(f"no block holds leaf {log_index}")

    def _block_at(self, log_index: int) -> tuple[int, int] | None:
        """Return (log index of its first leaf, height) of the last block that begins by then."""
        found = self._store.scan(
            keys.BLOCK_AT_LOG_INDEX,
            start=keys.block_at_log_index(log_index),
            reverse=True,
            limit=1,
        )
        for key, height in found:
            return keys.last_number(key), keys.last_number(height)
        return None

    def _require_block(self, height: int) -> StoredBlock:
        block = self.block(height)
        if block is None:
            raise _damaged(f"block {height} is missing below the tip {self.tip_height}")
        return block

    def _require(self, key: bytes, what: str) -> bytes:
        value = self._store.get(key)
        if value is None:
            raise _damaged(f"{what} is missing: {key.hex()}")
        return value


class _BlockBatch:
    """Everything that committing blocks changes. It computes nothing: all is executed."""

    def __init__(self, read_tile: ReadTile, suite: Suite) -> None:
        self._read_tile, self._suite = read_tile, suite
        self._batch = WriteBatch()
        self._tiles: dict[TileId, bytes] = {}
        self._tip = b""
        self.tree: StateTree = EMPTY_TREE
        """The state tree after the last block."""
        self.buckets: dict[bytes, Bucket | None] = {}
        """The buckets that differ then: of one that many blocks change, the last."""

    def add(self, executed: ExecutedBlock, certificate: QuorumCertificate | None) -> None:
        """Add the next block."""
        batch, header, height = self._batch, executed.header, executed.header.height
        batch.put(keys.header(height), encode_header_value(header, certificate))
        batch.put_all(body_and_index(executed, self._suite))
        for key in keys.all_listed(executed.state_writes):
            put_listed(batch, key, is_present=executed.state_writes[key] is not None)
        self.tree = executed.tree.tree
        self.buckets |= executed.tree.buckets
        self._tiles |= tiles_changed(executed.log_growth, self._tile)
        self._tip = tip_value(height, executed.digest, executed.frontier)

    def whole(self) -> WriteBatch:
        """Return the batch, with what each block replaces as the last one left it."""
        batch = self._batch
        put_buckets(batch, self.buckets)
        for tile, content in self._tiles.items():
            batch.put(keys.log_tile(tile), content)
        batch.put(keys.TIP, self._tip)
        return batch

    def _tile(self, tile: TileId) -> bytes:
        written = self._tiles.get(tile)
        return self._read_tile(tile) if written is None else written


def body_and_index(executed: ExecutedBlock, suite: Suite) -> list[tuple[bytes, bytes]]:
    """Return keys and values of a block's body, and of what it and its records are found by."""
    header = executed.header
    first_log_index = header.log_size - len(executed.leaves)
    transactions = [verified.transaction for verified in executed.transactions]
    written = [(each.tx_id, each.body.payload) for each in transactions]
    body = (keys.body(header.height), pack(encode_body_value(executed)))
    return [body, *index_entries(header, first_log_index, written, executed.results, suite)]


def put_listed(batch: WriteBatch, state_key: bytes, *, is_present: bool) -> None:
    """Put the entry by which a state key is found by its prefix, or remove it."""
    listed = keys.listed(state_key)
    if listed is not None and is_present:
        batch.put(listed, b"")
    elif listed is not None:
        batch.delete(listed)


def put_block(batch: WriteBatch, block: StoredBlock, suite: Suite) -> None:
    """Put a block, and the entries it is found by."""
    header = block.header
    batch.put(keys.header(header.height), block.header_value)
    batch.put(keys.body(header.height), pack(block.body_value))
    written = [(each.tx_id, each.payload) for each in map(block.written, range(block.count))]
    batch.put_all(index_entries(header, block.first_log_index, written, block.results(), suite))


def format_value(chain_id: bytes) -> bytes:
    """Return what says that a store holds a ledger of this format, and of which chain."""
    return encode([FORMAT_VERSION, chain_id])


def tip_value(height: int, digest: bytes, frontier: LogFrontier) -> bytes:
    """Return what says which block is the newest, and where the log is after it."""
    return encode([height, digest, frontier.to_value()])


def _check_format(value: bytes | None, chain_id: bytes) -> None:
    if value is None:
        raise StorageError(
            "the database holds something else than a ledger",
            code="GC-3010",
            fix="point the node at its own data directory",
        )
    with damage_explained("format"):
        version, stored = expect_array(
            decode(value, what="format", size_max=_META_BYTES_MAX), 2, "format"
        )
    if version != FORMAT_VERSION:
        raise StorageError(
            f"the ledger has format {version}, this program reads {FORMAT_VERSION}",
            code="GC-3010",
            fix="run the version that wrote it, or remove the data directory to rebuild it",
        )
    if stored != chain_id:
        raise StorageError(
            f"the ledger is that of chain {stored.hex()}, expected {chain_id.hex()}",
            code="GC-3011",
            fix="point the node at the data directory of its own chain",
        )


def _read_tip(store: KeyValueView, suite: Suite) -> _Tip:
    value = store.get(keys.TIP)
    if value is None:
        raise _damaged("the tip is missing")
    with damage_explained("tip"):
        height, digest, frontier = expect_array(
            decode(value, what="tip", size_max=_META_BYTES_MAX), 3, "tip"
        )
        expect_bytes(digest, "tip digest", size=_DIGEST_BYTES)
        log_frontier = LogFrontier.from_value(frontier)
        header_value = store.get(keys.header(expect_uint(height, "tip height")))
    if header_value is None:
        raise _damaged(f"the header of the tip {height} is missing")
    header, _ = decode_header_value(header_value, suite)
    return _Tip(header, digest, log_frontier)


def _read_missing(store: KeyValueStore) -> MissingPast | None:
    value = store.get(keys.MISSING_PAST)
    if value is None:
        return None
    with damage_explained("missing past"):
        return MissingPast.decode(value)


def _damaged(message: str) -> StorageError:
    return StorageError(
        f"the ledger is damaged: {message}",
        code="GC-3003",
        fix="remove the database and start again to rebuild it",
    )
