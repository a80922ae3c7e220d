"""How the in-memory store dies: what a restart finds, and what it never finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import InvariantViolation, StorageError
from node.storage.kv import WriteBatch
from node.storage.memory import MemoryStore


def write(store: MemoryStore, changes: dict[bytes, bytes | None], *, sync: bool = False) -> None:
    batch = WriteBatch()
    for key, value in changes.items():
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    store.write(batch, sync=sync)


@pytest.mark.parametrize(
    ("keep", "survivors"),
    [
        (0, {b"a": b"0", b"b": b"0"}),
        (1, {b"a": b"1", b"b": b"0", b"c": b"1"}),
        (2, {b"b": b"0", b"c": b"1"}),
        (3, {b"a": b"3", b"b": b"0", b"c": b"1"}),
        (99, {b"a": b"3", b"b": b"0", b"c": b"1"}),
    ],
)
def test_a_crash_keeps_a_prefix_of_the_unsynced_batches(
    keep: int, survivors: dict[bytes, bytes]
) -> None:
    store = MemoryStore()
    write(store, {b"a": b"0", b"b": b"0"}, sync=True)
    write(store, {b"a": b"1", b"c": b"1"})
    write(store, {b"a": None})
    write(store, {b"a": b"3"})
    assert store.unsynced_batches == 3
    assert dict(store.crash(keep=keep).scan(b"")) == survivors


def test_a_synced_batch_makes_every_earlier_one_durable() -> None:
    store = MemoryStore()
    write(store, {b"a": b"1"})
    write(store, {b"b": b"2"}, sync=True)
    assert store.unsynced_batches == 0
    assert dict(store.crash(keep=0).scan(b"")) == {b"a": b"1", b"b": b"2"}


def test_the_crashed_store_is_dead_and_the_restarted_one_is_durable() -> None:
    store = MemoryStore()
    write(store, {b"a": b"1"})
    restarted = store.crash(keep=1)
    with pytest.raises(StorageError, match="closed"):
        store.get(b"a")
    assert restarted.unsynced_batches == 0
    write(restarted, {b"a": b"2"})
    assert restarted.crash(keep=0).get(b"a") == b"1"


def test_a_negative_number_of_batches_to_keep_is_a_bug_of_the_caller() -> None:
    with pytest.raises(InvariantViolation):
        MemoryStore().crash(keep=-1)


changes = st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.binary(max_size=1))


@given(
    written=st.lists(st.tuples(changes, st.booleans()), max_size=8),
    keep=st.integers(0, 8),
)
def test_a_crash_equals_never_having_written_the_lost_batches(
    written: list[tuple[dict[bytes, bytes | None], bool]], keep: int
) -> None:
    store = MemoryStore()
    for pending, sync in written:
        write(store, pending, sync=sync)
    surviving = len(written) - store.unsynced_batches + min(keep, store.unsynced_batches)
    untouched = MemoryStore()
    for pending, _ in written[:surviving]:
        write(untouched, pending)
    assert list(store.crash(keep=keep).scan(b"")) == list(untouched.scan(b""))
