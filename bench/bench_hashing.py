"""Hashes one by one, and many at once: what a tagged hash, a leaf and a node of a tree cost."""

from __future__ import annotations

import hashlib

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from node.chain.merkle import leaf_hash, node_hash
from node.crypto import domains, hashing
from node.crypto.hashing import NewHash, hash_many, load_kernel, new_sm3
from node.crypto.suite import INTERNATIONAL

COUNT = 1_000
HASH = INTERNATIONAL.hash


@pytest.mark.parametrize("size_bytes", [64, 256, 4_096])
def test_1000_tagged_hashes(benchmark: BenchmarkFixture, size_bytes: int) -> None:
    data = [index.to_bytes(size_bytes, "big") for index in range(COUNT)]
    digests = benchmark(lambda: [INTERNATIONAL.tagged_hash(domains.TX_BODY, item) for item in data])
    assert len(frozenset(digests)) == COUNT


def test_1000_leaf_hashes(benchmark: BenchmarkFixture) -> None:
    leaves = [index.to_bytes(160, "big") for index in range(COUNT)]
    hashes = benchmark(lambda: [leaf_hash(leaf, HASH) for leaf in leaves])
    assert hashes[1] == HASH(b"\x00" + leaves[1])


def test_1000_node_hashes(benchmark: BenchmarkFixture) -> None:
    children = [index.to_bytes(32, "big") for index in range(COUNT + 1)]
    hashes = benchmark(
        lambda: [node_hash(children[i], children[i + 1], HASH) for i in range(COUNT)]
    )
    assert hashes[1] == HASH(b"\x01" + children[1] + children[2])


@pytest.mark.parametrize("count", [16, 256, 16_384])
@pytest.mark.parametrize("new_hash", [hashlib.sha256, new_sm3])
@pytest.mark.parametrize("way", ["kernel", "one by one"])
def test_pairs_hashed_together(
    benchmark: BenchmarkFixture,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    new_hash: NewHash,
    count: int,
) -> None:
    monkeypatch.setattr(hashing, "_kernels", {})
    assert way == "one by one" or load_kernel(new_hash)
    pairs = b"".join(index.to_bytes(64, "big") for index in range(count))
    digests = benchmark(hash_many, new_hash, b"\x01", pairs, 64)
    assert digests[-32:] == new_hash(b"\x01" + pairs[-64:]).digest()
