"""Runs of an index: whatever is looked for in them is what a search of all rows would find."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from node.errors import StorageError
from node.storage import keys
from node.storage.kv import WriteBatch
from node.storage.memory import MemoryStore
from node.storage.runs import MANY_RECORDS, found_in_runs, runs_of

FAMILY = keys.DIGEST_RUN


def digest(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def store_of(batches: dict[int, list[bytes]]) -> MemoryStore:
    """Return a store with the runs of batches, by their first log indexes."""
    store, batch = MemoryStore(), WriteBatch()
    for first, digests in batches.items():
        batch.put_all(runs_of(FAMILY, enumerate(digests), len(digests), first))
    store.write(batch, sync=False)
    return store


def find(store: MemoryStore, wanted: bytes, first: int = 0, end: int = 1 << 39) -> list[int]:
    return list(found_in_runs(store.scan, FAMILY, wanted[: keys.FINGERPRINT_BYTES], first, end))


@pytest.fixture(scope="module")
def batches() -> dict[int, list[bytes]]:
    """Batches small and large, with a document that is in all of them, in some twice."""
    again = digest("again")
    small = [digest(at) for at in range(700)]
    large = [digest(-at) for at in range(MANY_RECORDS + 1)]
    return {
        5: [*small[:300], again, *small[300:], again],
        1_000: [again, *large[1:], again],
        9_000: [digest("other"), again],
    }


def test_every_record_is_found_where_it_stands(batches: dict[int, list[bytes]]) -> None:
    expected: dict[bytes, list[int]] = {}
    for first, digests in batches.items():
        for index, each in enumerate(digests, start=first):
            expected.setdefault(each, []).append(index)
    store = store_of(batches)
    assert {each: find(store, each) for each in expected} == expected
    assert find(store, digest("absent")) == []


def test_a_search_may_begin_and_end_in_the_middle_of_a_batch(
    batches: dict[int, list[bytes]],
) -> None:
    store, again = store_of(batches), digest("again")
    places = find(store, again)
    assert len(places) == 5
    for before, after in pairwise([0, *places, 1 << 39]):
        assert find(store, again, first=after) == [each for each in places if each >= after]
        assert find(store, again, end=after) == [each for each in places if each < after]
        assert find(store, again, before, after) == [each for each in places if each == before]


@pytest.mark.parametrize(
    "make",
    [
        lambda wanted: b"\x00" * 3 + wanted,  # begins within a row
        lambda wanted: wanted[1:] + b"\x00",  # all but its first byte
    ],
)
def test_what_merely_looks_alike_is_not_found(make: Callable[[bytes], bytes]) -> None:
    wanted = b"\x00\x00\x00\x01\x00"
    rows = [make(wanted)[: keys.FINGERPRINT_BYTES].ljust(32, b"\x00")] * 2
    store = store_of({0: rows})
    assert find(store, wanted) == ([0, 1] if rows[0].startswith(wanted) else [])


def test_a_run_takes_seven_bytes_for_a_record_and_has_neighbours(
    batches: dict[int, list[bytes]],
) -> None:
    stored = list(store_of({1_000: batches[1_000]}).scan(FAMILY))
    assert len(stored) == 256
    assert sum(len(value) for _, value in stored) == 7 * len(batches[1_000])
    assert len(list(store_of({5: batches[5]}).scan(FAMILY))) == 16


@pytest.mark.parametrize(("count", "parts"), [(MANY_RECORDS - 1, 16), (MANY_RECORDS, 256)])
def test_how_many_parts_there_are_follows_from_the_number_of_records(
    count: int, parts: int
) -> None:
    runs = list(runs_of(FAMILY, enumerate(map(digest, range(count))), count, 0))
    assert len(runs) == parts


def test_a_part_without_records_takes_no_run() -> None:
    alike = [b"\x70" + digest(at) for at in range(600)]
    ((_, rows),) = runs_of(FAMILY, enumerate(alike), len(alike), 0)
    assert len(rows) == 7 * len(alike)


def test_no_run_is_read_that_begins_at_the_end_of_a_search_or_beyond() -> None:
    wanted = digest("wanted")
    store = store_of({first: [wanted] * 2 for first in (0, 10, 20, 30)})
    read: list[bytes] = []

    def scan(
        prefix: bytes, *, start: bytes, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        for key, rows in store.scan(prefix, start=start, reverse=reverse, limit=limit):
            if not reverse:
                read.append(key)
            yield key, rows

    fingerprint = wanted[: keys.FINGERPRINT_BYTES]
    assert list(found_in_runs(scan, FAMILY, fingerprint, 0, 10)) == [0, 1]
    assert [keys.last_log_index(key) for key in read] == [0, 10], "the one at the end ends it"


def test_a_run_of_another_size_is_refused() -> None:
    store, batch = MemoryStore(), WriteBatch()
    wanted = digest("wanted")
    batch.put(keys.run(FAMILY, 8, wanted[0], 0), wanted[:8])
    store.write(batch, sync=False)
    with pytest.raises(StorageError) as caught:
        find(store, wanted)
    assert caught.value.code == "GC-3003"
