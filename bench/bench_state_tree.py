"""The state tree: one batch update of a block, and a proof, in a tree of many keys."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from node.chain.state_tree import EMPTY, prove, update, verify_proof
from node.crypto.suite import INTERNATIONAL
from node.errors import invariant
from node.storage.kv import WriteBatch
from node.storage.memory import MemoryStore


class Tree:
    """A tree of `size` keys whose nodes lie in a store."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._store = MemoryStore()
        built = update(EMPTY, {key(n): value(n) for n in range(size)}, self.node, INTERNATIONAL)
        batch = WriteBatch()
        for node_hash in sorted(built.new_nodes):
            batch.put(node_hash, built.new_nodes[node_hash])
        self._store.write(batch, sync=False)
        self.root = built.root

    def node(self, node_hash: bytes) -> bytes:
        node = self._store.get(node_hash)
        invariant(node is not None, "every node of a tree is stored")
        return node or b""


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
    updated = benchmark(update, tree.root, batch, tree.node, INTERNATIONAL)
    assert len(batch) == changes
    assert updated.root != tree.root


def test_prove(benchmark: BenchmarkFixture, tree: Tree) -> None:
    proof = benchmark(prove, tree.root, key(7), tree.node, INTERNATIONAL)
    verify_proof(tree.root, key(7), value(7), proof, INTERNATIONAL)
