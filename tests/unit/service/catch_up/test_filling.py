"""A draft being filled: what is asked for next, how far it is, and where the past may end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest

from node.chain.encoding import encode
from node.chain.genesis import Genesis, Parameters
from node.chain.log import frontier_of_edge
from node.errors import DecodeError, InvariantViolation
from node.execution.apply import Executor
from node.execution.governance import EVIDENCE_CHECKPOINTS_MAX
from node.limits import WINDOW_SLOTS_MAX
from node.service.catch_up import filling
from node.service.catch_up.filling import Filling, Pieces, Target, heights_needed
from node.service.wire import SnapshotHead, StatePart
from node.storage.draft import LedgerDraft, Subtree
from node.storage.held_state import HeldState
from node.storage.ledger import CertifiedExecution, LedgerStore
from node.storage.memory import MemoryStore
from node.storage.stored_block import StoredBlock
from tests.unit.execution.small_chain import build_genesis
from tests.unit.service.catch_up.catching import long_chain

HEIGHT = 30
STEP_MS = 1_000
PLACES, RANGE = 4, 8
PART_BYTES = 250


@cache
def chain_of(checkpoint_blocks: int, gap_below: int = 0) -> tuple[Genesis, LedgerStore]:
    """Return a chain of `HEIGHT` blocks, a second apart, that holds the state of its tip."""
    genesis = build_genesis(parameters=Parameters(checkpoint_blocks=checkpoint_blocks))
    blocks: Sequence[CertifiedExecution] = long_chain(
        HEIGHT, step_ms=STEP_MS, old=gap_below, genesis=genesis
    )
    ledger = LedgerStore.open(MemoryStore(), genesis.suite, Executor(genesis).genesis_block())
    ledger.commit(blocks, sync=False)
    ledger.hold()
    return genesis, ledger


class Filled:
    """An empty draft, and the state and blocks of a chain that it is filled from."""

    def __init__(self, checkpoint_blocks: int = 1, gap_below: int = 0) -> None:
        self.genesis, self.ledger = chain_of(checkpoint_blocks, gap_below)
        suite = self.genesis.suite
        (self.held,) = self.ledger.held.values()
        header, edge = self.held.block.header, self.held.log_edge
        frontier = frontier_of_edge(header.log_size, edge, suite.hash)
        self.target = Target(SnapshotHead(self.held.block, edge), frontier)
        self.store = MemoryStore()
        self.draft = LedgerDraft(self.store, suite)
        self.filling = Filling(self.draft, self.target, suite)
        self.filling.advance()

    def block(self, height: int) -> StoredBlock:
        values = self.ledger.block_values(height)
        assert values is not None
        return StoredBlock(*values, self.genesis.suite)

    def ask(self) -> tuple[Subtree, ...]:
        """Return the next subtrees that are asked for."""
        pieces = self.filling.next_request()
        assert isinstance(pieces, tuple)
        return pieces

    def give(self, subtrees: Sequence[Subtree]) -> None:
        """Answer truly, with all keys below a place if they are few."""
        for subtree in subtrees:
            self.filling.put_part(subtree, part_of(self.held, subtree[0]))
        self.filling.advance()

    def give_state(self) -> None:
        while self.filling.is_state_under_way:
            self.give(self.ask())

    def give_blocks(self, *heights: int) -> None:
        self.filling.put_blocks([self.block(height) for height in heights])
        self.filling.advance()

    def make_ledger(self) -> None:
        genesis_block = Executor(self.genesis).genesis_block()
        self.filling.finish(genesis_block=genesis_block, barriers=(), evidence=())


def part_of(held: HeldState, place: str) -> StatePart:
    values, _ = held.values_below(place, PART_BYTES)
    if values is None:
        return StatePart(held.page(place), ())
    return StatePart(None, tuple(values.items()))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "PLACES_PER_REQUEST", PLACES)
    monkeypatch.setattr(filling, "PAST_RANGE_BLOCKS", RANGE)


# ---------------------------------------------------------------------- the state


def test_one_request_is_of_a_bounded_number_of_places() -> None:
    filled = Filled()
    (root,) = first = filled.ask()
    assert root == ("", filled.target.header.state_root)
    filled.give(first)
    asked: list[Subtree] = []
    sizes = []
    while pieces := filled.filling.next_request():
        assert isinstance(pieces, tuple)
        asked += pieces
        sizes.append(len(pieces))
    assert len(asked) > 2 * PLACES
    assert all(size == PLACES for size in sizes[:-1])
    assert 0 < sizes[-1] <= PLACES
    assert len(dict(asked)) == len(asked), "each is asked for once"


def test_progress_of_the_state_is_the_share_of_key_paths_that_are_here() -> None:
    filled = Filled()
    assert filled.filling.state_percent == 0
    filled.give(filled.ask())
    parts: list[Subtree] = []
    while pieces := filled.filling.next_request():
        assert isinstance(pieces, tuple)
        parts += pieces
    empty = 16 - len(parts)
    assert filled.filling.state_percent == 100 * empty // 16
    whole = [each for each in parts if part_of(filled.held, each[0]).page is None]
    assert len(whole) > 3
    for count, each in enumerate(whole[:3], start=1):
        filled.give([each])
        assert filled.filling.state_percent == 100 * (empty + count) // 16
    filled.give([each for each in parts if each not in whole[:3]])
    filled.give_state()
    assert filled.filling.state_percent == 100


def test_a_page_of_a_page_covers_its_share_of_the_paths_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filling, "PLACES_PER_REQUEST", 16)
    filled = Filled()
    (root,) = filled.ask()
    filled.give([root])
    parts = filled.ask()
    deep = [each for each in parts if part_of(filled.held, each[0]).page is not None]
    assert deep, "some slot has more keys than one answer holds"
    filled.give([deep[0]])
    below = filled.ask()
    assert all(place.startswith(deep[0][0]) for place, _ in below)
    covered = (16 - len(parts)) / 16 + (16 - len(below)) / 256
    assert filled.filling.state_percent == int(100 * covered)


def test_a_piece_that_comes_late_is_not_asked_for_again() -> None:
    filled = Filled()
    filled.give(filled.ask())
    slow, *others = filled.ask()
    filled.filling.ask_again((slow, *others))  # nobody answered in time
    filled.give([slow])  # and then somebody did
    asked: list[Subtree] = []
    while pieces := filled.filling.next_request():
        assert isinstance(pieces, tuple)
        asked += pieces
    assert slow not in asked
    assert set(others) < set(asked)


# ---------------------------------------------------------------------- the past


@pytest.mark.parametrize(
    ("kept_ms", "checkpoint_blocks", "lowest"),
    [
        pytest.param(15 * STEP_MS, 5, HEIGHT - 15, id="the age decides"),
        pytest.param(5 * STEP_MS, 5, HEIGHT - 5 * EVIDENCE_CHECKPOINTS_MAX, id="depth decides"),
        pytest.param(5 * STEP_MS + 1, 1, HEIGHT - 6, id="a little younger is too young"),
        pytest.param(60 * STEP_MS, 5, 1, id="genesis ends it"),
    ],
)
def test_the_past_ends_with_the_first_block_that_is_as_old_and_as_deep_as_any_needed(
    monkeypatch: pytest.MonkeyPatch, kept_ms: int, checkpoint_blocks: int, lowest: int
) -> None:
    monkeypatch.setattr(filling, "PAST_KEPT_MS", kept_ms)
    filled = Filled(checkpoint_blocks)
    filled.give_state()
    for height in range(HEIGHT, lowest, -1):
        filled.give_blocks(height)
        assert not filled.filling.is_complete, height
    filled.give_blocks(lowest)
    assert filled.filling.is_complete
    filled.make_ledger()
    genesis_block = Executor(filled.genesis).genesis_block()
    ledger = LedgerStore.open(filled.store, filled.genesis.suite, genesis_block)
    assert ledger.tip_height == HEIGHT
    assert ledger.digest_at(lowest) == filled.ledger.digest_at(lowest)
    assert len(ledger.missing) == lowest - 1


def test_progress_of_the_past_is_told_by_the_time_of_its_lowest_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filling, "PAST_KEPT_MS", 20 * STEP_MS)
    filled = Filled()
    filled.give_state()
    assert filled.filling.past_percent == 0
    filled.give_blocks(*range(HEIGHT - 5, HEIGHT + 1))
    assert filled.filling.past_percent == 25
    filled.give_blocks(*range(HEIGHT - 19, HEIGHT - 5))
    assert filled.filling.past_percent == 95
    filled.give_blocks(HEIGHT - 20)
    assert filled.filling.past_percent == 100


def ranges(filled: Filled) -> list[Pieces]:
    asked = []
    while pieces := filled.filling.next_request():
        asked.append(pieces)
    return asked


def test_a_range_of_which_one_block_is_missing_is_asked_for() -> None:
    filled = Filled()
    filled.give_state()
    lonely = HEIGHT - 3
    filled.give_blocks(*(set(range(HEIGHT - 2 * RANGE + 1, HEIGHT + 1)) - {lonely}))
    assert ranges(filled) == [
        range(HEIGHT - RANGE + 1, HEIGHT + 1),
        range(HEIGHT - 3 * RANGE + 1, HEIGHT - 2 * RANGE + 1),
        range(1, HEIGHT - 3 * RANGE + 1),
    ]


def test_a_block_of_another_chain_ends_it_before_anything_rests_on_it() -> None:
    filled = Filled()
    filled.give_state()
    filled.give_blocks(HEIGHT)
    other = Filled(gap_below=HEIGHT - 2).block(HEIGHT - 1)
    assert other.header.height == HEIGHT - 1
    filled.filling.put_blocks([other])
    with pytest.raises(InvariantViolation, match=f"block {HEIGHT - 1} of the draft is of another"):
        filled.filling.advance()


def test_no_ledger_is_made_of_a_draft_that_lacks_something() -> None:
    filled = Filled()
    filled.give_state()
    for _ in range(2):  # no block at all, then not all that are needed
        with pytest.raises(InvariantViolation, match="a draft ends that is not complete"):
            filled.make_ledger()
        filled.give_blocks(HEIGHT, HEIGHT - 1)


# ---------------------------------------------------------------------- how far it has to go


@pytest.mark.parametrize(
    ("checkpoint_blocks", "needed"),
    [(1, WINDOW_SLOTS_MAX), (10, 10 * EVIDENCE_CHECKPOINTS_MAX)],
)
def test_execution_looks_back_by_checkpoints_and_at_least_a_window(
    checkpoint_blocks: int, needed: int
) -> None:
    parameters = Parameters(checkpoint_blocks=checkpoint_blocks)
    assert heights_needed(encode(parameters.to_value())) == needed


def test_a_state_without_parameters_is_none() -> None:
    with pytest.raises(InvariantViolation, match="a state holds no parameters"):
        heights_needed(None)


def test_parameters_that_do_not_decode_are_refused() -> None:
    with pytest.raises(DecodeError, match="parameters in state"):
        heights_needed(b"\xff")
