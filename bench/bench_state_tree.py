"""The state tree: one batch update of a block, and a proof, in a tree of many keys.

As a command it builds trees of so many keys in a store on disk, and tells what updates cost there:

    python -m bench.bench_state_tree 10000 100000 1000000

Half of each batch are new keys, half are keys that get another value, all of them chosen at random.
Times are of the processor: of the thread that updates, a median, and of the process, a mean, as it
holds what the store does in threads of its own; updates/s are by that. Beside them stands how long
one hash took meanwhile, to compare runs on a machine with other work.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import statistics
import tempfile
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from node.assembly.engines import open_database
from node.chain.state_bucket import Bucket
from node.chain.state_columns import load_kernels
from node.chain.state_tree import EMPTY_TREE, StateTree, key_path, prove, update, verify_proof
from node.config import StorageConfig
from node.crypto.hashing import Hasher
from node.crypto.suite import INTERNATIONAL, Suite
from node.storage.kv import KeyValueStore, KeyValueView, WriteBatch
from node.storage.state_buckets import put_buckets, read_bucket, read_tree

NO_BUCKETS: Final[Mapping[bytes, Bucket]] = {}
CHANGES: Final = 1_000
BUILT_AT_ONCE: Final = 20_000
HASHES_TIMED: Final = 2_000


class Tree:
    """A tree of `size` keys, its buckets in memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        values = {key(n): value(n) for n in range(size)}
        built = update(EMPTY_TREE, values, NO_BUCKETS.get, INTERNATIONAL)
        self.root, self.tree, self.buckets = built.root, built.tree, built.buckets


def key(number: int) -> bytes:
    return b"key %d" % number


def value(number: int) -> bytes:
    return b"value %d" % number


@pytest.fixture(scope="module", params=[10_000, 100_000], ids=["10k_keys", "100k_keys"])
def tree(request: pytest.FixtureRequest) -> Tree:
    return Tree(request.param)


@pytest.mark.parametrize("changes", [100, 1_000])
def test_update(benchmark: BenchmarkFixture, tree: Tree, changes: int) -> None:
    """Half of the keys are new, half have a new value."""
    step = tree.size // changes * 2
    batch = {key(number): b"new" for number in range(0, tree.size, step)}
    batch |= {key(tree.size + number): b"new" for number in range(changes - len(batch))}
    updated = benchmark(update, tree.tree, batch, tree.buckets.get, INTERNATIONAL)
    assert len(batch) == changes
    assert updated.root != tree.root


def test_prove(benchmark: BenchmarkFixture, tree: Tree) -> None:
    proof = benchmark(prove, tree.tree, key(7), tree.buckets.get, INTERNATIONAL)
    verify_proof(tree.root, key(7), value(7), proof, INTERNATIONAL)


# --- As a command: trees in a store ---


