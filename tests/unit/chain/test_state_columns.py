"""Updates by columns: where they are used, what they cost, and that nothing compiles under load.

That they give what updates key by key give is shown in tests/property/chain/test_state_columns.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter

import pytest

from node.chain import state_columns, state_kernels
from node.chain.state_bucket import Bucket
from node.chain.state_columns import COLUMNS_MIN, prepare_columns
from node.chain.state_tree import EMPTY_TREE, StateMap, StateTree, TreeUpdate
from node.crypto import hashing
from node.crypto.domains import STATE_KEY, STATE_NODE, tagged
from node.crypto.hashing import Hasher, NewHash, load_kernel
from node.crypto.suite import INTERNATIONAL, Suite
from node.errors import InvariantViolation

KERNELS = ("_change", "_chain_pairs", "_finish")


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> dict[NewHash, object]:
    """Return what is prepared in this process: nothing as yet, and nothing after the test."""
    hashes: dict[NewHash, object] = {}
    monkeypatch.setattr(state_columns, "_prepared", hashes)
    monkeypatch.setattr(hashing, "_kernels", {})
    monkeypatch.setattr(hashing, "_node_kernels", {})
    return hashes


def grown(suite: Suite, blocks: int, block_keys: int) -> list[TreeUpdate]:
    """Return the updates of so many blocks, each of new keys and one that gets another value."""
    tree: StateTree = EMPTY_TREE
    buckets, done = dict[bytes, Bucket | None](), list[TreeUpdate]()
    for first in range(0, blocks * block_keys, block_keys):
        changes = {b"key %d" % at: b"%d" % first for at in range(first, first + block_keys)}
        state = StateMap(tree, buckets.get, suite)
        state.foresee(changes)
        done.append(state.update(changes | {b"key 0": b"%d" % first * 100}))
        tree = done[-1].tree
        buckets |= done[-1].buckets
    return done


def test_without_a_kernel_for_its_hash_a_suite_has_no_columns(
    prepared: dict[NewHash, object],
) -> None:
    assert not prepare_columns(INTERNATIONAL)
    assert not prepared


def test_nothing_compiles_once_they_are_prepared() -> None:
    by_key = grown(INTERNATIONAL, 6, 200)
    assert load_kernel(INTERNATIONAL.new_hash)
    assert prepare_columns(INTERNATIONAL)
    compiled = {name: list(getattr(state_kernels, name).signatures) for name in KERNELS}
    assert all(len(signatures) == 1 for signatures in compiled.values())
    for block_keys in (COLUMNS_MIN - 1, COLUMNS_MIN, 500):
        grown(INTERNATIONAL, 3, block_keys)
    assert grown(INTERNATIONAL, 6, 200) == by_key
    for name, signatures in compiled.items():
        assert list(getattr(state_kernels, name).signatures) == signatures


def test_columns_hash_nothing_that_keys_one_by_one_do_not(
    prepared: dict[NewHash, object],
) -> None:
    """But leaves of buckets that are left to be done by hand, which are hashed again there."""
    inputs = list[bytes]()

    def counted(data: bytes = b"", /) -> Hasher:
        inputs.append(data)
        return hashlib.sha256(data)

    suite = dataclasses.replace(INTERNATIONAL, new_hash=counted)
    grown(suite, 6, 200)
    by_key = Counter(inputs)
    inputs.clear()
    prepared[counted] = state_kernels
    grown(suite, 6, 200)
    again = Counter(inputs) - by_key
    above = tuple(tagged(tag, b"") for tag in (STATE_KEY, STATE_NODE))
    assert not [each for each in again if each.startswith(above)]
    assert Counter(inputs) <= by_key + by_key
    assert again.total() <= len(inputs) // 10
    assert len(inputs) > 6 * 200 * 8


def test_what_differs_on_a_sample_is_not_used(
    prepared: dict[NewHash, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_kernel(INTERNATIONAL.new_hash)

    def other_leaves(new_hash: NewHash, prefix: bytes, items: bytes, size: int) -> bytes:
        return hashing.hash_many(new_hash, prefix + b"other", items, size)

    monkeypatch.setattr(state_columns, "hash_many", other_leaves)
    with pytest.raises(InvariantViolation, match="otherwise than by hand"):
        prepare_columns(INTERNATIONAL)
    assert not prepared
