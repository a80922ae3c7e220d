"""The state tree: its hashes by hand, its deepest shape, its costs, and each refusal.

How its buckets look is in test_state_bucket.py.
Its laws, against a slow reference, are in tests/property/chain.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping

import pytest

from node.chain.encoding import encode
from node.chain.state_bucket import BUCKET_KEYS_MAX, Bucket
from node.chain.state_tree import (
    DEPTH_MAX,
    EMPTY,
    EMPTY_TREE,
    StateLeaf,
    StateMap,
    StateProof,
    StateTree,
    TreeUpdate,
    build_subtree,
    key_path,
    page_at,
    prove,
    root_of,
    tree_of_buckets,
    update,
    verify_proof,
)
from node.crypto.domains import STATE_KEY, STATE_LEAF, STATE_NODE, tagged
from node.crypto.hashing import Hasher
from node.crypto.suite import Suite
from node.errors import DecodeError, ProofError, StorageError
from tests.suites import SUITE, hash_by_hand

ROOT = b"\x00"
"""The place of the bucket that is a whole tree."""


class Store:
    """The buckets of one tree, kept as an owner of updates would keep them: stored."""

    def __init__(self, suite: Suite = SUITE) -> None:
        self.suite = suite
        self.tree: StateTree = EMPTY_TREE
        self.buckets: dict[bytes, Bucket] = {}
        self.reads: Counter[bytes] = Counter()

    @property
    def root(self) -> bytes:
        return root_of(self.tree)

    def read(self, place: bytes) -> Bucket | None:
        self.reads[place] += 1
        return self.buckets.get(place)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        done = update(self.tree, changes, self.read, self.suite)
        for place, bucket in done.buckets.items():
            if bucket is None:
                self.buckets.pop(place, None)
            else:
                self.buckets[place] = bucket
        self.tree = done.tree
        return done

    def prove(self, key: bytes) -> StateProof:
        return prove(self.tree, key, self.read, self.suite)


class KeyAsPath:
    """SHA-256, except that the key path is the key itself: lets a test choose where keys go."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def update(self, data: bytes, /) -> None:
        self._data += data

    def digest(self) -> bytes:
        prefix = tagged(STATE_KEY, b"")
        return (
            self._data.removeprefix(prefix)
            if self._data.startswith(prefix)
            else hash_by_hand(self._data)
        )


CHOSEN_PATHS = dataclasses.replace(SUITE, new_hash=KeyAsPath)


def path_of(*bits: int) -> bytes:
    """Return the key path that starts with `bits` and goes on with zeros."""
    return sum(bit << 255 - at for at, bit in enumerate(bits)).to_bytes(32, "big")


def leaf_by_hand(path: bytes, value: bytes) -> bytes:
    return hash_by_hand(tagged(STATE_LEAF, path + hash_by_hand(value)))


def inner_by_hand(left: bytes, right: bytes) -> bytes:
    return hash_by_hand(tagged(STATE_NODE, left + right))


# --- Hashes by hand ---


def test_a_map_of_one_key_is_its_leaf() -> None:
    store = Store()
    done = store.apply({b"key": b"value"})
    path = hash_by_hand(b"govchain/v1/state-key\x00key")
    assert key_path(b"key", SUITE) == path
    assert done.root == hash_by_hand(b"govchain/v1/state-leaf\x00" + path + hash_by_hand(b"value"))
    assert list(done.buckets) == [ROOT]
    assert store.prove(b"key") == StateProof((), None)


def test_inner_nodes_reach_down_to_where_keys_part() -> None:
    a, b, c = path_of(0), path_of(1, 0, 0), path_of(1, 0, 1)
    store = Store(CHOSEN_PATHS)
    store.apply({a: b"A", b: b"B", c: b"C"})
    pair = inner_by_hand(leaf_by_hand(b, b"B"), leaf_by_hand(c, b"C"))
    chain = inner_by_hand(pair, EMPTY)
    root = inner_by_hand(leaf_by_hand(a, b"A"), chain)
    assert store.root == root
    store.apply({c: None})  # the leaf of b moves up
    assert store.root == inner_by_hand(leaf_by_hand(a, b"A"), leaf_by_hand(b, b"B"))


