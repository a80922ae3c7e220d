"""The state at a certified header instead of all blocks below it, for a node that is far behind.

Peers are asked which states they hold, and what handed over to the sets that certified them. One
that most of them hold is fetched in pieces, of any of them: the state tree from its root downward,
each piece checked by the hash that the one above names, then the blocks from the header down that
execution above it needs. All is written as it comes into a ledger beside the one in use, a *draft*:
whenever this ends, it goes on with what is there. The whole is the ledger from the next start on,
for which the end of this asks.

No peer is believed anything, and none is needed: one that is silent costs a short wait, one that
gives something false is left alone, and a state that nobody holds any more is given up for the
next, with which most of the draft agrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from node.chain.block import Header
from node.chain.encoding import decode
from node.chain.genesis import Genesis, Parameters
from node.chain.log import LogFrontier, frontier_of_edge
from node.chain.state_page import SLOTS, Page
from node.chain.state_tree import build_subtree
from node.consensus import events as ev
from node.errors import DecodeError, InvariantViolation, PeerError, StorageError
from node.execution.apply import ExecutedBlock
from node.execution.governance import EVIDENCE_AGE_MS_MAX, EVIDENCE_CHECKPOINTS_MAX
from node.execution.registry import PARAMETERS_KEY
from node.limits import STATE_VALUE_BYTES_MAX, TX_LIFETIME_MS_MAX, WINDOW_SLOTS_MAX
from node.service.backfill import read_past_block
from node.service.lineage import Lineage, peer_to_blame
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.sources import Sources
from node.service.wire import (
    HANDOVERS_PER_MESSAGE,
    PastBlocks,
    SnapshotHead,
    Snapshots,
    StatePart,
    StateParts,
    WantPast,
    WantSnapshots,
    WantState,
)
from node.storage.draft import LedgerDraft, Subtree, subtrees_of
from node.storage.kv import KeyValueStore
from node.timestamp.history import Handover

LOOK_AGAIN_MS: Final = 2_000
"""How long a peer is not asked again what it holds."""
STALLED_MS: Final = 10_000
"""Without a piece for so long, the state is given up."""
REST_MS: Final = 10_000
"""How long blocks are fetched then, or where nobody holds a state, before looking again."""
PLACES_PER_REQUEST: Final = 16
PAST_RANGE_BLOCKS: Final = 64
PAST_RANGES_AHEAD: Final = 8
"""How far below what is complete more is asked for: where it ends only the blocks tell."""
STEPS_PER_TURN: Final = 1_024
"""Pieces of a draft looked through in one turn: some 30 ms of work."""
PAST_KEPT_MS: Final = max(TX_LIFETIME_MS_MAX, EVIDENCE_AGE_MS_MAX)
"""How old, by T, what a block depends on can be."""


class DraftHome(Protocol):
    """Where a ledger is made beside the one in use."""

    def open(self) -> KeyValueStore:
        """Begin a draft, or go on with the one begun."""

    def complete(self) -> None:
        """Have the draft, which is durable, be the ledger from the next start on: atomically."""

    def discard(self) -> None:
        """Remove the draft, if there is one."""


@dataclass(frozen=True, slots=True)
class Target:
    """A state to fetch: its block, certified, and the log after it, which the block vouches for."""

    head: SnapshotHead
    frontier: LogFrontier

    @property
    def header(self) -> Header:
        """Of the block whose state it is."""
        return self.head.block.header


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far a snapshot has come."""

    height: int
    state_percent: int
    past_percent: int
    """Of the blocks below it that execution needs, by time."""
    peers: tuple[int, ...]
    """Who gave some of it."""


_Request = WantSnapshots | tuple[Subtree, ...] | range


