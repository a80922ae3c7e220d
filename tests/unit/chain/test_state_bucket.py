"""Buckets of state: their stored form by hand, and each damaged one refused.

That the buckets of a tree are the right ones is shown in tests/property/chain.
"""

from __future__ import annotations

import zlib

import pytest

from node.chain.merkle import DIGEST_BYTES
from node.chain.state_bucket import Bucket, joined_rows, leaf_hash, paths_by, place_of
from node.crypto.domains import STATE_KEY, STATE_LEAF, STATE_NODE, tagged
from node.errors import StorageError
from tests.suites import SUITE, hash_by_hand

path_of = paths_by(SUITE)


def bucket_of(values: dict[bytes, bytes], depth: int = 0) -> Bucket:
    keys = sorted(values, key=path_of)
    leaves = [leaf_hash(path_of(key), values[key], SUITE) for key in keys]
    rows = list(map(path_of, keys)), leaves, keys, [values[key] for key in keys]
    return Bucket.of(depth, rows, SUITE)


def test_places_sort_as_what_is_below_them() -> None:
    path = int.from_bytes(bytes.fromhex("b7c0").ljust(32, b"\0"), "big")
    assert [place_of(path, depth).hex() for depth in (0, 1, 7, 8, 9)] == [
        "00",
        "8001",
        "b607",
        "b708",
        "b78009",
    ]
    apart = [place_of(at << 248, 8) for at in (0, 1, 2)] + [place_of(3 << 248 | 1 << 247, 9)]
    assert apart == sorted(apart)


def test_a_bucket_stored_by_hand() -> None:
    values = {b"key 0": b"one", b"key 1": b"two"}
    bucket = bucket_of(values)
    paths = {key: hash_by_hand(tagged(STATE_KEY, key)) for key in values}
    first, second = sorted(values, key=paths.__getitem__)
    assert paths[first][0] < 0x80 <= paths[second][0], "they part at the first bit"
    leaves = [
        hash_by_hand(tagged(STATE_LEAF, paths[key] + hash_by_hand(values[key])))
        for key in (first, second)
    ]
    subtree = hash_by_hand(tagged(STATE_NODE, leaves[0] + leaves[1]))
    assert bucket.hash == subtree
    rest = (
        subtree
        + bytes((2, 1))
        + paths[first][:4]
        + paths[second][:4]
        + b"".join(leaves)
        + bytes((4, 1, 1, 3, 3))
        + b"key "
        + first[4:]
        + second[4:]
        + values[first]
        + values[second]
    )
    stored = zlib.crc32(rest).to_bytes(4, "big") + rest
    assert bucket.stored == stored
    assert Bucket.decode(stored, b"\0") == bucket
    assert Bucket.read_head(stored, b"\0") == (subtree, 2, 1)


@pytest.mark.parametrize("size", [0, 255, 256, 65_535, 65_536])
def test_values_of_any_size_come_back(size: int) -> None:
    bucket = bucket_of({b"": b"", b"key": bytes(size), b"key 2": b"2"}, depth=7)
    assert Bucket.decode(bucket.stored, b"\0\x07") == bucket
    assert (bucket.get(path_of(b"key"), b"key"), bucket.get(path_of(b""), b"")) == (
        bytes(size),
        b"",
    )
    assert bucket.get(path_of(b"absent"), b"absent") is None


def test_any_damage_is_refused() -> None:
    stored = bucket_of({b"key 1": b"one", b"key 2": b"two"}).stored
    damaged = [
        stored[:at] + bytes((stored[at] ^ 1,)) + stored[at + 1 :] for at in range(len(stored))
    ]
    for each in (*damaged, b"", stored[:37], stored[:-1], stored + b"\0"):
        with pytest.raises(StorageError, match="state bucket 00: ") as caught:
            Bucket.decode(each, b"\0")
        assert caught.value.code == "GC-3003"


def test_keys_whose_marks_are_the_same_are_told_apart_by_their_paths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As whoever looks for such keys could make them: here all marks are made the same."""
    values = {b"key %d" % at: b"%d" % at for at in range(6)}
    right = {at: bucket_of(dict(list(values.items())[:at])) for at in range(1, 7)}
    monkeypatch.setattr("node.chain.state_bucket._MARK_MASK", 0)
    bucket = bucket_of({b"key 0": b"0"})
    for at in range(1, 6):
        bucket = bucket.with_change(path_of(b"key %d" % at), b"key %d" % at, b"", SUITE)
        bucket = bucket.with_change(
            path_of(b"key %d" % at), b"key %d" % at, b"%d" % at, SUITE
        ).hashed(SUITE)
        assert bucket.marks == bytes(4 * (at + 1))
        assert bucket.keys == right[at + 1].keys
        assert bucket.hash == right[at + 1].hash
    assert bucket.with_change(path_of(b"key 6"), b"key 6", None, SUITE) is bucket


def test_a_change_leaves_the_bucket_as_it_was() -> None:
    values = {b"key %d" % at: b"%d" % at for at in range(6)}
    before = bucket_of(values)
    new = before.with_change(path_of(b"key 3"), b"key 3", b"new", SUITE)
    assert new.hashed(SUITE) == bucket_of(values | {b"key 3": b"new"})
    assert before == bucket_of(values)
    assert before.with_change(path_of(b"key 3"), b"key 3", b"3", SUITE) is before
    assert before.with_change(path_of(b"absent"), b"absent", None, SUITE) is before
    assert len(before.hash) == DIGEST_BYTES


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 65_535, 65_536])
def test_changes_one_by_one_give_the_bucket_of_what_is_there_then(size: int) -> None:
    """Its very bytes: what is cut and put together is what would be made of the whole content."""
    keys = [b"k", b"key", b"key 1", b"key 10", b"other", b""]
    values = {b"k": b"1"}
    bucket = bucket_of(values)
    steps: list[tuple[bytes, bytes | None]]
    steps = [(key, b"x" * (size + at)) for at, key in enumerate(keys)]
    steps += [(b"key 1", b""), (b"", None), (b"other", None), (b"k", b"again"), (b"key 10", None)]
    for key, value in steps:
        bucket = bucket.with_change(path_of(key), key, value, SUITE)
        if value is None:
            del values[key]
        else:
            values[key] = value
        assert bucket.hashed(SUITE) == bucket_of(values)
        assert dict(bucket.items()) == values
        bucket = Bucket.decode(bucket.hashed(SUITE).stored, b"\0")
    for key in values:
        bucket = bucket.with_change(path_of(key), key, None, SUITE)
    assert bucket == Bucket.empty(0)


def test_rows_of_several_buckets_are_one_after_the_other() -> None:
    one, two = bucket_of({b"1": b"a"}), bucket_of({b"2": b"b"})
    paths, leaf_hashes, keys, values = joined_rows([one, two], path_of)
    assert (paths, keys) == ([path_of(b"1"), path_of(b"2")], [b"1", b"2"])
    both = [*one.split_leaf_hashes(), *two.split_leaf_hashes()]
    assert (leaf_hashes, values) == (both, [b"a", b"b"])