def test_a_map_emptied_is_the_empty_map() -> None:
    store = Store()
    store.apply({b"a": b"1", b"b": b"2", b"c": b""})
    store.apply({b"a": None, b"b": None, b"c": None})
    assert (store.root, store.tree, store.buckets) == (EMPTY, EMPTY_TREE, {})
    assert store.apply({b"a": None}) == TreeUpdate(EMPTY_TREE, {})


def test_what_changes_nothing_changes_no_bucket_and_hashes_no_node() -> None:
    hashing = HashLog()
    store = Store(dataclasses.replace(SUITE, new_hash=hashing))
    store.apply({bytes([at]): b"value" for at in range(50)})
    same = {bytes([7]): b"value", bytes([8]): b"value", b"absent": None}
    hashing.inputs.clear()
    assert store.apply(same) == TreeUpdate(store.tree, {})
    assert hashing.count(STATE_NODE) == hashing.count(STATE_LEAF) == 0
    assert store.apply({}) == TreeUpdate(store.tree, {})


def test_a_bucket_is_divided_when_it_has_too_many_keys_and_joined_again() -> None:
    keys = [bytes((at,)).ljust(32, b"\0") for at in range(BUCKET_KEYS_MAX + 1)]  # differ below 0000
    store = Store(CHOSEN_PATHS)
    store.apply(dict.fromkeys(keys[:-1], b"value"))
    assert list(store.buckets) == [ROOT]
    whole = store.buckets[ROOT]
    done = store.apply({keys[-1]: b"value"})
    assert done.buckets[ROOT] is None
    assert sorted(store.buckets) == [b"\x00\x05", b"\x08\x05"]
    assert [len(bucket.keys) for bucket in store.buckets.values()] == [BUCKET_KEYS_MAX, 1]
    store.apply({keys[-1]: None})
    assert store.buckets == {ROOT: whole}


def test_a_tree_stays_as_it_was_whatever_is_made_of_it() -> None:
    store = Store()
    first = store.apply({b"%d" % at: b"first" for at in range(100)})
    before, root = dict(store.buckets), store.root
    store.apply({b"%d" % at: b"second" for at in range(0, 200, 3)})
    proof = prove(first.tree, b"3", before.get, SUITE)
    assert root_of(first.tree) == root != store.root
    verify_proof(root, b"3", b"first", proof, SUITE)


# --- The deepest shape ---


def test_paths_that_part_at_the_last_bit() -> None:
    low, high = bytes(31) + b"\x00", bytes(31) + b"\x01"
    store = Store(CHOSEN_PATHS)
    store.apply({low: b"L"})
    store.apply({high: b"H"})
    for key, value in ((low, b"L"), (high, b"H")):
        proof = store.prove(key)
        assert len(proof.siblings) == DEPTH_MAX
        verify_proof(store.root, key, value, StateProof.decode(proof.encode()), CHOSEN_PATHS)
    together = Store(CHOSEN_PATHS)
    together.apply({high: b"H", low: b"L"})
    assert together.buckets == store.buckets
    store.apply({low: None})
    assert store.root == leaf_by_hand(high, b"H")


# --- Costs ---


class HashLog:
    """SHA-256 that remembers what it hashed."""

    def __init__(self) -> None:
        self.inputs: list[bytes] = []

    def __call__(self, data: bytes = b"", /) -> Hasher:
        self.inputs.append(data)
        return hashlib.sha256(data)

    def count(self, tag: bytes) -> int:
        return sum(data.startswith(tagged(tag, b"")) for data in self.inputs)


def test_a_batch_reads_and_hashes_each_node_once() -> None:
    hashing = HashLog()
    store = Store(dataclasses.replace(SUITE, new_hash=hashing))
    store.apply({f"old {at}".encode(): f"{at}".encode() for at in range(4000)})
    changes = {f"new {at}".encode(): f"new {at}".encode() for at in range(500)}
    hashing.inputs.clear()
    store.reads.clear()
    done = store.apply(changes)

    assert max(Counter(hashing.inputs).values()) == 1
    assert max(store.reads.values()) == 1
    # Of neighbours only where a bucket is divided.
    assert 500 <= hashing.count(STATE_KEY) <= 500 * 2.5
    # 500 keys spread over 2**9 subtrees: about 9 shared levels, then log2(4500 / 500) of their own.
    # A bucket has about as many nodes as keys.
    assert hashing.count(STATE_NODE) <= 500 * 10
    assert hashing.count(STATE_LEAF) == 500
    assert len(done.buckets) <= 500 * 1.3


