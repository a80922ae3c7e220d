"""The state tree: one batch update of a block, and a proof, in a tree of many keys."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from node.chain.state_tree import EMPTY, Page, prove, update, verify_proof
from node.crypto.suite import INTERNATIONAL

NO_PAGES: Mapping[str, Page] = {}


class Tree:
    """A tree of `size` keys, its pages in memory as a ledger keeps recent ones."""

    def __init__(self, size: int) -> None:
        self.size = size
        built = update(EMPTY, {key(n): value(n) for n in range(size)}, NO_PAGES.get, INTERNATIONAL)
        self.root, self.pages = built.root, built.pages


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
    updated = benchmark(update, tree.root, batch, tree.pages.get, INTERNATIONAL)
    assert len(batch) == changes
    assert updated.root != tree.root


def test_prove(benchmark: BenchmarkFixture, tree: Tree) -> None:
    proof = benchmark(prove, tree.root, key(7), tree.pages.get, INTERNATIONAL)
    verify_proof(tree.root, key(7), value(7), proof, INTERNATIONAL)
