"""Updates by columns against the same made key by key: equal trees, equal buckets, to the byte.

That those made key by key are right is shown in test_state_tree_properties.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain import state_bucket, state_columns, state_kernels, state_update
from node.chain.state_bucket import Bucket, paths_by
from node.chain.state_columns import Descent, apply_by_columns
from node.chain.state_tree import EMPTY_TREE, StateTree, update
from node.chain.state_update import Batch
from node.crypto.domains import STATE_KEY, tagged
from node.crypto.suite import INTERNATIONAL, NATIONAL, Suite

Content = dict[bytes, Bucket | None]


class LeadingKey:
    """SHA-256, except that a key path begins as its key does: so marks are often alike."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def update(self, data: bytes, /) -> None:
        self._data += data

    def digest(self) -> bytes:
        prefix = tagged(STATE_KEY, b"")
        hashed = hashlib.sha256(self._data).digest()
        if not self._data.startswith(prefix):
            return hashed
        return (self._data.removeprefix(prefix)[:6] + hashed)[:32]


CHOSEN = dataclasses.replace(INTERNATIONAL, new_hash=LeadingKey)

some_keys = st.one_of(
    st.integers(0, 60).map(lambda number: b"key %d" % number),
    st.integers(0, 60).map(lambda number: b"key " + b"%d" % number * 90),
    st.binary(max_size=2),
)
leading_keys = st.builds(
    lambda head, middle, tail: head + middle + tail,
    st.sampled_from([b"\x00\x00", b"\x00\x01", b"\x01\x00", b"\x80\x00", b"\xff\xff"]),
    st.sampled_from([b"\x00\x00", b"\x00\x01", b"\x01\x00", b"\xff\xff"]),
    st.sampled_from([b"\x00\x00", b"\x00\x01", b"\x01\x00", b"\xff\xff", b"\xff\xff--", b""]),
)
values = st.one_of(st.binary(max_size=3), st.integers(250, 260).map(bytes))
updates = st.one_of(
    st.tuples(
        st.sampled_from([INTERNATIONAL, NATIONAL]),
        st.lists(st.dictionaries(some_keys, values, max_size=40), max_size=6),
        st.sets(some_keys, max_size=20),
    ),
    st.tuples(
        st.just(CHOSEN),
        st.lists(st.dictionaries(leading_keys, values, max_size=40), max_size=6),
        st.sets(leading_keys, max_size=20),
    ),
)
Updates = tuple[Suite, list[dict[bytes, bytes]], set[bytes]]


@pytest.fixture(autouse=True, scope="module", params=[2, 8, 16])
def bucket_keys_max(request: pytest.FixtureRequest) -> Iterator[None]:
    """Buckets of so few keys that small trees have many, as they are, and of more."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (state_bucket, state_update, state_columns):
            patch.setattr(module, "BUCKET_KEYS_MAX", request.param)
        kernels = {suite.new_hash: state_kernels for suite in (INTERNATIONAL, NATIONAL, CHOSEN)}
        patch.setattr(state_columns, "_prepared", kernels)
        yield


def both(
    tree: StateTree, buckets: Content, changes: Mapping[bytes, bytes], suite: Suite
) -> StateTree:
    """Change a tree both ways, expect the same, and put its buckets beside those there are."""
    columns, each = (Batch(changes, buckets.get, suite, paths_by(suite)) for _ in range(2))
    by_columns = apply_by_columns(columns, Descent(tree, columns.paths))
    by_key = each.apply(tree, 0, 0, 0, len(changes))
    assert by_columns == by_key
    assert columns.buckets == each.buckets
    assert (by_columns is tree) == (by_key is tree)
    buckets |= each.buckets
    return by_key


@given(updates)
def test_columns_make_the_same_tree_and_the_same_buckets(world: Updates) -> None:
    suite, batches, removed = world
    tree: StateTree = EMPTY_TREE
    buckets: Content = {}
    for changes in batches:
        if changes:
            tree = both(tree, buckets, changes, suite)
    done = update(tree, dict.fromkeys(removed), buckets.get, suite)  # which is done key by key
    tree, buckets = done.tree, buckets | done.buckets
    for changes in batches:
        if changes:
            tree = both(tree, buckets, changes, suite)


@pytest.mark.parametrize("suite", [INTERNATIONAL, NATIONAL], ids=["international", "national"])
def test_thousands_of_keys_in_growing_trees(suite: Suite) -> None:
    tree: StateTree = EMPTY_TREE
    buckets: Content = {}
    for first in range(0, 4_000, 500):
        changes = {b"reference %d" % at: b"of %d" % first for at in range(first, first + 500)}
        changes |= {b"reference %d" % at: b"moved" * 60 for at in range(0, first, 37)}
        tree = both(tree, buckets, changes, suite)
    assert sum(bucket.count for bucket in buckets.values() if bucket) == 4_000


@given(st.data())
def test_what_cannot_be_a_bucket_is_left_to_those_who_refuse_it(data: st.DataObject) -> None:
    """Whatever its checksum says: compiled code follows no length that leads out of it."""
    keys = [b"key %d" % at for at in range(6)]
    paths, leaf_hashes = [at << 250 for at in range(6)], [bytes((at,)) * 32 for at in range(6)]
    bucket = Bucket.of(0, (paths, leaf_hashes, keys, [b"value"] * 6), INTERNATIONAL)
    stored = bytearray(bucket.stored)
    for _ in range(data.draw(st.integers(1, 3))):
        stored[data.draw(st.integers(36, 60))] = data.draw(st.integers(0, 255))
    stored = stored[: data.draw(st.integers(0, len(stored)))]
    changed = state_kernels.change_buckets(
        [bytes(stored)],
        [0],
        [1],
        state_kernels.Changes(
            paths=bytes(32), keys=[b"key 0"], values=[b"new"], leaf_hashes=bytes(32)
        ),
        8,
    )
    count, width = (stored[36], stored[37]) if len(stored) > 37 else (0, 0)
    head = 38 + 36 * count
    sizes_end = head + (2 * count + 1) * width
    sizes = bytes(stored[head:sizes_end])
    total = sum(
        int.from_bytes(sizes[at : at + width], "big") for at in range(0, len(sizes), width or 1)
    )
    is_whole = 0 < count <= 31 and width in {1, 2, 4} and sizes_end + total == len(stored)
    if stored and not is_whole:
        assert changed.statuses == [state_kernels.BY_HAND]
        assert changed.depths == []
