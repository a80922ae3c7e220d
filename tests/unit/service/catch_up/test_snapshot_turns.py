"""The part that fetches a state, alone: what a turn asks of whom, and when the next one is due.

Answers are those of a real ledger, each given or kept back as a test has it. What is false, and how
it all plays together, is in test_snapshot_sync.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache

import pytest

from node.chain.block import CertifiedHeader
from node.chain.genesis import Parameters
from node.consensus.events import Now
from node.errors import PeerError
from node.execution.apply import Executor
from node.service.catch_up import filling, snapshot_serving, snapshot_sync
from node.service.catch_up.block_sync import ANSWER_WITHIN_MS, ASK_AGAIN_AFTER_MS
from node.service.catch_up.lineage import Lineage
from node.service.catch_up.snapshot_serving import SnapshotDesk
from node.service.catch_up.snapshot_sync import (
    LOOK_AGAIN_MS,
    REST_MS,
    STALLED_MS,
    SnapshotProgress,
    SnapshotSync,
)
from node.service.output import Outlet
from node.service.wire import (
    Message,
    PastBlocks,
    Snapshots,
    StatePart,
    StateParts,
    WantPast,
    WantSnapshots,
    WantState,
    decode_message,
)
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.execution.small_chain import CREATED_MS, build_genesis
from tests.unit.service.catch_up.catching import GAP, MemoryDrafts, long_chain

GENESIS = build_genesis(parameters=Parameters(checkpoint_blocks=2))
LOW, HEIGHT = 55, 60
"""Of the two states that are held."""
LOOK = WantSnapshots(0)

Asked = list[tuple[int | None, Message]]


CHAIN = long_chain(HEIGHT, old=30, genesis=GENESIS)


@cache
def held() -> LedgerStore:
    """Return the ledger that every peer answers from."""
    ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, Executor(GENESIS).genesis_block())
    for begin, end in ((0, LOW), (LOW, HEIGHT)):
        ledger.commit(CHAIN[begin:end], sync=False)
        ledger.hold()
    return ledger


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_serving, "SUBTREE_BYTES_MAX", 600)
    monkeypatch.setattr(filling, "PLACES_PER_REQUEST", 4)
    monkeypatch.setattr(filling, "PAST_RANGE_BLOCKS", 8)


class Fetching:
    """The part, the time, and peers 0 to 2, all at the same height unless a test says otherwise."""

    def __init__(
        self,
        drafts: MemoryDrafts | None = None,
        *,
        is_allowed: bool = True,
        lineage_type: type[Lineage] = Lineage,
    ) -> None:
        executor = Executor(GENESIS)
        genesis_block = executor.genesis_block()
        self.ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, genesis_block)
        self.outlet, self.drafts = Outlet(view=lambda: 0), drafts or MemoryDrafts()
        self.part = SnapshotSync(
            genesis=GENESIS,
            genesis_block=genesis_block,
            ledger=self.ledger,
            lineage=lineage_type(GENESIS, self.ledger),
            outlet=self.outlet,
        )
        if is_allowed:
            self.part.allow(self.drafts, GAP)
        self.heights = dict.fromkeys(range(3), HEIGHT)
        self.reach = HEIGHT
        self.now_ms = 100_000
        self.rules: list[str] = []
        """Of all that was told."""

    @property
    def now(self) -> Now:
        return Now(self.now_ms, CREATED_MS)

    def fetches(self) -> bool:
        return self.part.is_fetching

    def progress(self) -> SnapshotProgress | None:
        return self.part.progress

    def chase(self, after_ms: int = 0) -> Asked:
        """Take a turn after a while; return who was asked for what."""
        self.now_ms += after_ms
        self.part.chase(self.now, self.heights, self.reach)
        output = self.outlet.drain()
        self.rules += [trace.rule for trace in output.traces]
        size = GENESIS.suite.signature_size
        return [(each.to, decode_message(each.data, size)) for each in output.messages]

    def give(self, peer: int | None, message: Message) -> None:
        assert peer is not None
        match message:
            case Snapshots():
                self.part.take_held(peer, message, self.now)
            case StateParts():
                self.part.take_state(peer, message, self.now)
            case PastBlocks():
                self.part.take_past(peer, message, self.now)

    def answer(self, asked: Asked, change: Callable[[Message], Message] = lambda it: it) -> None:
        """Have everybody answer what they were asked, truly unless changed."""
        for peer, request in asked:
            self.give(peer, change(answer_to(request)))

    def begin(self, change: Callable[[Message], Message] = lambda it: it) -> Asked:
        """Look, choose, and return what is asked for first."""
        self.answer(self.chase(), change)
        return self.chase()

    def go_on(self, asked: Asked, until: Callable[[Asked], object]) -> Asked:
        """Have everybody answer until something is asked for."""
        for _ in range(100):
            if until(asked):
                return asked
            self.answer(asked)
            asked = self.chase(1)
        pytest.fail("it does not come to that")


def answer_to(request: Message) -> Message:
    outlet = Outlet(view=lambda: 0)
    desk = SnapshotDesk(suite=GENESIS.suite, ledger=held(), outlet=outlet)
    match request:
        case WantSnapshots():
            desk.give_snapshots(0, request)
        case WantState():
            desk.give_state(0, request)
        case WantPast():
            desk.give_past(0, request)
    (sent,) = outlet.drain().messages
    return decode_message(sent.data, GENESIS.suite.signature_size)


def only(*heights: int) -> Callable[[Message], Message]:
    """Return what leaves no other states in an answer."""

    def change(said: Message) -> Message:
        if not isinstance(said, Snapshots):
            return said
        heads = tuple(head for head in said.heads if head.block.header.height in heights)
        return replace(said, heads=heads)

    return change


def first_parts(count: int) -> Callable[[Message], Message]:
    def change(said: Message) -> Message:
        return replace(said, parts=said.parts[:count]) if isinstance(said, StateParts) else said

    return change


def first_blocks(count: int) -> Callable[[Message], Message]:
    def change(said: Message) -> Message:
        return replace(said, blocks=said.blocks[:count]) if isinstance(said, PastBlocks) else said

    return change


def peers(asked: Asked, kind: type[Message] | None = None) -> list[int | None]:
    return [peer for peer, request in asked if kind is None or isinstance(request, kind)]


def places(asked: Iterable[tuple[int | None, Message]]) -> list[str]:
    return [p for _, request in asked if isinstance(request, WantState) for p in request.places]


# ---------------------------------------------------------------------- whether to begin


def test_nothing_begins_that_is_not_allowed() -> None:
    part = Fetching(is_allowed=False)
    assert not part.part.takes_over(part.now, part.reach)
    assert part.chase() == []
    assert not part.fetches()
    part.reach = 0
    assert part.chase() == []


@pytest.mark.parametrize(("more", "is_far"), [(0, False), (1, True)])
def test_it_is_worth_it_from_the_gap_on(more: int, *, is_far: bool) -> None:
    part = Fetching()
    part.reach = GAP + more
    assert part.part.takes_over(part.now, part.reach) is is_far
    assert bool(part.chase()) is is_far
    assert part.fetches() is is_far


def test_taking_over_is_due_once_and_what_came_stays_due() -> None:
    part = Fetching()
    assert part.part.due_ms() == []
    assert part.part.takes_over(part.now, part.reach)
    assert part.part.due_ms() == [0]
    asked = part.chase()
    assert asked == [(peer, LOOK) for peer in range(3)]
    answers_due_ms = [part.now_ms + ANSWER_WITHIN_MS] * 3
    assert part.part.due_ms() == answers_due_ms
    assert part.part.takes_over(part.now, part.reach), "it looks"
    assert part.part.due_ms() == answers_due_ms
    part.answer(asked[:1])
    assert part.part.due_ms() == [*answers_due_ms[1:], 0]
    assert part.part.takes_over(part.now, part.reach)
    assert part.part.due_ms() == [*answers_due_ms[1:], 0]


def test_who_is_no_longer_far_behind_looks_no_longer_and_leaves_no_draft() -> None:
    part = Fetching()
    part.drafts.open()
    part.reach = 0  # nobody said yet where it stands
    assert part.chase() == []
    assert part.drafts.discarded == 0
    part.reach = HEIGHT
    part.chase()
    assert part.fetches()
    part.reach = GAP
    for _ in range(2):
        assert part.chase() == []
        assert not part.fetches()
        assert part.drafts.discarded == 1


def test_what_is_begun_goes_on_though_blocks_would_do() -> None:
    part = Fetching()
    asked = part.begin()
    part.reach = GAP
    assert part.part.takes_over(part.now, part.reach)
    asked = part.go_on(asked, lambda _: part.part.is_complete)
    assert part.drafts.discarded == 0
    assert part.drafts.is_complete


# ---------------------------------------------------------------------- what is chosen


def test_peers_that_are_ahead_are_asked_what_they_hold_at_once_and_again_after_a_while() -> None:
    part = Fetching()
    part.heights = {0: 0, 1: 1, 2: HEIGHT}
    assert peers(part.chase()) == [1, 2]
    part.give(1, Snapshots((), ()))
    assert part.chase(LOOK_AGAIN_MS // 4) == []
    part.heights[0] = HEIGHT
    asked = part.chase(ANSWER_WITHIN_MS - LOOK_AGAIN_MS // 4 - 1)
    assert peers(asked) == [0]
    assert part.chase(ANSWER_WITHIN_MS - 1) == []
    part.heights[3] = HEIGHT  # so that somebody is always about to answer
    assert peers(part.chase()) == [3]
    assert part.now_ms == 100_000 + LOOK_AGAIN_MS - 2
    assert part.chase(1) == []
    assert peers(part.chase(1)) == [1], "of the others one owes an answer, two were asked just now"


def test_the_state_that_most_hold_is_chosen_once_all_answers_are_in() -> None:
    part = Fetching()
    asked = part.chase()
    part.answer(asked[:1], only(HEIGHT))
    part.answer(asked[1:2], only(LOW))
    assert part.chase() == [], "the third may tell"
    assert part.fetches()
    part.answer(asked[2:], only(LOW))
    begun = part.chase()
    assert [request.height for _, request in begun if isinstance(request, WantState)] == [LOW]
    assert part.rules == ["snapshot-begun"]


def test_of_states_that_as_many_hold_the_newest_is_chosen_without_who_is_silent() -> None:
    part = Fetching()
    asked = part.chase()
    part.answer(asked[:2])
    assert part.chase(ANSWER_WITHIN_MS - 1) == []
    begun = part.chase(1)
    assert [request for _, request in begun] == [WantState(HEIGHT, ("",))]


def test_what_one_holds_who_has_fallen_silent_since_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_sync, "HANDOVERS_PER_MESSAGE", 0)  # an answer is never the last
    part = Fetching()
    part.answer(part.chase())
    assert peers(part.chase()) == [0, 1, 2]
    assert part.chase(ANSWER_WITHIN_MS) == []
    assert not part.fetches()
    assert part.rules == []


@pytest.mark.parametrize(("more", "is_begun"), [(0, True), (1, False)])
def test_a_state_far_below_where_the_others_stand_is_not_worth_it(
    more: int, *, is_begun: bool
) -> None:
    part = Fetching()
    part.reach = HEIGHT + GAP + more
    assert bool(part.begin()) is is_begun
    assert part.fetches() is is_begun


def test_a_state_that_is_not_above_the_own_chain_is_none() -> None:
    part = Fetching()
    part.ledger.commit(CHAIN, sync=False)
    part.heights = dict.fromkeys(range(3), HEIGHT + 1)
    part.reach = HEIGHT + GAP + 1
    assert part.begin() == []
    assert not part.fetches()


def test_where_nobody_holds_a_state_it_rests_and_looks_anew() -> None:
    part = Fetching()
    assert part.begin(only()) == []
    assert not part.fetches()
    assert not part.part.takes_over(Now(part.now_ms + REST_MS - 1, 0), part.reach)
    assert part.part.takes_over(Now(part.now_ms + REST_MS, 0), part.reach)
    assert part.chase(REST_MS - 1) == []
    assert peers(part.chase(1)) == [0, 1, 2]


# ---------------------------------------------------------------------- pieces


def test_a_piece_is_due_until_it_stalls_and_then_all_is_forgotten_but_the_draft() -> None:
    part = Fetching()
    asked = part.begin()
    assert peers(asked) == [0]
    begun_ms = part.now_ms
    assert part.part.due_ms() == [begun_ms + ANSWER_WITHIN_MS, begun_ms + STALLED_MS]
    part.now_ms += 500
    part.answer(asked)
    assert 0 in part.part.due_ms()
    assert part.chase() != []
    assert 0 not in part.part.due_ms()
    assert part.chase(STALLED_MS - 1) != []
    assert part.progress() is not None
    assert part.chase(1) == []
    assert part.progress() is None
    assert part.rules == ["snapshot-begun", "snapshot-given-up"]
    assert part.part.due_ms() == []
    assert part.chase(REST_MS - 1) == []
    part.heights = {}
    assert part.chase(1) == [], "what peers held then does not count, if none says so again"
    assert not part.fetches()
    assert part.rules[2:] == []
    assert part.drafts.discarded == 0


def test_what_a_silent_peer_was_asked_for_others_are_asked_for() -> None:
    part = Fetching()
    asked = part.chase(0)
    part.answer(asked)
    first = part.chase()
    part.answer(first)
    asked = part.chase(1)
    assert len(places(asked)) > 4
    part.answer(asked[1:])
    part.chase(1)
    assert not frozenset(places(asked[:1])) & frozenset(places(part.chase(ANSWER_WITHIN_MS - 2)))
    again = part.chase(1)
    assert frozenset(places(asked[:1])) <= frozenset(places(again))
    assert asked[0][0] not in peers(again)


def test_what_a_peer_leaves_out_is_asked_for_again() -> None:
    part = Fetching()
    asked = part.begin()
    part.answer(asked)
    asked = part.chase(1)
    (one, *_) = asked
    part.answer([one], first_parts(1))
    given, *left_out = places([one])
    again = part.chase(1)
    # What lies below what was given comes first, and how much that is the hash decides.
    asked_since = frozenset(places(again))
    while not frozenset(left_out) <= asked_since and len(asked_since) < 1_000:
        part.answer(again)
        again = part.chase(1)
        asked_since |= frozenset(places(again))
    assert frozenset(left_out) <= asked_since
    assert given not in asked_since


def test_who_holds_the_state_no_longer_is_not_asked_for_it_but_what_else_it_holds() -> None:
    part = Fetching()
    part.answer(part.begin())
    asked = part.chase(1)
    gone = asked[0][0]
    part.give(gone, StateParts(HEIGHT, ()))
    again = part.chase(1)
    assert gone not in peers(again, WantState)
    assert again == [], "the others are busy, and it was asked just now what it holds"
    part.answer(asked[1:])
    more = part.chase(1)
    assert frozenset(places(asked[:1])) <= frozenset(places(more)), "others have it"
    assert gone not in peers(more)
    part.answer(more)
    assert gone in peers(part.chase(LOOK_AGAIN_MS), WantSnapshots)
    part.chase(ANSWER_WITHIN_MS)
    assert part.progress() is not None, "that it does not answer is nothing to ask others for"


def test_a_state_that_nobody_holds_any_more_is_looked_for_anew_at_once() -> None:
    part = Fetching()
    part.answer(part.begin())
    asked = part.chase(1)
    assert peers(asked) == [0, 1, 2]
    for peer in (1, 2):
        part.give(peer, StateParts(HEIGHT, ()))
        part.chase()
        assert part.progress() is not None
    part.give(0, StateParts(HEIGHT, ()))
    assert part.progress() is None
    assert part.chase() == [(0, LOOK), (1, LOOK), (2, LOOK)]


def test_pieces_of_a_state_given_up_are_of_no_use_and_nobodys_fault() -> None:
    part = Fetching()
    part.answer(part.begin())
    asked = part.chase(1)
    part.chase(STALLED_MS)
    assert part.progress() is None
    part.answer(asked[:1])
    part.answer(part.chase(REST_MS + ASK_AGAIN_AFTER_MS), only(LOW))
    late = part.chase()
    assert part.progress() == SnapshotProgress(LOW, 0, 0, (0,))
    other = answer_to(WantState(HEIGHT, ("",)))
    part.give(late[0][0], other)
    assert part.progress() == SnapshotProgress(LOW, 0, 0, (0,))


def asks_for_past(asked: Asked) -> bool:
    return WantPast in [type(request) for _, request in asked]


def test_blocks_below_are_asked_of_whoever_answers_and_what_is_left_out_again() -> None:
    part = Fetching()
    asked = part.begin(only(HEIGHT))
    asked = part.go_on(asked, asks_for_past)
    (peer, request), *others = asked
    assert isinstance(request, WantPast)
    pieces = part.outlet.counters.snapshot_pieces
    part.answer([(peer, request)], first_blocks(3))
    assert part.outlet.counters.snapshot_pieces == pieces + 1
    assert 0 in part.part.due_ms()
    rest = WantPast(request.from_height + 3, request.count - 3)
    again = part.chase(1)
    assert (peer, rest) in again
    part.answer(others)
    part.answer(again)
    part.chase(1)
    progress = part.progress()
    assert progress is not None
    assert progress.state_percent == 100


def test_who_has_none_of_the_blocks_has_given_nothing() -> None:
    part = Fetching()
    asked = part.go_on(part.begin(), asks_for_past)
    before = part.progress()
    assert before is not None
    pieces = part.outlet.counters.snapshot_pieces
    part.answer(asked[:1], first_blocks(0))
    assert part.outlet.counters.snapshot_pieces == pieces
    assert asked[:1] == [each for each in part.chase(1) if each in asked[:1]], "asked for again"


def test_who_does_not_hold_the_state_gives_blocks_below_it_once_the_state_is_here() -> None:
    part = Fetching()
    asked = part.chase()
    part.answer(asked[:2], only(HEIGHT))
    part.answer(asked[2:], only(LOW))
    asked = part.chase()
    asked = part.go_on(asked, asks_for_past)
    progress = part.progress()
    assert progress is not None
    assert 2 not in progress.peers
    assert 2 in peers(asked, WantPast)


def test_who_gave_some_is_told_until_it_gives_something_false() -> None:
    part = Fetching()
    part.answer(part.begin())
    part.answer(part.chase(1))
    progress = part.progress()
    assert progress is not None
    assert sorted(progress.peers) == [0, 1, 2]
    assert part.outlet.counters.snapshot_pieces == 4
    ((peer, request), *_) = part.chase(1)
    assert isinstance(request, WantState)
    false = tuple(StatePart(None, ((b"another", b"value"),)) for _ in request.places)
    with pytest.raises(PeerError, match="state-place"):
        part.give(peer, StateParts(HEIGHT, false))
    progress = part.progress()
    assert progress is not None
    assert peer not in progress.peers
    assert len(progress.peers) == 2
    assert 0 in part.part.due_ms()
    assert peer not in peers(part.chase(ASK_AGAIN_AFTER_MS))


def test_what_one_holds_who_gave_something_false_since_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_sync, "HANDOVERS_PER_MESSAGE", 0)  # an answer is never the last
    part = Fetching()
    part.heights = {0: HEIGHT}
    part.answer(part.chase())
    asked = part.chase()
    assert asked == [(0, LOOK)]
    with pytest.raises(PeerError, match="log-edge"):
        part.answer(asked, other_log)
    assert part.chase() == []
    assert not part.fetches()


def other_log(said: Message) -> Message:
    assert isinstance(said, Snapshots)
    heads = tuple(replace(head, log_edge=(bytes(32), *head.log_edge[1:])) for head in said.heads)
    return replace(said, heads=heads)


def test_where_everybody_has_none_of_the_blocks_all_they_said_is_forgotten_in_the_end() -> None:
    part = Fetching()
    asked = part.go_on(part.begin(), asks_for_past)
    stalled_ms = part.now_ms - 1 + STALLED_MS
    while part.now_ms + 500 < stalled_ms:
        part.answer(asked, first_blocks(0))
        asked = part.chase(500)
    assert asks_for_past(asked)
    assert part.chase(stalled_ms - part.now_ms) == []
    assert part.progress() is None
    assert part.chase(ANSWER_WITHIN_MS) == []
    part.answer(asked)  # late, and of no use
    assert part.progress() is None
    part.heights = {}
    assert part.chase(REST_MS - ANSWER_WITHIN_MS) == []
    assert not part.fetches()
    assert part.rules == ["snapshot-begun", "snapshot-given-up"]


def test_a_draft_that_is_looked_through_for_long_is_gone_on_with_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Fetching()
    asked = first.begin()
    first.go_on(asked, asks_for_past)
    monkeypatch.setattr(filling, "STEPS_PER_TURN", 1)
    second = Fetching(first.drafts)
    assert second.begin() == []
    assert second.part.due_ms() == [second.now_ms]
    assert second.chase() == []
    monkeypatch.undo()
    assert asks_for_past(second.chase())


def test_the_end_comes_once_and_nothing_after_it() -> None:
    part = Fetching()
    part.go_on(part.begin(), lambda _: part.part.is_complete)
    assert part.rules == ["snapshot-begun", "snapshot-complete"]
    assert part.part.due_ms() == []
    assert part.chase(STALLED_MS + REST_MS) == []
    assert part.rules == ["snapshot-begun", "snapshot-complete"]
    store = part.drafts.open()
    ledger = LedgerStore.open(store, GENESIS.suite, Executor(GENESIS).genesis_block())
    assert ledger.header_digest == CHAIN[HEIGHT - 1][0].digest


class WithBarriers(Lineage):
    """As if epochs had ended at some heights, one of them above what is fetched."""

    def barriers(self) -> Iterator[CertifiedHeader]:
        for executed, certificate in (CHAIN[9], CHAIN[LOW - 1], CHAIN[LOW]):
            yield CertifiedHeader(executed.header, certificate)


def test_the_ends_of_epochs_come_with_the_state_but_for_those_above_it() -> None:
    part = Fetching(lineage_type=WithBarriers)
    part.go_on(part.begin(only(LOW)), lambda _: part.part.is_complete)
    store = part.drafts.open()
    ledger = LedgerStore.open(store, GENESIS.suite, Executor(GENESIS).genesis_block())
    assert ledger.missing == range(1, 30)
    for height in (10, LOW):
        assert ledger.header_at(height) == (CHAIN[height - 1][0].header, CHAIN[height - 1][1])
    assert ledger.header_at(LOW + 1) is None


def test_who_has_more_handovers_to_tell_is_asked_for_them_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for most, is_asked in ((0, True), (1, False)):
        monkeypatch.setattr(snapshot_sync, "HANDOVERS_PER_MESSAGE", most)
        part = Fetching()
        part.answer(part.chase()[:1])
        assert ((0, LOOK) in part.chase(1)) is is_asked