def test_what_a_usual_block_costs() -> None:
    """140 new keys among 30,000: the counts that the time per transaction follows from."""
    hashing = HashLog()
    store = Store(dataclasses.replace(SUITE, new_hash=hashing))
    store.apply({b"old %d" % number: b"value" for number in range(30_000)})
    hashing.inputs.clear()
    store.reads.clear()
    done = store.apply({b"new %d" % number: b"value" for number in range(140)})
    stored = [bucket.stored for bucket in done.buckets.values() if bucket]
    assert len(done.buckets) <= 1.4 * 140
    assert sum(map(len, stored)) <= 450 * 140
    assert store.reads.total() <= 140
    assert hashing.count(STATE_NODE) <= 15 * 140
    assert len(hashing.inputs) <= 20 * 140


def test_a_single_change_costs_one_path_and_one_bucket() -> None:
    hashing = HashLog()
    store = Store(dataclasses.replace(SUITE, new_hash=hashing))
    store.apply({f"{at}".encode(): b"v" for at in range(4096)})
    depth = len(store.prove(b"77").siblings)
    hashing.inputs.clear()
    store.reads.clear()
    done = store.apply({b"77": b"changed"})
    (bucket,) = done.buckets.values()
    assert bucket is not None
    assert bucket.depth < depth
    assert bucket.depth < hashing.count(STATE_NODE) <= bucket.depth + 2 * BUCKET_KEYS_MAX
    assert len(hashing.inputs) == hashing.count(STATE_NODE) + 3  # key path, value, leaf
    assert store.reads.total() == 1


def test_the_order_of_changes_does_not_show() -> None:
    changes = {f"{at}".encode(): f"{at}".encode() for at in range(100)}
    store, reverse = Store(), Store()
    done = store.apply(changes)
    again = reverse.apply(dict(reversed(changes.items())))
    assert list(done.buckets) == list(again.buckets)
    drop = dict.fromkeys(list(changes)[::3])
    assert store.apply(drop) == reverse.apply(dict(reversed(drop.items())))


# --- A store that fails ---

MANY = {b"%d" % at: b"value" for at in range(100)}


def test_a_missing_bucket_is_a_storage_error() -> None:
    store = Store()
    store.apply(MANY)
    for place in list(store.buckets):
        bucket = store.buckets.pop(place)
        refused_by_both(store, bucket.keys[0], f"state bucket {place.hex()}: missing")
        store.buckets[place] = bucket


def test_a_bucket_of_another_tree_is_a_storage_error() -> None:
    """Only the bucket that the tree names is ever read into a result."""
    store, other = Store(), Store()
    store.apply(MANY)
    other.apply(dict.fromkeys(MANY, b"other"))
    assert store.buckets.keys() == other.buckets.keys()
    for place, right in list(store.buckets.items()):
        store.buckets[place] = other.buckets[place]
        refused_by_both(store, right.keys[0], f"state bucket {place.hex()}: expected")
        store.buckets[place] = right


def test_what_the_reader_raises_passes() -> None:
    def read(place: bytes) -> Bucket | None:
        raise StorageError(f"no disk for {place!r}")

    with pytest.raises(StorageError, match="no disk for"):
        prove(b"r" * 32, b"key", read, SUITE)
    with pytest.raises(StorageError, match="no disk for"):
        update(b"r" * 32, {b"key": b"value"}, read, SUITE)


def test_buckets_that_overlap_make_no_tree() -> None:
    for places in (
        (b"\x00\x01", b"\x00\x02"),
        (b"\x00", b"\x80\x01"),
        (b"\x00\x01", b"\x00\x01"),
    ):
        with pytest.raises(StorageError, match="overlaps"):
            tree_of_buckets([(place, bytes(32)) for place in places], SUITE)


