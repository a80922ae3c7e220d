"""The contract of the key-value port, held against every store behind it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import StorageError
from node.storage.kv import KeyValueStore, WriteBatch, scan_bounds
from tests.unit.storage.engines import ENGINES, Engine

Change = tuple[bytes, bytes | None]


@pytest.fixture(params=ENGINES.values(), ids=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made: Engine = request.param(tmp_path)
    yield made
    made.store.close()


def batch(*changes: Change) -> WriteBatch:
    built = WriteBatch()
    for key, value in changes:
        if value is None:
            built.delete(key)
        else:
            built.put(key, value)
    return built


def test_a_batch_holds_one_change_per_key_and_the_later_wins() -> None:
    built = batch((b"a", b"1"), (b"b", b"2"), (b"a", None), (b"b", b"3"))
    assert dict(built.changes()) == {b"a": None, b"b": b"3"}
    assert len(built) == 2


@pytest.mark.parametrize(
    ("prefix", "start", "reverse", "bounds"),
    [
        (b"", b"", False, (b"", None)),
        (b"a", b"", False, (b"a", b"b")),
        (b"a\xff", b"", False, (b"a\xff", b"b")),
        (b"\xff\xff", b"", False, (b"\xff\xff", None)),
        (b"a", b"ab", False, (b"ab", b"b")),
        (b"b", b"a", False, (b"b", b"c")),
        (b"a", b"ab", True, (b"a", b"ab\x00")),
        (b"a", b"x", True, (b"a", b"b")),
        (b"\xff", b"\xffa", True, (b"\xff", b"\xffa\x00")),
    ],
)
def test_scan_bounds(
    prefix: bytes, start: bytes, *, reverse: bool, bounds: tuple[bytes, bytes | None]
) -> None:
    assert scan_bounds(prefix, start, reverse=reverse) == bounds


def test_an_absent_key_has_no_value(engine: Engine) -> None:
    assert engine.store.get(b"absent") is None


def test_a_written_batch_is_readable_and_a_deletion_removes(engine: Engine) -> None:
    engine.store.write(batch((b"a", b"1"), (b"b", b""), (b"", b"empty key")), sync=False)
    engine.store.write(batch((b"a", None), (b"never there", None)), sync=True)
    assert engine.store.get(b"a") is None
    assert engine.store.get(b"b") == b""
    assert list(engine.store.scan(b"")) == [(b"", b"empty key"), (b"b", b"")]


def test_an_empty_batch_changes_nothing(engine: Engine) -> None:
    engine.store.write(WriteBatch(), sync=True)
    assert list(engine.store.scan(b"")) == []


@pytest.fixture
def filled(engine: Engine) -> KeyValueStore:
    keys = [b"a", b"b", b"b\x00", b"ba", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff"]
    engine.store.write(batch(*((key, b"=" + key) for key in keys)), sync=True)
    return engine.store


@pytest.mark.parametrize(
    ("prefix", "arguments", "expected"),
    [
        (b"b", {}, [b"b", b"b\x00", b"ba", b"b\xff", b"b\xff\xff"]),
        (b"b", {"reverse": True}, [b"b\xff\xff", b"b\xff", b"ba", b"b\x00", b"b"]),
        (b"b", {"limit": 2}, [b"b", b"b\x00"]),
        (b"b", {"limit": 2, "reverse": True}, [b"b\xff\xff", b"b\xff"]),
        (b"b", {"limit": 0}, []),
        (b"b", {"limit": 0, "reverse": True}, []),
        (b"b", {"start": b"ba"}, [b"ba", b"b\xff", b"b\xff\xff"]),
        (b"b", {"start": b"b0"}, [b"ba", b"b\xff", b"b\xff\xff"]),
        (b"b", {"start": b"ba", "reverse": True}, [b"ba", b"b\x00", b"b"]),
        (b"b", {"start": b"bb", "reverse": True, "limit": 1}, [b"ba"]),
        (b"b", {"start": b"a"}, [b"b", b"b\x00", b"ba", b"b\xff", b"b\xff\xff"]),
        (b"b", {"start": b"x"}, []),
        (b"b", {"start": b"a", "reverse": True}, []),
        (b"a", {"reverse": True}, [b"a"]),
        (b"a", {"start": b"a", "reverse": True}, [b"a"]),
        (b"\xff", {}, [b"\xff", b"\xff\xff"]),
        (b"\xff", {"reverse": True}, [b"\xff\xff", b"\xff"]),
        (b"nothing", {}, []),
        (b"nothing", {"reverse": True}, []),
    ],
)
def test_a_scan_is_ordered_and_bounded(
    filled: KeyValueStore, prefix: bytes, arguments: dict[str, object], expected: list[bytes]
) -> None:
    pairs = list(filled.scan(prefix, **arguments))  # type: ignore[arg-type]
    assert pairs == [(key, b"=" + key) for key in expected]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_shows_the_store_as_it_was_when_called(engine: Engine, *, reverse: bool) -> None:
    engine.store.write(batch((b"a", b"old"), (b"c", b"old")), sync=False)
    before_reading = engine.store.scan(b"", reverse=reverse)
    engine.store.write(batch((b"a", b"new"), (b"b", b"new"), (b"c", None)), sync=False)
    assert sorted(before_reading) == [(b"a", b"old"), (b"c", b"old")]


def test_a_scan_survives_writes_between_its_steps(engine: Engine) -> None:
    engine.store.write(batch((b"a", b"1"), (b"b", b"2"), (b"c", b"3")), sync=False)
    pairs = engine.store.scan(b"")
    assert next(pairs) == (b"a", b"1")
    engine.store.write(batch((b"b", None), (b"bb", b"new")), sync=True)
    assert list(pairs) == [(b"b", b"2"), (b"c", b"3")]


def test_a_view_shows_the_store_as_it_was_until_it_is_closed(engine: Engine) -> None:
    store = engine.store
    store.write(batch((b"a", b"1"), (b"b", b"2")), sync=False)
    view = store.view()
    store.write(batch((b"a", b"other"), (b"b", None), (b"c", b"3")), sync=False)
    later = store.view()
    assert (view.get(b"a"), view.get(b"b"), view.get(b"c")) == (b"1", b"2", None)
    assert list(view.scan(b"")) == [(b"a", b"1"), (b"b", b"2")]
    assert list(view.scan(b"", reverse=True, limit=1)) == [(b"b", b"2")]
    assert list(later.scan(b"")) == list(store.scan(b"")) == [(b"a", b"other"), (b"c", b"3")]
    view.close()
    view.close()
    with pytest.raises(StorageError):
        view.get(b"a")
    assert later.get(b"c") == b"3"
    assert store.get(b"c") == b"3"


def test_a_view_ends_with_its_store(engine: Engine) -> None:
    view = engine.store.view()
    engine.store.close()
    with pytest.raises(StorageError):
        view.get(b"a")
    with pytest.raises(StorageError):
        list(view.scan(b""))
    view.close()
    with pytest.raises(StorageError):
        engine.store.view()


def test_what_was_written_is_there_after_reopening(engine: Engine) -> None:
    engine.store.write(batch((b"a", b"synced")), sync=True)
    engine.store.write(batch((b"b", b"not synced")), sync=False)
    engine.store = engine.reopen(engine.store)
    assert list(engine.store.scan(b"")) == [(b"a", b"synced"), (b"b", b"not synced")]
    engine.store.write(batch((b"a", b"again")), sync=True)
    assert engine.store.get(b"a") == b"again"


def test_a_closed_store_refuses_everything_and_closes_twice(engine: Engine) -> None:
    engine.store.write(batch((b"a", b"1"), (b"b", b"2")), sync=False)
    pairs = engine.store.scan(b"")
    assert next(pairs) == (b"a", b"1")
    engine.store.close()
    engine.store.close()
    refused: list[Callable[[], object]] = [
        lambda: engine.store.get(b"a"),
        lambda: engine.store.scan(b""),
        lambda: engine.store.write(batch((b"c", b"3")), sync=False),
        lambda: next(pairs),
    ]
    for call in refused:
        with pytest.raises(StorageError, match="closed"):
            call()


keys = st.lists(st.sampled_from([b"", b"\x00", b"a", b"b", b"\xff"]), max_size=3).map(b"".join)
changes = st.lists(st.tuples(keys, st.none() | st.binary(max_size=3)), max_size=8)


@settings(max_examples=60)
@given(
    written=st.lists(st.tuples(changes, st.booleans()), max_size=6),
    prefix=keys,
    start=keys,
    reverse=st.booleans(),
    limit=st.none() | st.integers(0, 4),
)
@pytest.mark.parametrize("make_engine", ENGINES.values(), ids=list(ENGINES))
def test_a_store_behaves_like_a_sorted_dict(
    make_engine: Callable[[Path], Engine],
    *,
    written: list[tuple[list[Change], bool]],
    prefix: bytes,
    start: bytes,
    reverse: bool,
    limit: int | None,
) -> None:
    model: dict[bytes, bytes] = {}
    with tempfile.TemporaryDirectory() as directory:
        engine = make_engine(Path(directory))
        for pending, sync in written:
            engine.store.write(batch(*pending), sync=sync)
            for key, value in pending:
                if value is None:
                    model.pop(key, None)
                else:
                    model[key] = value
        travelled = sorted(model.items(), reverse=reverse)
        expected = [
            (key, value)
            for key, value in travelled
            if key.startswith(prefix) and (not start or (key <= start if reverse else key >= start))
        ]
        for reopened in (False, True):
            if reopened:
                engine.store = engine.reopen(engine.store)
            found = engine.store.scan(prefix, start=start, reverse=reverse, limit=limit)
            assert list(found) == expected[:limit]
            assert all(engine.store.get(key) == value for key, value in model.items())
        engine.store.close()


def test_compaction_changes_nothing_that_is_read(engine: Engine) -> None:
    for round_number in range(3):
        changes = [(b"%03d" % each, b"%d" % round_number * 100) for each in range(200)]
        engine.store.write(batch(*changes), sync=True)
    engine.store.write(batch(*[(b"%03d" % each, None) for each in range(100)]), sync=True)
    before = list(engine.store.scan(b""))
    view = engine.store.view()
    for start, end in [(b"", b"05"), (b"05", b"05"), (b"05", b"\xff"), (b"z", b"a")]:
        engine.store.compact(start, end)
    assert list(view.scan(b"")) == list(engine.store.scan(b"")) == before
    view.close()
    engine.store = engine.reopen(engine.store)
    assert list(engine.store.scan(b"")) == before


def test_a_closed_store_compacts_nothing(engine: Engine) -> None:
    engine.store.close()
    with pytest.raises(StorageError):
        engine.store.compact(b"", b"\xff")