class CountedHash:
    """The hash of the suite, counted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, data: bytes = b"", /) -> Hasher:
        self.count += 1
        return INTERNATIONAL.new_hash(data)


class CountedReads:
    """A store to read, each read counted."""

    def __init__(self, view: KeyValueView) -> None:
        self._view = view
        self.scan, self.close = view.scan, view.close
        self.count = 0

    def get(self, key: bytes) -> bytes | None:
        self.count += 1
        return self._view.get(key)


class StoredTree:
    """A tree in a store, updated as a ledger does it."""

    def __init__(self, store: KeyValueStore, suite: Suite, tree: StateTree) -> None:
        self._store, self._suite = store, suite
        self.tree = tree
        self.reads = CountedReads(store)

    def apply(self, changes: Mapping[bytes, bytes]) -> WriteBatch:
        """Update the tree; return what was written."""
        done = update(self.tree, changes, partial(read_bucket, self.reads), self._suite)
        batch = WriteBatch()
        put_buckets(batch, done.buckets)
        self._store.write(batch, sync=False)
        self.tree = done.tree
        return batch


def build(store: KeyValueStore, size: int) -> StateTree:
    """Build the tree of so many keys, in the order of their paths."""
    tree = StoredTree(store, INTERNATIONAL, EMPTY_TREE)
    by_first_byte = [array("I") for _ in range(256)]
    for number in range(size):
        by_first_byte[key_path(key(number), INTERNATIONAL)[0]].append(number)
    changes: dict[bytes, bytes] = {}
    for first_byte, numbers in enumerate(by_first_byte):
        changes |= {key(number): value(number) for number in numbers}
        if len(changes) >= BUILT_AT_ONCE or first_byte == len(by_first_byte) - 1:
            tree.apply(changes)
            changes.clear()
    return tree.tree


def batches(size: int, count: int) -> Iterator[dict[bytes, bytes]]:
    """Yield batches: half new keys, half keys there were, that get another value."""
    rng = random.Random(size)
    for number in range(count):
        old = rng.sample(range(size), CHANGES // 2)
        changes = {key(at): b"value of batch %d" % number for at in old}
        first_new = size + number * (CHANGES - len(old))
        changes |= {key(at): value(at) for at in range(first_new, first_new + CHANGES - len(old))}
        yield changes


def hash_cost_us() -> float:
    """Return what one hash takes now, in microseconds of the processor."""
    start = time.thread_time()
    for number in range(HASHES_TIMED):
        INTERNATIONAL.hash(b"%090d" % number)
    return (time.thread_time() - start) * 1e6 / HASHES_TIMED


def measure(size: int, rounds: int, folder: Path) -> str:
    """Return a line of what updates cost in a tree of so many keys."""
    with closing(open_database(folder / "db", create=True, storage=StorageConfig())) as store:
        tree = StoredTree(store, INTERNATIONAL, build(store, size))
        gc.collect()
        gc.freeze()
        changes = batches(size, 2 * rounds)
        own, whole, hash_us = list[float](), list[float](), list[float]()
        for batch in islice(changes, rounds):
            starts = time.thread_time(), time.process_time()
            tree.apply(batch)
            own.append((time.thread_time() - starts[0]) * 1e6 / CHANGES)
            whole.append((time.process_time() - starts[1]) * 1e6 / CHANGES)
            hash_us.append(hash_cost_us())
        counted = CountedHash()
        suite = replace(INTERNATIONAL, new_hash=counted)
        start = time.process_time()
        tree = StoredTree(store, suite, read_tree(store, INTERNATIONAL))
        start_s = time.process_time() - start
        writes = bytes_written = 0
        for number, batch in enumerate(changes):
            if number == rounds // 2:
                counted.count = tree.reads.count = writes = bytes_written = 0
            written = tree.apply(batch)
            writes += len(written)
            bytes_written += sum(len(name) + len(page or b"") for name, page in written.changes())
        updates = (rounds - rounds // 2) * CHANGES
    counts = (count / updates for count in (counted.count, tree.reads.count, writes))
    both = statistics.median(own), statistics.mean(whole)
    return (
        f"{size:>10,} {1e6 / both[1]:>10,.0f} {both[0]:>8.1f} {both[1]:>8.1f} "
        f"{statistics.median(hash_us):>6.2f} "
        + " ".join(f"{count:>7.2f}" for count in counts)
        + f" {bytes_written / updates:>8,.0f} {start_s:>8.2f}"
    )


def main() -> None:
    """Measure the sizes that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="+", type=int, help="keys of each tree")
    parser.add_argument("--rounds", type=int, default=40, help="batches timed, and as many counted")
    parser.add_argument("--folder", type=Path, help="where the stores are made, and removed")
    parser.add_argument("--kernels", action="store_true", help="hash and update by kernels")
    options = parser.parse_args()
    if options.kernels and not (load_kernels(INTERNATIONAL)):
        parser.error("kernels are not installed (extra [kernels]), or nowhere to be kept")
    print(f"Python {platform.python_version()}, {CHANGES} updates a batch; times in us per update")
    print(
        "      keys  updates/s   thread  process   hash  hashes   reads  writes    bytes  start s"
    )
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(measure(size, options.rounds, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