def refused_by_both(store: Store, key: bytes, message: str) -> None:
    with pytest.raises(StorageError, match=message) as caught:
        store.prove(key)
    assert caught.value.code == "GC-3003"
    with pytest.raises(StorageError, match=message):
        store.apply({key: None})
    with pytest.raises(StorageError, match=message):
        StateMap(store.tree, store.read, store.suite).get(key)
    with pytest.raises(StorageError, match=message):
        StateMap(store.tree, store.read, store.suite).foresee([key])


@pytest.mark.parametrize("count", [0, 1, 8, 9, 300])
def test_what_is_foreseen_is_what_would_be_found_and_reads_each_bucket_once(count: int) -> None:
    store = Store()
    held = {b"key %d" % at: b"%d" % at for at in range(count)}
    store.apply(dict(held))
    asked = [b"key %d" % at for at in range(0, count + 40, 2)]
    store.reads.clear()
    foreseeing = StateMap(store.tree, store.read, store.suite)
    foreseeing.foresee(asked)
    assert set(store.reads.values()) <= {1}
    read = dict(store.reads)
    assert [foreseeing.get(key) for key in asked] == [held.get(key) for key in asked]
    assert store.reads == read
    alone = StateMap(store.tree, store.read, store.suite)
    assert [alone.get(key) for key in asked] == [held.get(key) for key in asked]


def test_what_is_foreseen_ends_where_paths_part_late() -> None:
    """Keys that share hundreds of bits, at both sides of every fork on their way."""
    store = Store(CHOSEN_PATHS)
    keys = [(1 << at).to_bytes(32, "big") for at in range(256)]
    store.apply({key: key[:4] for key in keys[::2]})
    state = StateMap(store.tree, store.read, store.suite)
    state.foresee(keys)
    assert [state.get(key) for key in keys[::2]] == [key[:4] for key in keys[::2]]
    assert not any(state.get(key) for key in keys[1::2])


# --- Proofs, and each refusal by its rule ---

A, B, C = path_of(0), path_of(1, 0, 0), path_of(1, 0, 1)
ABSENT_AT_EMPTY, ABSENT_AT_LEAF = path_of(1, 1), path_of(0, 1)


@pytest.fixture
def store() -> Store:
    store = Store(CHOSEN_PATHS)
    store.apply({A: b"A", B: b"B", C: b"C"})
    return store


def refused(store: Store, rule: str, key: bytes, value: bytes | None, proof: StateProof) -> None:
    with pytest.raises(ProofError) as caught:
        verify_proof(store.root, key, value, proof, store.suite)
    assert caught.value.rule == rule


def test_the_three_kinds_of_proof(store: Store) -> None:
    presence, at_empty, at_leaf = map(store.prove, (B, ABSENT_AT_EMPTY, ABSENT_AT_LEAF))
    assert [len(proof.siblings) for proof in (presence, at_empty, at_leaf)] == [3, 2, 1]
    assert presence.other_leaf is None
    assert at_empty.other_leaf is None
    assert at_leaf.other_leaf == StateLeaf(A, hash_by_hand(b"A"))
    verify_proof(store.root, B, b"B", presence, store.suite)
    verify_proof(store.root, ABSENT_AT_EMPTY, None, at_empty, store.suite)
    verify_proof(store.root, ABSENT_AT_LEAF, None, at_leaf, store.suite)
    verify_proof(EMPTY, B, None, Store().prove(B), store.suite)


def test_a_proof_shows_nothing_else(store: Store) -> None:
    presence, at_empty, at_leaf = map(store.prove, (B, ABSENT_AT_EMPTY, ABSENT_AT_LEAF))
    refused(store, "state-root", B, b"b", presence)
    refused(store, "state-root", B, None, presence)
    refused(store, "state-root", C, b"C", presence)
    refused(store, "state-root", ABSENT_AT_EMPTY, b"", at_empty)
    refused(store, "state-root", B, None, at_empty)
    refused(store, "state-other-leaf", ABSENT_AT_LEAF, b"A", at_leaf)
    refused(Store(CHOSEN_PATHS), "state-root", B, b"B", presence)
    for at in range(32):
        wrong_root = store.root[:at] + bytes([store.root[at] ^ 1]) + store.root[at + 1 :]
        with pytest.raises(ProofError, match="state-root"):
            verify_proof(wrong_root, B, b"B", presence, store.suite)


