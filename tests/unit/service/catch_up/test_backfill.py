"""The past behind a snapshot: who is asked for what, and when, and how much a turn takes.

On the ledger of a node that fetched a state. What is false is in test_snapshot_sync.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from node.chain.genesis import Parameters
from node.consensus.events import Now
from node.execution.apply import Executor
from node.service.catch_up import backfill, filling
from node.service.catch_up.backfill import ASK_AGAIN_AFTER_MS, STEP_EVERY_MS, Backfill
from node.service.catch_up.block_sync import ANSWER_WITHIN_MS
from node.service.catch_up.lineage import Lineage
from node.service.output import Outlet
from node.service.wire import PastBlocks, WantPast, decode_message, encode_message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from node.storage.stored_block import StoredBlock, encode_header_value
from tests.unit.execution.small_chain import CREATED_MS, build_genesis, certify_header
from tests.unit.service.catch_up.catching import FETCHER, Catching, long_chain

GENESIS = build_genesis(parameters=Parameters(checkpoint_blocks=2))
HEIGHT = 40


@cache
def fetched() -> tuple[dict[bytes, bytes], PastBlocks]:
    """Return what a ledger holds that began with a snapshot, and all that it misses."""
    net = Catching(long_chain(HEIGHT, old=30, genesis=GENESIS), GENESIS)
    net.greet()
    with pytest.MonkeyPatch.context() as patch:  # so that few blocks of the past come with it
        patch.setattr(filling, "PAST_RANGE_BLOCKS", 2)
        patch.setattr(filling, "PAST_RANGES_AHEAD", 1)
        net.run(lambda: net.fetcher.engine.is_superseded)
    net.fetcher.start()
    missing = net.fetcher.ledger.missing
    wanted = WantPast(missing.start, len(missing))
    net.nodes[0].engine.drain()
    net.nodes[0].engine.receive(FETCHER, [encode_message(wanted)], net.now())
    (given,) = [each for each in net.outgoing(0) if isinstance(each, PastBlocks)]
    assert len(given.blocks) == len(missing) > 10
    return dict(net.fetcher.store.scan(b"")), given


class Fetching:
    """The part alone, the time, and peers that are at the heights they are said to be at."""

    def __init__(self, **heights: int) -> None:
        held, self.past = fetched()
        store = MemoryStore()
        for key, value in held.items():
            store._set(key, value)  # noqa: SLF001 - one store as another
        executor = Executor(GENESIS)
        self.ledger = LedgerStore.open(store, GENESIS.suite, executor.genesis_block())
        self.outlet = Outlet(view=lambda: 0)
        self.part = Backfill(
            suite=GENESIS.suite,
            ledger=self.ledger,
            lineage=Lineage(GENESIS, self.ledger),
            outlet=self.outlet,
        )
        self.missing = self.ledger.missing
        self.heights = {int(peer[1:]): height for peer, height in heights.items()}
        self.now_ms = 100_000
        self.rules: list[str] = []
        """Of all that was told."""
        self.told: list[str] = []
        """Who is blamed, and by which rule."""

    @property
    def now(self) -> Now:
        return Now(self.now_ms, CREATED_MS)

    def chase(self, after_ms: int = 0) -> list[tuple[int | None, object]]:
        """Go on after a while; return who was asked for what."""
        self.now_ms += after_ms
        self.part.chase(self.now, self.heights)
        size = GENESIS.suite.signature_size
        output = self.outlet.drain()
        self.rules += [trace.rule for trace in output.traces]
        self.told += [": ".join(trace.detail.split(": ")[:2]) for trace in output.traces]
        return [(each.to, decode_message(each.data, size)) for each in output.messages]

    def give(self, peer: int, count: int) -> None:
        blocks = self.past.blocks[:count]
        self.part.take(peer, PastBlocks(self.past.from_height, blocks), self.now)

    def is_whole(self) -> bool:
        return self.ledger.is_whole

    def all_of_it(self) -> WantPast:
        return WantPast(self.missing.start, len(self.missing))


def test_one_peer_at_a_time_is_asked_for_what_is_missing_next() -> None:
    both = Fetching(p0=HEIGHT, p1=HEIGHT)
    assert both.chase() == [(0, both.all_of_it())]
    assert both.chase(1) == []


def test_no_more_is_asked_for_than_a_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "RANGE_BLOCKS", 3)
    one = Fetching(p0=HEIGHT)
    assert one.chase() == [(0, WantPast(one.missing.start, 3))]


@pytest.mark.parametrize(("short", "is_asked"), [(0, True), (1, False)])
def test_who_is_not_beyond_what_is_missing_is_not_asked(short: int, *, is_asked: bool) -> None:
    stop = Fetching().missing.stop
    assert bool(Fetching(p0=stop - short).chase()) is is_asked


def test_who_has_nothing_is_left_alone_for_a_while() -> None:
    one = Fetching(p0=HEIGHT)
    assert one.chase() != []
    one.give(0, 0)
    assert one.chase(ASK_AGAIN_AFTER_MS - 1) == []
    assert one.chase(1) == [(0, one.all_of_it())]


def test_who_does_not_answer_is_passed_over() -> None:
    two = Fetching(p0=HEIGHT, p1=HEIGHT)
    assert two.chase() == [(0, two.all_of_it())]
    assert two.chase(ANSWER_WITHIN_MS - 1) == []
    assert two.chase(1) == [(1, two.all_of_it())]


def test_a_turn_takes_few_blocks_and_the_next_comes_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backfill, "STEP_BYTES_AIM", 1)
    one = Fetching(p0=HEIGHT)
    assert one.chase() != []
    one.give(0, 3)
    first = one.missing.start
    assert one.part.due_ms() == [one.now_ms + STEP_EVERY_MS]
    assert one.chase(STEP_EVERY_MS - 1) == []
    assert one.ledger.missing.start == first
    for taken in (1, 2):
        assert one.chase(1 if taken == 1 else STEP_EVERY_MS) == [], "some of it waits"
        assert one.ledger.missing.start == first + taken
    rest = WantPast(first + 3, len(one.missing) - 3)
    assert one.chase(STEP_EVERY_MS) == [(0, rest)]
    assert one.outlet.counters.past_blocks == 3


def test_blocks_are_as_many_as_fit_the_smallest_counted_as_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    longest = max(len(header) + len(body) for header, body in fetched()[1].blocks)
    monkeypatch.setattr(backfill, "BLOCK_BYTES_LEAST", longest)
    for aim, taken in ((2 * longest, 2), (2 * longest + 1, 3)):
        monkeypatch.setattr(backfill, "STEP_BYTES_AIM", aim)
        one = Fetching(p0=HEIGHT)
        one.chase()
        one.give(0, 5)
        one.chase(STEP_EVERY_MS)
        assert one.ledger.missing.start == one.missing.start + taken


def test_once_all_blocks_are_here_none_is_asked_for_and_the_log_is_completed() -> None:
    one = Fetching(p0=HEIGHT)
    assert one.chase() != []
    assert one.part.due_ms() == [one.now_ms + ANSWER_WITHIN_MS]
    one.give(0, len(one.missing))
    while one.ledger.missing:
        assert one.chase(STEP_EVERY_MS) == []
    assert not one.is_whole()
    assert one.part.due_ms() == [one.now_ms + STEP_EVERY_MS]
    while not one.is_whole():
        assert one.chase(STEP_EVERY_MS) == []
    assert one.part.due_ms() == []
    assert one.rules == ["past-whole"]
    assert one.outlet.counters.messages_refused == 0


def test_no_more_is_taken_than_was_asked_for_and_not_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "RANGE_BLOCKS", 3)
    one = Fetching(p0=HEIGHT)
    one.chase()
    one.give(0, 5)
    one.give(0, 5)  # an answer to nothing any more
    one.chase(STEP_EVERY_MS)
    assert one.ledger.missing.start == one.missing.start + 3


def test_an_answer_is_known_by_where_it_begins() -> None:
    one = Fetching(p0=HEIGHT, p1=HEIGHT)
    start = one.missing.start
    assert not one.part.wants(0, PastBlocks(start, ()))
    one.chase()
    assert one.part.wants(0, PastBlocks(start, ()))
    assert not one.part.wants(0, PastBlocks(start + 1, ()))
    assert not one.part.wants(1, PastBlocks(start, ()))


def test_a_late_answer_is_of_no_use_and_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "RANGE_BLOCKS", 3)
    for steps in (0, 1):  # while what the other gave waits, and once it was taken
        two = Fetching(p0=HEIGHT, p1=HEIGHT)
        two.chase()
        two.chase(ANSWER_WITHIN_MS)
        two.give(1, 3)
        for _ in range(steps):
            two.chase(STEP_EVERY_MS)
        two.give(0, 3)
        two.chase(STEP_EVERY_MS)
        two.chase(STEP_EVERY_MS)
        assert two.ledger.missing.start == two.missing.start + 3
        assert two.outlet.counters.messages_refused == 0


def test_who_gives_a_false_block_is_left_alone_and_what_came_with_it_dropped() -> None:
    two = Fetching(p0=HEIGHT, p1=HEIGHT)
    two.chase()
    first, second, third = two.past.blocks[:3]
    two.part.take(0, PastBlocks(two.past.from_height, (first, third, second)), two.now)
    assert [peer for peer, _ in two.chase(STEP_EVERY_MS)] == [1]
    assert two.chase(ANSWER_WITHIN_MS) == [], "not who gave what is false, though the other waits"
    assert two.ledger.missing.start == two.missing.start + 1
    assert two.outlet.counters.messages_refused == 1


# --- What a quorum signed falsely: of such blocks the ledger's own chain tells ---


def signed_anew(values: tuple[bytes, bytes], **changes: object) -> tuple[bytes, bytes]:
    """Return a block whose header a quorum signed otherwise."""
    header = replace(StoredBlock(*values, GENESIS.suite).header, **changes)  # type: ignore[arg-type]
    return encode_header_value(header, certify_header(header, GENESIS)), values[1]


@pytest.mark.parametrize(
    ("index", "changes", "taken", "rule"),
    [
        (1, {"parent": bytes(32)}, 1, "past-parent"),
        (-1, {"state_root": bytes(32)}, -1, "past-child"),
        (0, {"log_roots": (bytes(32),)}, 0, "past-log"),
    ],
)
def test_a_block_that_a_quorum_signed_falsely_does_not_fit_those_around_it(
    index: int, changes: dict[str, object], taken: int, rule: str
) -> None:
    """It is taken for what it is, and so is who gave it; what came before it is kept."""
    two = Fetching(p0=HEIGHT, p1=HEIGHT)
    two.chase()
    blocks = list(two.past.blocks)[: index % len(two.past.blocks) + 1]
    blocks[index] = signed_anew(blocks[index], **changes)
    two.part.take(0, PastBlocks(two.past.from_height, tuple(blocks)), two.now)
    asked: list[tuple[int | None, object]] = []
    while not asked:
        asked = two.chase(STEP_EVERY_MS)
    assert two.missing[taken] == two.ledger.missing.start
    assert two.told == [f"from 0: {rule}"]
    assert asked == [(1, WantPast(two.ledger.missing.start, len(two.ledger.missing)))]
    assert two.chase(ANSWER_WITHIN_MS) == [], "not who gave what is false, though the other waits"
    assert two.outlet.counters.messages_refused == 1