class SnapshotSync:
    """Whether the state is fetched instead of blocks, and how far that has come."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        genesis_block: ExecutedBlock,
        ledger: Ledger,
        lineage: Lineage,
        outlet: Outlet,
    ) -> None:
        """Start idle, and stay so unless allowed to begin."""
        self._suite, self._genesis_block = genesis.suite, genesis_block
        self._ledger, self._lineage, self._outlet = ledger, lineage, outlet
        self._home: DraftHome | None = None
        self._gap_blocks = 0
        self._sources: Sources[_Request] = Sources()
        self._targets: dict[int, dict[int, Target]] = {}
        """By peer: the states it holds, by height."""
        self._looked_at_ms: dict[int, int] = {}
        """When each peer was last asked what it holds."""
        self._is_looking = False
        self._rest_until_ms = 0
        self._target: Target | None = None
        self._draft: LedgerDraft | None = None
        self._progress_at_ms = 0
        self._givers: dict[int, None] = {}
        self._is_tidy = False
        """Whether no draft is left over."""
        self._is_due = False
        """Whether something came that `chase` has to go on with."""
        self._reset()
        self.is_complete = False
        """Whether a ledger waits for the next start; this node does nothing more before it."""

    def allow(self, home: DraftHome, gap_blocks: int) -> None:
        """Have a draft made in `home` when this node is more than `gap_blocks` behind."""
        self._home, self._gap_blocks = home, gap_blocks

    def _reset(self) -> None:
        """Forget what was under way of a target."""
        self._todo: dict[str, bytes] = {}
        """Subtrees to look for, in the draft and then among the peers; the newest first."""
        self._wanted: dict[str, bytes] = {}
        """Subtrees that are not in the draft and are to be asked for."""
        self._under_way: dict[str, bytes] = {}
        self._covered = 0.0
        """Share of the key paths whose subtrees are in the draft."""
        self._low: Header | None = None
        """The lowest block that is in the draft with all from there up to the target."""
        self._is_past_known = False
        """Whether the draft has all blocks that execution above the target needs."""
        self._ranges: list[range] = []
        """Blocks to ask for again."""
        self._cut = 0
        """The lowest height that was asked for."""

    # ------------------------------------------------------------------ what can be asked

    @property
    def is_fetching(self) -> bool:
        """Whether a state is fetched or looked for: blocks are not worth asking for meanwhile."""
        return self._is_looking or self._target is not None

    @property
    def progress(self) -> SnapshotProgress | None:
        """How far it has come, if it has begun."""
        if self._target is None:
            return None
        header = self._target.header
        span_ms = header.time_ms - (self._low or header).time_ms
        return SnapshotProgress(
            height=header.height,
            state_percent=min(99, int(100 * self._covered)) if self._is_state_under_way else 100,
            past_percent=100 if self._is_past_known else min(99, 100 * span_ms // PAST_KEPT_MS),
            peers=tuple(self._givers),
        )

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which `chase` is due."""
        if self.is_complete:
            return []
        due_ms = self._sources.due_ms()
        if self._is_due:
            due_ms.append(0)
        if self._target is not None:
            due_ms.append(self._progress_at_ms + (0 if self._todo else STALLED_MS))
        return due_ms

    def takes_over(self, now: ev.Now, reach: int) -> bool:
        """Whether the state is worth fetching, so that blocks are not worth asking for."""
        is_due = self._is_far_behind(reach) and now.monotonic_ms >= self._rest_until_ms
        if self._home is None or not (is_due or self.is_fetching):
            return False
        self._is_due = self._is_due or not self.is_fetching
        return True

    def _is_far_behind(self, reach: int) -> bool:
        return reach > self._ledger.tip_height + self._gap_blocks

    # ------------------------------------------------------------------ asking

    def chase(self, now: ev.Now, heights: Mapping[int, int], reach: int) -> None:
        """Begin or go on; `heights` tells where peers stand, `reach` what of it is believed."""
        now_ms = now.monotonic_ms
        if self._home is None or self.is_complete:
            return
        self._is_due = False
        if not self._is_far_behind(reach) and self._target is None:
            self._is_looking = False
            if reach and not self._is_tidy:
                self._home.discard()  # blocks were enough
                self._draft, self._is_tidy = None, True
            return
        for request in self._sources.note_silence(now_ms):
            self._ask_again(request)
        if self._target is not None and now_ms >= self._progress_at_ms + STALLED_MS:
            self._give_up(now_ms + REST_MS)
        if now_ms < self._rest_until_ms:
            return
        if self._target is None:
            self._look(now_ms, heights, reach)
        if self._target is not None:
            self._advance()
        if self._target is not None and not self.is_complete:
            self._ask_for_pieces(now_ms, heights)

    def _look(self, now_ms: int, heights: Mapping[int, int], reach: int) -> None:
        """Ask who holds which states, and choose one when the answers are in."""
        self._is_looking = True
        self._ask_what_is_held(now_ms, heights)
        if self._sources.due_ms():
            return  # somebody is about to answer
        offered: dict[int, list[Target]] = {}
        for peer, targets in self._targets.items():
            if self._sources.is_trusted(peer, now_ms) and not self._sources[peer].is_silent:
                for height, target in targets.items():
                    offered.setdefault(height, []).append(target)
        # What is far below where the others stand would leave most of the work to do.
        least = max(self._ledger.tip_height + 1, reach - self._gap_blocks)
        found = [(len(by), height) for height, by in offered.items() if height >= least]
        if found:
            _, height = max(found)
            self._begin(offered[height][0], now_ms)
        else:
            self._give_up(now_ms + REST_MS)

    def _ask_what_is_held(self, now_ms: int, heights: Mapping[int, int]) -> None:
        """Ask every peer that is ahead, unless it was asked lately."""
        ahead = [
            peer
            for peer, height in heights.items()
            if height > self._ledger.tip_height
            and now_ms >= self._looked_at_ms.get(peer, -LOOK_AGAIN_MS) + LOOK_AGAIN_MS
        ]
        for peer in self._sources.free(now_ms, ahead):
            self._looked_at_ms[peer] = now_ms
            request = WantSnapshots(self._lineage.newest)
            self._sources.ask(peer, request, now_ms)
            self._outlet.send(peer, request)

    def _begin(self, target: Target, now_ms: int) -> None:
        if self._home is None:
            raise InvariantViolation("a snapshot is begun without a place for it")
        if self._draft is None:
            self._draft, self._is_tidy = LedgerDraft(self._home.open(), self._suite), False
        self._reset()
        header = target.header
        self._target, self._cut = target, header.height + 1
        self._todo[""] = header.state_root
        self._progress_at_ms, self._is_looking = now_ms, False
        self._outlet.trace("snapshot-begun", header.height, f"the state at {header.height}")

    def _give_up(self, rest_until_ms: int) -> None:
        """Let go of the target, not of the draft."""
        if self._target is not None:
            self._outlet.trace("snapshot-given-up", self._target.header.height, "no piece comes")
        self._target, self._rest_until_ms = None, rest_until_ms
        self._is_looking = False
        self._targets.clear()
        self._looked_at_ms.clear()
        self._reset()

    def _ask_for_pieces(self, now_ms: int, heights: Mapping[int, int]) -> None:
        target = self._target
        if target is None:
            return
        self._ask_what_is_held(
            now_ms,
            {
                peer: height
                for peer, height in heights.items()
                if target.header.height not in self._targets.get(peer, {})
            },
        )
        for peer in self._sources.free(now_ms, self._targets):
            if target.header.height not in self._targets[peer] and self._is_state_under_way:
                continue
            request = self._next_request()
            if request is None:
                return
            self._sources.ask(peer, request, now_ms)
            if isinstance(request, range):
                self._outlet.send(peer, WantPast(request.start, len(request)))
            else:
                places = tuple(place for place, _ in request)
                self._outlet.send(peer, WantState(target.header.height, places))

    def _next_request(self) -> tuple[Subtree, ...] | range | None:
        subtrees: list[Subtree] = []
        while self._wanted and len(subtrees) < PLACES_PER_REQUEST:
            place, subtree_hash = self._wanted.popitem()
            self._under_way[place] = subtree_hash
            subtrees.append((place, subtree_hash))
        if subtrees:
            return tuple(subtrees)
        if self._is_state_under_way or self._draft is None:
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

    def _ask_again(self, request: _Request) -> None:
        """Have what a peer was asked for be asked of others."""
        if isinstance(request, range):
            self._ranges.append(request)
        elif not isinstance(request, WantSnapshots):
            for place, subtree_hash in request:
                if self._under_way.pop(place, None) is not None:
                    self._wanted[place] = subtree_hash

    # ------------------------------------------------------------------ what is there

    @property
    def _is_state_under_way(self) -> bool:
        return bool(self._todo or self._wanted or self._under_way)

    def _advance(self) -> None:
        """Look through the draft as far as it goes, and end if nothing is missing."""
        draft, target = self._draft, self._target
        if draft is None or target is None:
            return
        for _ in range(STEPS_PER_TURN):
            if not self._todo:
                break
            subtree = self._todo.popitem()
            known = draft.missing_below(subtree)
            if known is None:
                self._wanted[subtree[0]] = subtree[1]
            else:
                self._note_known(subtree, known)
        if not self._is_state_under_way:
            self._descend(draft, target)
        if self._is_past_known:
            self._finish(draft, target)

    def _note_known(self, subtree: Subtree, made_of: Sequence[Subtree]) -> None:
        """Note that a subtree is in the draft, or at least the page it is made of."""
        depth = len(subtree[0])
        empty_slots = SLOTS - len(made_of)
        self._covered += empty_slots * 16.0 ** -(depth + 1) if made_of else 16.0**-depth
        self._todo.update(made_of)

    @property
    def _bottom(self) -> int:
        """The lowest height down to which the draft has all blocks, from the target's."""
        if self._low is not None:
            return self._low.height
        return 0 if self._target is None else self._target.header.height + 1

    def _descend(self, draft: LedgerDraft, target: Target) -> None:
        """Follow the blocks in the draft downwards, as far as they are needed."""
        header = target.header
        reach = _heights_needed(draft.value(PARAMETERS_KEY))
        for _ in range(STEPS_PER_TURN):
            low = self._low
            if low is not None:
                is_old = low.time_ms <= header.time_ms - PAST_KEPT_MS
                is_deep = low.height <= header.height - reach
                self._is_past_known = low.height == 1 or (is_old and is_deep)
            below = None if self._is_past_known else draft.header_at(self._bottom - 1)
            if below is None:
                return
            expected = header.digest(self._suite) if low is None else low.parent
            if below.digest(self._suite) != expected:
                # Two certified blocks of one height: nothing here can tell which chain is right.
                raise InvariantViolation(f"block {below.height} of the draft is of another chain")
            self._low = below

    def _finish(self, draft: LedgerDraft, target: Target) -> None:
        if self._home is None or self._low is None:
            raise InvariantViolation("a snapshot ends that has not begun")
        height = target.header.height
        draft.finish(
            genesis=self._genesis_block,
            head=target.head.block,
            log_edge=target.head.log_edge,
            frontier=target.frontier,
            held_from=self._low.height,
            barriers=(each for each in self._lineage.barriers() if each.header.height <= height),
            evidence=self._ledger.evidence(),
        )
        self._home.complete()
        self.is_complete = True
        self._outlet.trace("snapshot-complete", height, "it is the ledger from the next start on")

    # ------------------------------------------------------------------ what came

    def take_held(self, peer: int, message: Snapshots, now: ev.Now) -> None:
        """Note which states a peer holds; raises `PeerError` or `DecodeError` for a false word."""
        asked = self._sources[peer].asked
        if not isinstance(asked, WantSnapshots):
            raise PeerError("snapshots-unasked", "an answer to nothing")
        self._sources.answered(peer)
        self._is_due = True
        try:
            for encoded in message.handovers:
                with peer_to_blame():
                    self._lineage.learn(Handover.decode(encoded, self._suite))
            newest = self._lineage.newest
            targets = {}
            for head in message.heads:
                if head.block.header.epoch <= newest:
                    targets[head.block.header.height] = self._checked(head)
        except (DecodeError, PeerError):
            self._distrust(peer, now)
            raise
        self._targets[peer] = targets
        if len(message.handovers) == HANDOVERS_PER_MESSAGE:
            self._looked_at_ms.pop(peer, None)  # there may be more of them

    def _checked(self, head: SnapshotHead) -> Target:
        self._lineage.check(head.block)
        header = head.block.header
        with peer_to_blame():
            frontier = frontier_of_edge(header.log_size, head.log_edge, self._suite.hash)
        if (frontier.root(self._suite.hash),) != header.log_roots:
            raise PeerError("snapshot-log", f"not the log of block {header.height}")
        return Target(head, frontier)

    def take_state(self, peer: int, message: StateParts, now: ev.Now) -> None:
        """Write pieces of the state; raises `PeerError` for the first that is false."""
        asked, target = self._sources[peer].asked, self._target
        if not isinstance(asked, tuple) or len(message.parts) > len(asked):
            raise PeerError("state-unasked", f"{len(message.parts)} pieces of {message.height}")
        self._sources.answered(peer)
        self._is_due = True
        if target is None or self._draft is None or target.header.height != message.height:
            return  # of a state given up since
        if not message.parts:
            self._targets[peer].pop(message.height, None)
            self._ask_again(asked)
            self._look_elsewhere(message.height)
            return
        try:
            for subtree, part in zip(asked, message.parts, strict=False):
                if self._is_needed(subtree):
                    self._note_known(subtree, self._put(self._draft, subtree, part))
                    self._forget(subtree[0])
        except PeerError:
            self._ask_again(asked)
            self._distrust(peer, now)
            raise
        self._ask_again(asked[len(message.parts) :])
        self._note_piece(peer, now)

    def _is_needed(self, subtree: Subtree) -> bool:
        place, subtree_hash = subtree
        return subtree_hash in (self._under_way.get(place), self._wanted.get(place))

    def _forget(self, place: str) -> None:
        self._under_way.pop(place, None)
        self._wanted.pop(place, None)

    def _put(self, draft: LedgerDraft, subtree: Subtree, part: StatePart) -> Sequence[Subtree]:
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
            draft.put_whole(subtree, dict(part.values), built.pages)
            return ()
        try:
            page = Page.decode(part.page, place, self._suite)
        except StorageError as error:
            raise PeerError("state-page", str(error)) from error
        if page.top != subtree_hash:  # which a page of one key alone never is
            raise PeerError("state-page", f"another page at {place or 'the root'}")
        draft.put_page(subtree, page)
        return subtrees_of(page, place)

    def _look_elsewhere(self, height: int) -> None:
        """Give a state up that nobody holds any more."""
        if not any(height in targets for targets in self._targets.values()):
            self._give_up(0)

    def is_past_wanted(self, peer: int, message: PastBlocks) -> bool:
        """Whether this answers what this part asked for."""
        asked = self._sources[peer].asked
        return isinstance(asked, range) and asked.start == message.from_height

    def take_past(self, peer: int, message: PastBlocks, now: ev.Now) -> None:
        """Write blocks below the target; raises `PeerError` or `DecodeError` for one that is false.

        For an answer that `is_past_wanted`.
        """
        asked = self._sources[peer].asked
        if not isinstance(asked, range):
            raise PeerError("past-unasked", f"{len(message.blocks)} blocks")
        self._sources.answered(peer)
        self._is_due = True
        if self._draft is None or self._target is None:
            return
        blocks = []
        try:
            for height, values in zip(asked, message.blocks, strict=False):
                blocks.append(read_past_block(*values, height, self._lineage, self._suite))
        except (DecodeError, PeerError):
            self._ranges.append(asked)
            self._distrust(peer, now)
            raise
        self._draft.put_blocks(blocks)
        if len(blocks) < len(asked):
            self._ranges.append(asked[len(blocks) :])
        if blocks:
            self._note_piece(peer, now)

    def _note_piece(self, peer: int, now: ev.Now) -> None:
        self._progress_at_ms = now.monotonic_ms
        self._givers[peer] = None
        self._outlet.counters.snapshot_pieces += 1

    def _distrust(self, peer: int, now: ev.Now) -> None:
        """Believe a peer nothing for a while."""
        self._sources.distrust(peer, now.monotonic_ms)
        self._targets.pop(peer, None)
        self._givers.pop(peer, None)


def _heights_needed(parameters: bytes | None) -> int:
    """Return how many blocks below a state execution may look at, by the parameters in it."""
    if parameters is None:
        raise InvariantViolation("a state holds no parameters")
    value = decode(parameters, what="parameters in state", size_max=STATE_VALUE_BYTES_MAX)
    checkpoints = EVIDENCE_CHECKPOINTS_MAX * Parameters.from_value(value).checkpoint_blocks
    return max(checkpoints, WINDOW_SLOTS_MAX)
