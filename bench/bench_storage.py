"""What a block costs the engine of the ledger, on LevelDB and on RocksDB, syncs included."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from node.assembly.engines import open_database
from node.config import StorageConfig
from node.storage.kv import KeyValueStore, WriteBatch

PAIRS = 1_000
STORED = 100_000


def batch(rng: random.Random, pairs: int) -> WriteBatch:
    """Return changes of the sizes that a block has: keys that are digests, small values."""
    changes = WriteBatch()
    for _ in range(pairs):
        changes.put(rng.randbytes(33), rng.randbytes(200))
    return changes


@pytest.fixture(scope="module", params=["leveldb", "rocksdb"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeyValueStore]:
    path: Path = tmp_path_factory.mktemp(request.param) / "db"
    storage = StorageConfig(engine=request.param)
    with closing(open_database(path, create=True, storage=storage)) as opened:
        rng = random.Random(1)
        for _ in range(STORED // PAIRS):
            opened.write(batch(rng, PAIRS), sync=False)
        yield opened


def test_synced_batch_of_1000_pairs(benchmark: BenchmarkFixture, store: KeyValueStore) -> None:
    rng = random.Random(2)
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda changes: store.write(changes, sync=True),
        setup=lambda: ((batch(rng, PAIRS),), {}),
        rounds=30,
    )


def test_1000_values_by_key(benchmark: BenchmarkFixture, store: KeyValueStore) -> None:
    keys = [key for key, _ in store.scan(b"\x40", limit=PAIRS)]
    found = benchmark(lambda: [store.get(key) for key in keys])
    assert len(keys) > 100
    assert None not in found


def test_1000_pairs_in_order(benchmark: BenchmarkFixture, store: KeyValueStore) -> None:
    found = benchmark(lambda: list(store.scan(b"", limit=PAIRS)))
    assert len(found) == PAIRS
    assert found == sorted(found)
