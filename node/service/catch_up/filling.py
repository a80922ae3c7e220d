"""A draft on its way to one state: what is in it, what is missing, what to ask for next.

Knows neither peers nor time. The state tree is looked through from its root downward, as far as the
draft holds it; then the blocks from the state's own down to the lowest that execution above it
needs. What comes is checked by the hash that the piece above names before it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from node.chain.block import CertifiedHeader, Header
from node.chain.encoding import decode
from node.chain.evidence import Evidence
from node.chain.genesis import Parameters
from node.chain.log import LogFrontier
from node.chain.state_page import SLOTS, Page
from node.chain.state_tree import build_subtree
from node.crypto.suite import Suite
from node.errors import InvariantViolation, PeerError
from node.execution.apply import ExecutedBlock
from node.execution.governance import EVIDENCE_AGE_MS_MAX, EVIDENCE_CHECKPOINTS_MAX
from node.execution.registry import PARAMETERS_KEY
from node.limits import STATE_VALUE_BYTES_MAX, TX_LIFETIME_MS_MAX, WINDOW_SLOTS_MAX
from node.service.catch_up.lineage import peer_to_blame
from node.service.wire import SnapshotHead, StatePart
from node.storage.draft import LedgerDraft, Subtree, subtrees_of
from node.storage.stored_block import StoredBlock

PLACES_PER_REQUEST: Final = 16
PAST_RANGE_BLOCKS: Final = 64
PAST_RANGES_AHEAD: Final = 8
"""How far below what is complete more is asked for: where it ends only the blocks tell."""
STEPS_PER_TURN: Final = 1_024
"""Pieces of a draft looked through in one turn: some 30 ms of work."""
PAST_KEPT_MS: Final = max(TX_LIFETIME_MS_MAX, EVIDENCE_AGE_MS_MAX)
"""How old, by T, what a block depends on can be."""

Pieces = tuple[Subtree, ...] | range
"""What one request asks for: subtrees of the state, or heights of blocks below it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A state to fetch: its block, certified, and the log after it, which the block vouches for."""

    head: SnapshotHead
    frontier: LogFrontier

    @property
    def header(self) -> Header:
        """Of the block whose state it is."""
        return self.head.block.header


class Filling:
    """One target and the draft that is filled with it; the draft outlives a target given up."""

    def __init__(self, draft: LedgerDraft, target: Target, suite: Suite) -> None:
        """Begin with the whole state to look for, whatever of it the draft holds already."""
        self.target = target
        self._draft, self._suite = draft, suite
        self._todo: dict[str, bytes] = {"": target.header.state_root}
        """Subtrees to look for, in the draft and then among the peers; the newest first."""
        self._wanted: dict[str, bytes] = {}
        """Subtrees that are not in the draft and are to be asked for."""
        self._under_way: dict[str, bytes] = {}
        self._covered = 0.0
        """Share of the key paths whose subtrees are in the draft."""
        self._low: Header | None = None
        """The lowest block that is in the draft with all from there up to the target."""
        self._ranges: list[range] = []
        """Blocks to ask for again."""
        self._cut = target.header.height + 1
        """The lowest height that was asked for."""
        self.is_complete = False
        """Whether the draft has the state, and all blocks that execution above it needs."""

    # ------------------------------------------------------------------ how far it is

    @property
    def is_looking_through(self) -> bool:
        """Whether the draft holds pieces that were not looked at yet."""
        return bool(self._todo)

    @property
    def is_state_under_way(self) -> bool:
        """Whether something of the state may be missing."""
        return bool(self._todo or self._wanted or self._under_way)

    @property
    def state_percent(self) -> int:
        """Share of the state that is in the draft."""
        return min(99, int(100 * self._covered)) if self.is_state_under_way else 100

    @property
    def past_percent(self) -> int:
        """Share of the blocks needed that is in the draft, by their time."""
        header = self.target.header
        span_ms = header.time_ms - (self._low or header).time_ms
        return 100 if self.is_complete else min(99, 100 * span_ms // PAST_KEPT_MS)

    # ------------------------------------------------------------------ what to ask for

    def next_request(self) -> Pieces | None:
        """Return what to ask a peer for, which counts as asked from now on; None for nothing."""
        subtrees: list[Subtree] = []
        while self._wanted and len(subtrees) < PLACES_PER_REQUEST:
            place, subtree_hash = self._wanted.popitem()
            self._under_way[place] = subtree_hash
            subtrees.append((place, subtree_hash))
        if subtrees:
            return tuple(subtrees)
        if self.is_state_under_way:
            return None
        if self._ranges:
            return self._ranges.pop()
        lowest = max(1, self._bottom - PAST_RANGES_AHEAD * PAST_RANGE_BLOCKS)
        while self._cut > lowest:
            wanted = range(max(lowest, self._cut - PAST_RANGE_BLOCKS), self._cut)
            self._cut = wanted.start
            if any(self._draft.header_at(height) is None for height in wanted):
                return wanted
        return None

    def ask_again(self, pieces: Pieces) -> None:
        """Have what a peer was asked for be asked of others."""
        if isinstance(pieces, range):
            self._ranges.append(pieces)
            return
        for place, subtree_hash in pieces:
            if self._under_way.pop(place, None) is not None:
                self._wanted[place] = subtree_hash

    # ------------------------------------------------------------------ what is there

    def advance(self) -> None:
        """Look through the draft as far as a turn should go."""
        for _ in range(STEPS_PER_TURN):
            if not self._todo:
                break
            subtree = self._todo.popitem()
            known = self._draft.missing_below(subtree)
            if known is None:
                self._wanted[subtree[0]] = subtree[1]
            else:
                self._note_known(subtree, known)
        if not self.is_state_under_way:
            self._descend()

    def _note_known(self, subtree: Subtree, made_of: Sequence[Subtree]) -> None:
        """Note that a subtree is in the draft, or at least the page it is made of."""
        depth = len(subtree[0])
        empty_slots = SLOTS - len(made_of)
        self._covered += empty_slots * 16.0 ** -(depth + 1) if made_of else 16.0**-depth
        self._todo.update(made_of)

    @property
    def _bottom(self) -> int:
        """The lowest height down to which the draft has all blocks, from the target's."""
        return self.target.header.height + 1 if self._low is None else self._low.height

    def _descend(self) -> None:
        """Follow the blocks in the draft downwards, as far as they are needed."""
        header = self.target.header
        reach = heights_needed(self._draft.value(PARAMETERS_KEY))
        for _ in range(STEPS_PER_TURN):
            low = self._low
            if low is not None:
                is_old = low.time_ms <= header.time_ms - PAST_KEPT_MS
                is_deep = low.height <= header.height - reach
                self.is_complete = low.height == 1 or (is_old and is_deep)
            below = None if self.is_complete else self._draft.header_at(self._bottom - 1)
            if below is None:
                return
            expected = header.digest(self._suite) if low is None else low.parent
            if below.digest(self._suite) != expected:
                # Two certified blocks of one height: nothing here can tell which chain is right.
                raise InvariantViolation(f"block {below.height} of the draft is of another chain")
            self._low = below

    def finish(
        self,
        *,
        genesis_block: ExecutedBlock,
        barriers: Iterable[CertifiedHeader],
        evidence: Iterable[Evidence],
    ) -> None:
        """Make the draft, which is complete, a ledger."""
        if not self.is_complete or self._low is None:
            raise InvariantViolation("a draft ends that is not complete")
        head = self.target.head
        self._draft.finish(
            genesis=genesis_block,
            head=head.block,
            log_edge=head.log_edge,
            frontier=self.target.frontier,
            held_from=self._low.height,
            barriers=barriers,
            evidence=evidence,
        )

    # ------------------------------------------------------------------ what came

    def put_part(self, subtree: Subtree, part: StatePart) -> None:
        """Write a piece of the state, unless it came before; raises `PeerError` if it is false."""
        place, subtree_hash = subtree
        if subtree_hash in (self._under_way.get(place), self._wanted.get(place)):
            self._note_known(subtree, self._put(subtree, part))
            self._under_way.pop(place, None)
            self._wanted.pop(place, None)

    def _put(self, subtree: Subtree, part: StatePart) -> Sequence[Subtree]:
        """Check a piece by the hash that the one above names, write it; return what it is made of.

        S1 `state-page`: a page is well formed, of this hash, and stands where two keys part;
        S2 `state-place`: all keys lie below the place; S3 `state-subtree`: they and their values,
        and no others, are what the hash is of.
        """
        place, subtree_hash = subtree
        if part.page is None:
            with peer_to_blame():
                built = build_subtree(place, dict(part.values), self._suite)
            if built.root != subtree_hash:
                raise PeerError("state-subtree", f"other keys or values at {place or 'the root'}")
            self._draft.put_whole(subtree, dict(part.values), built.buckets)
            return ()
        with peer_to_blame():
            page = Page.decode(part.page, place, self._suite)
        if page.top != subtree_hash:  # which a page of one key alone never is
            raise PeerError("state-page", f"another page at {place or 'the root'}")
        self._draft.put_page(subtree, page)
        return subtrees_of(page, place)

    def put_blocks(self, blocks: Sequence[StoredBlock]) -> None:
        """Write blocks below the target, each checked by itself."""
        self._draft.put_blocks(blocks)


def heights_needed(parameters: bytes | None) -> int:
    """Return how many blocks below a state execution may look at, by the parameters in it."""
    if parameters is None:
        raise InvariantViolation("a state holds no parameters")
    value = decode(parameters, what="parameters in state", size_max=STATE_VALUE_BYTES_MAX)
    checkpoints = EVIDENCE_CHECKPOINTS_MAX * Parameters.from_value(value).checkpoint_blocks
    return max(checkpoints, WINDOW_SLOTS_MAX)