def test_refusals_by_rule(store: Store) -> None:
    presence, at_empty, at_leaf = map(store.prove, (B, ABSENT_AT_EMPTY, ABSENT_AT_LEAF))
    deep = StateProof((b"s" * 32,) * 257, None)
    refused(store, "state-depth", B, b"B", deep)
    for siblings in ((b"s" * 31,), (b"s" * 33, b"s" * 31), (b"",)):
        refused(store, "state-digest-size", B, b"B", StateProof(siblings, None))
    refused(store, "state-digest-size", ABSENT_AT_LEAF, None, with_other(at_leaf, A, b""))
    refused(store, "state-digest-size", ABSENT_AT_LEAF, None, with_other(at_leaf, A[1:], b"v" * 33))
    padded = StateProof((*presence.siblings, EMPTY), None)
    refused(store, "state-superfluous", B, b"B", padded)
    refused(store, "state-superfluous", ABSENT_AT_EMPTY, None, StateProof((EMPTY,), None))
    refused(store, "state-other-leaf", A, None, with_other(at_leaf, A, hash_by_hand(b"A")))
    refused(
        store, "state-other-leaf", ABSENT_AT_EMPTY, None, with_other(at_leaf, A, hash_by_hand(b"A"))
    )
    refused(store, "state-root", ABSENT_AT_EMPTY, None, StateProof(at_empty.siblings[::-1], None))


def with_other(proof: StateProof, path: bytes, digest: bytes) -> StateProof:
    return StateProof(proof.siblings, StateLeaf(path, digest))


def test_no_piece_of_the_tree_proves_a_present_key_absent(store: Store) -> None:
    siblings = store.prove(B).siblings
    leaves = [
        StateLeaf(path, hash_by_hand(value)) for path, value in ((A, b"A"), (B, b"B"), (C, b"C"))
    ]
    for shown in range(len(siblings) + 1):
        for other in (None, *leaves):
            with pytest.raises(ProofError):
                verify_proof(store.root, B, None, StateProof(siblings[:shown], other), store.suite)


@pytest.mark.parametrize("key", [B, ABSENT_AT_LEAF], ids=["presence", "absence"])
def test_no_byte_of_a_proof_can_be_anything_else(store: Store, key: bytes) -> None:
    value = {B: b"B"}.get(key)
    encoded = bytearray(store.prove(key).encode())
    verify_proof(store.root, key, value, StateProof.decode(bytes(encoded)), store.suite)
    for at in range(len(encoded)):
        for mask in range(1, 256):
            encoded[at] ^= mask
            with pytest.raises((DecodeError, ProofError)):
                verify_proof(store.root, key, value, StateProof.decode(bytes(encoded)), store.suite)
            encoded[at] ^= mask


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[b"s" * 31], None], "sibling: expected 32 bytes, got 31 bytes"),
        ([[b"s" * 32] * 257, None], "at most 256 items"),
        ([[], None, 0], "array of 2 items"),
        ([[], []], "other leaf: expected an array of 2 items"),
        ([[], [b"p" * 32, b"v"]], "value digest: expected 32 bytes"),
        ([[], [b"p", b"v" * 32]], "key path: expected 32 bytes"),
        ([[], False], "other leaf"),
        ([None, None], "siblings: expected an array"),
    ],
)
def test_a_malformed_proof_is_refused(value: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        StateProof.decode(encode(value))


# --- A subtree by itself ---


def test_a_subtree_with_a_key_less_more_or_another_value_has_another_hash() -> None:
    values = {f"key-{n}".encode(): b"value" for n in range(50)}
    store = Store()
    store.apply(values)
    right = build_subtree("", values, SUITE)
    assert (right.tree, right.buckets) == (store.tree, store.buckets)
    for key in values:
        less = {other: value for other, value in values.items() if other != key}
        for wrong in (less, values | {key: b"other"}, less | {key + b"-": b"value"}):
            assert build_subtree("", wrong, SUITE).root != right.root
    place = key_path(b"key-1", SUITE).hex()
    assert page_at(store.tree, place, store.read, SUITE) is None, "nothing is below a key"
    for at, key in ((place, b"key-1"), (place[:60], b"key-2")):
        with pytest.raises(ProofError, match="state-place"):
            build_subtree(at, {key: b"value"}, SUITE)
