"""Roots, the log and its proofs: building a tree, appending to a long log, one proof and check."""

from __future__ import annotations

import hashlib

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.conftest import Say
from node.chain.log import EMPTY_FRONTIER
from node.chain.merkle import (
    TreeHead,
    inclusion_path,
    leaf_hash,
    merkle_root,
    row_root,
    verify_inclusion,
)
from node.crypto import hashing
from node.crypto.hashing import HashFunction, NewHash, load_kernel, new_sm3
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


@pytest.mark.parametrize("new_hash", [hashlib.sha256, new_sm3])
def test_root_of_a_million_digests_by_kernels(
    benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch, say: Say, new_hash: NewHash
) -> None:
    monkeypatch.setattr(hashing, "_kernels", {})
    assert load_kernel(new_hash)
    digests, hash_function = 1 << 20, HashFunction(new_hash)
    row = b"".join(index.to_bytes(32, "big") for index in range(digests))
    root = benchmark(row_root, row, hash_function)
    halves = (row_root(half, hash_function) for half in (row[: 16 * digests], row[16 * digests :]))
    assert root == hash_function(b"\x01" + b"".join(halves))
    say(lambda best_s: f"{digests / best_s / 1e6:.1f} M digests/s under one root by a kernel")
