"""Signature checks as a validator makes them: the largest part of what a transaction costs.

On two threads twice as many go through in the same time, where two cores are free: the library
releases the interpreter lock. Under a key that signs often they go by a table of its multiples.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.conftest import Say
from node.crypto import key_tables
from node.service.admission import Candidate, check_signatures
from tests.unit.execution.small_chain import payload, signer, tx

COUNT = 256


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    key = signer("agency-1").public_key
    return [Candidate(tx(payload(f"document {n}")).transaction, key) for n in range(COUNT)]


def test_sign(benchmark: BenchmarkFixture) -> None:
    owner = signer("agency-1")
    signature = benchmark(owner.sign, b"a message")
    assert owner.public_key.verify(b"a message", signature)


def test_verify(benchmark: BenchmarkFixture) -> None:
    owner = signer("agency-1")
    assert benchmark(owner.public_key.verify, b"a message", owner.sign(b"a message"))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("by_table", [False, True])
def test_check_256_transactions(
    benchmark: BenchmarkFixture,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
    candidates: list[Candidate],
    *,
    by_table: bool,
    threads: int,
) -> None:
    monkeypatch.setattr(key_tables, "_known", key_tables.KeyTables())
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", 1 if by_table else 1 << 62)
    check_signatures(candidates)
    share = COUNT // threads
    shares = [candidates[start : start + share] for start in range(0, COUNT, share)]
    with ThreadPoolExecutor(threads) as pool:
        checked = benchmark(lambda: list(pool.map(check_signatures, shares)))
    assert all(verified is not None for part in checked for verified in part)
    how = "by table" if by_table else "one by one"
    say(lambda best_s: f"signature checks {how}, {threads} thread(s): {COUNT / best_s:,.0f} per s")
