"""Roots, the log and its proofs: building a tree, appending to a long log, one proof and check."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from node.chain.log import EMPTY_FRONTIER
from node.chain.merkle import TreeHead, inclusion_path, leaf_hash, merkle_root, verify_inclusion
from node.crypto.suite import INTERNATIONAL

HASH = INTERNATIONAL.hash


def leaf_hashes(count: int) -> list[bytes]:
    return [leaf_hash(index.to_bytes(160, "big"), HASH) for index in range(count)]


@pytest.mark.parametrize("leaves", [1_000, 10_000])
def test_root(benchmark: BenchmarkFixture, leaves: int) -> None:
    hashes = leaf_hashes(leaves)
    root = benchmark(merkle_root, hashes, HASH)
    assert root == EMPTY_FRONTIER.append(hashes, HASH)[0].root(HASH)


@pytest.mark.parametrize("leaves", [1_000, 10_000])
def test_append_to_a_log_of_a_million(benchmark: BenchmarkFixture, leaves: int) -> None:
    size = 1_000_000
    old = EMPTY_FRONTIER.append(leaf_hashes(1_024), HASH)[0]
    peaks = tuple(old.peaks[0] for _ in range(size.bit_count()))
    frontier = type(old)(size, peaks)
    hashes = leaf_hashes(leaves)
    grown, _ = benchmark(frontier.append, hashes, HASH)
    assert grown.size == size + leaves


@pytest.mark.parametrize("leaves", [1_000, 10_000])
def test_build_and_prove(benchmark: BenchmarkFixture, leaves: int) -> None:
    hashes = leaf_hashes(leaves)
    path = benchmark(inclusion_path, hashes, leaves // 3, HASH)
    head = TreeHead(leaves, merkle_root(hashes, HASH))
    verify_inclusion(hashes[leaves // 3], leaves // 3, path, head, HASH)


@pytest.mark.parametrize("leaves", [1_000, 10_000])
def test_verify_proof(benchmark: BenchmarkFixture, leaves: int) -> None:
    hashes = leaf_hashes(leaves)
    index = leaves // 3
    path = inclusion_path(hashes, index, HASH)
    head = TreeHead(leaves, merkle_root(hashes, HASH))
    benchmark(verify_inclusion, hashes[index], index, path, head, HASH)
    assert len(path) >= 9
