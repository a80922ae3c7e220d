"""Checking a whole ledger: whatever it stores is derived again and compared. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Never

from node.chain.block import Header
from node.chain.log import EMPTY_FRONTIER, LogFrontier, TileId, tiles_changed
from node.chain.merkle import leaf_hashes, merkle_root
from node.chain.state_bucket import Bucket
from node.chain.state_tree import EMPTY_TREE, update
from node.crypto.suite import Suite
from node.errors import StorageError
from node.storage import keys
from node.storage.indexes import index_entries
from node.storage.kv import KeyValueStore
from node.storage.ledger import LedgerStore
from node.storage.stored_block import StoredBlock

_NO_BUCKETS: Final[Mapping[bytes, Bucket]] = {}
_INDEXES: Final = (
    keys.TRANSACTION,
    keys.BLOCK_AT_LOG_INDEX,
    keys.LOG_INDEX_AT_TIME,
    keys.RECORD_BY_DIGEST,
    keys.RECORD_BY_REFERENCE,
    keys.DIGEST_RUN,
    keys.REFERENCE_RUN,
    keys.RECORD_BY_TYPE,
)


def verify_store(
    store: KeyValueStore,
    ledger: LedgerStore,
    suite: Suite,
    advance: Callable[[int], None] = lambda _blocks: None,
) -> None:
    """Check everything in `store` against itself; raises `StorageError` at the first difference.

    `advance` is told how many more blocks have been checked, the greater part of the work.

    1. every header names the one before as its parent, and the tip is the last of them;
    2. every block has the transactions, results and log leaves that its header's roots commit to,
       and a certificate that names it; those of a pruned block tell nothing of its root any more;
    3. the tiles of the log are those of these leaves, and the frontier is the tip's;
    4. the current values make the state root of the tip, and lie in exactly the stored buckets;
    5. the indexes hold what the blocks say, and nothing else.

    It reads the whole ledger. Signatures are not checked: that needs the validator sets.
    """
    if not ledger.is_whole:
        raise ledger.not_held_yet()
    walk = _Walk(store, suite)
    for height in range(ledger.tip_height + 1):
        block = ledger.block(height)
        if block is None:
            _fail(f"block {height} is missing below the tip {ledger.tip_height}")
        walk.check_block(height, block)
        advance(1)
    if (walk.digest, walk.frontier) != (ledger.header_digest, ledger.log_frontier):
        _fail("the tip is not that of the last block")
    if store.get(keys.header(ledger.tip_height + 1)) is not None:
        _fail("there is a block above the tip")
    walk.check_tiles()
    walk.check_counts()
    _check_state(store, suite, ledger.header.state_root)


class _Walk:
    """A pass over the blocks in order: what the log and the indexes must hold so far."""

    def __init__(self, store: KeyValueStore, suite: Suite) -> None:
        self._store = store
        self._suite = suite
        self.digest = bytes(32)
        self.frontier: LogFrontier = EMPTY_FRONTIER
        self._tiles: dict[TileId, bytes] = {}
        self._index_count = 0

    def check_block(self, height: int, block: StoredBlock) -> None:
        header, hash_function = block.header, self._suite.hash
        if header.height != height or header.parent != self.digest:
            _fail(f"block {height} does not follow the one before")
        self.digest = header.digest(self._suite)
        certificate = block.certificate
        if height and (certificate is None or certificate.subject.header_digest != self.digest):
            _fail(f"block {height} has the certificate of another block, or none")
        written = [(each.tx_id, each.payload) for each in map(block.written, range(block.count))]
        results = block.results()
        result_leaves = leaf_hashes((result.encode() for result in results), hash_function)
        if not block.is_pruned:
            transactions = map(block.transaction, range(block.count))
            tx_leaves = leaf_hashes((each.tx_hash for each in transactions), hash_function)
            self._expect(header, "tx_root", merkle_root(tx_leaves, hash_function))
        self._expect(header, "results_root", merkle_root(result_leaves, hash_function))
        self._check_log(block)
        entries = index_entries(header, block.first_log_index, written, results, self._suite)
        for key, value in entries:
            if self._store.get(key) != value:
                _fail(f"block {height}: index entry {key.hex()} is missing or wrong")
            self._index_count += 1

    def _check_log(self, block: StoredBlock) -> None:
        header, hash_function = block.header, self._suite.hash
        if block.first_log_index != self.frontier.size:
            _fail(f"block {header.height}: its leaves do not follow those of the one before")
        leaves = leaf_hashes(
            map(block.leaf, range(block.first_log_index, header.log_size)), hash_function
        )
        self.frontier, growth = self.frontier.append(leaves, hash_function)
        self._tiles |= tiles_changed(growth, self._tiles.__getitem__)
        self._expect(header, "log_roots", (self.frontier.root(hash_function),))

    def check_tiles(self) -> None:
        """Compare the tiles of the log."""
        stored = dict(self._store.scan(keys.LOG_TILE))
        if stored != {keys.log_tile(tile): content for tile, content in self._tiles.items()}:
            _fail("the tiles of the log are not those of its leaves")

    def check_counts(self) -> None:
        """Check that no index holds more than the blocks account for."""
        stored = sum(1 for index in _INDEXES for _ in self._store.scan(index))
        if stored != self._index_count:
            _fail(f"expected {self._index_count} index entries, got {stored}")

    def _expect(self, header: Header, root: str, derived: object) -> None:
        if getattr(header, root) != derived:
            _fail(f"block {header.height}: its contents do not give its {root}")


def _check_state(store: KeyValueStore, suite: Suite, state_root: bytes) -> None:
    values: dict[bytes, bytes | None] = {}
    stored: dict[bytes, bytes] = {}
    for key, encoded in store.scan(keys.STATE):
        place = key[len(keys.STATE) :]
        stored[place] = encoded
        values |= Bucket.decode(encoded, place).items()
    listed = {key: b"" for key in map(keys.listed, values) if key is not None}
    if dict(store.scan(keys.STATE_KEY)) != listed:
        _fail("the list of state keys is not that of the current values")
    built = update(EMPTY_TREE, values, _NO_BUCKETS.get, suite)
    if built.root != state_root:
        _fail("the current values do not give the state root of the tip")
    if stored != {place: bucket.stored for place, bucket in built.buckets.items() if bucket}:
        _fail("the stored buckets are not those of the current values")


def _fail(message: str) -> Never:
    raise StorageError(
        f"the ledger is damaged: {message}",
        code="GC-3003",
        fix="remove the database and start again to rebuild it",
    )
