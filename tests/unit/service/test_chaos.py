"""Faults on purpose: only the owner's file counts, only within bounds, and only until its time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.consensus.events import Now
from node.errors import ConfigError
from node.service.chaos import (
    CHAOS_FILE,
    CHAOS_MS_MAX,
    DELAY_MS_MAX,
    SKEW_MS_MAX,
    Chaos,
    DisturbedLinks,
    read_chaos,
)

NOW_MS = 1_000_000
NAMES = {0: "validator-1", 1: "validator-2", 3: "validator-4"}


def write(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / CHAOS_FILE
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_what_the_owner_asks_for_within_bounds_counts(tmp_path: Path) -> None:
    chaos = Chaos(until_ms=NOW_MS + 1, cut=("validator-2",), delay_ms=5, skew_ms=-7)
    path = write(tmp_path, chaos.encode())
    assert read_chaos(path, NOW_MS) == chaos
    assert read_chaos(path, NOW_MS + 1) is None, "its time is over"
    path.unlink()
    assert read_chaos(path, NOW_MS) is None


@pytest.mark.parametrize(
    "chaos",
    [
        Chaos(until_ms=NOW_MS + CHAOS_MS_MAX + 1),
        Chaos(until_ms=NOW_MS + 1, delay_ms=DELAY_MS_MAX + 1),
        Chaos(until_ms=NOW_MS + 1, delay_ms=-1),
        Chaos(until_ms=NOW_MS + 1, skew_ms=SKEW_MS_MAX + 1),
        Chaos(until_ms=NOW_MS + 1, skew_ms=-SKEW_MS_MAX - 1),
        Chaos(until_ms=NOW_MS + 1, version=2),
    ],
)
def test_what_is_out_of_bounds_does_not_count(tmp_path: Path, chaos: Chaos) -> None:
    with pytest.raises(ConfigError, match="out of bounds"):
        read_chaos(write(tmp_path, chaos.encode()), NOW_MS)


@pytest.mark.parametrize("mode", [0o640, 0o602, 0o644])
def test_a_file_that_others_may_use_does_not_count(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, Chaos(until_ms=NOW_MS + 1).encode(), mode)
    with pytest.raises(ConfigError, match="owner alone"):
        read_chaos(path, NOW_MS)


def test_a_link_a_folder_and_a_malformed_file_do_not_count(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_bytes(Chaos(until_ms=NOW_MS + 1).encode())
    target.chmod(0o600)
    link = tmp_path / CHAOS_FILE
    link.symlink_to(target)
    with pytest.raises(ConfigError):
        read_chaos(link, NOW_MS)
    link.unlink()
    link.mkdir(mode=0o700)
    with pytest.raises(ConfigError):
        read_chaos(link, NOW_MS)
    link.rmdir()
    for content in (b"", b"{}", b'{"until_ms": 1, "more": 1}', b"x" * 10_000):
        with pytest.raises(ConfigError):
            read_chaos(write(tmp_path, content), NOW_MS)


class Wire:
    """Links that write down what goes out, and a clock with timers that a test moves."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.sent: list[tuple[int | None, bytes]] = []
        self.timers: list[tuple[int, Callable[[], None]]] = []
        self.links = DisturbedLinks(
            self,
            name_of=NAMES.__getitem__,
            assigned=lambda: NAMES,
            now_ms=lambda: self.now_ms,
            call_later=lambda ms, run: self.timers.append((self.now_ms + ms, run)),
        )

    def send(self, peer: int, priority: int, message: bytes) -> None:
        assert priority == 2
        self.sent.append((peer, message))

    def broadcast(self, priority: int, message: bytes) -> None:
        assert priority == 2
        self.sent.append((None, message))

    def pass_time(self, ms: int) -> None:
        end_ms = self.now_ms + ms
        for due_ms, run in sorted(self.timers, key=lambda timer: timer[0]):
            if due_ms <= end_ms:
                self.now_ms = max(self.now_ms, due_ms)
                self.timers.remove((due_ms, run))
                run()
        self.now_ms = end_ms


def test_without_chaos_nothing_is_touched() -> None:
    wire = Wire()
    wire.links.send(1, 2, b"a")
    wire.links.broadcast(2, b"b")
    assert wire.sent == [(1, b"a"), (None, b"b")]
    assert wire.links.hears(1)
    assert wire.links.put_wrong(Now(1, 2)) == Now(1, 2)


def test_what_is_cut_is_neither_sent_nor_heard_until_its_time() -> None:
    wire = Wire()
    wire.links.disturb(Chaos(until_ms=NOW_MS + 100, cut=("validator-2",)))
    wire.links.send(1, 2, b"lost")
    wire.links.broadcast(2, b"b")
    assert wire.sent == [(0, b"b"), (3, b"b")]
    assert [wire.links.hears(peer) for peer in NAMES] == [True, False, True]
    wire.pass_time(100)
    assert wire.links.hears(1), "nobody had to end it"
    wire.links.send(1, 2, b"c")
    assert wire.sent[-1] == (1, b"c")


def test_what_is_delayed_comes_later_in_order_and_at_once_when_it_ends() -> None:
    wire = Wire()
    wire.links.disturb(Chaos(until_ms=NOW_MS + 1_000, delay_ms=50))
    wire.links.send(1, 2, b"a")
    wire.pass_time(30)
    wire.links.send(1, 2, b"b")
    assert wire.sent == []
    wire.pass_time(20)
    assert wire.sent == [(1, b"a")]
    wire.links.disturb(None)
    wire.links.send(1, 2, b"c")
    assert wire.sent == [(1, b"a")], "it does not overtake what is held"
    wire.pass_time(0)
    assert [message for _, message in wire.sent] == [b"a", b"b", b"c"]
    wire.pass_time(100)
    wire.links.broadcast(2, b"d")
    assert wire.sent[-1] == (None, b"d")


def test_a_clock_is_wrong_until_its_time() -> None:
    wire = Wire()
    wire.links.disturb(Chaos(until_ms=NOW_MS + 10, skew_ms=-500))
    assert wire.links.put_wrong(Now(1, 1_000)) == Now(1, 500)
    wire.pass_time(10)
    assert wire.links.put_wrong(Now(1, 1_000)) == Now(1, 1_000)


def test_it_says_what_it_does() -> None:
    chaos = Chaos(until_ms=NOW_MS + 10, cut=("a", "b"), delay_ms=3, skew_ms=-5)
    said = chaos.describe(NOW_MS)
    for part in ("cut from a, b", "delayed by 3 ms", "clock -5 ms", "10 ms left"):
        assert part in said
