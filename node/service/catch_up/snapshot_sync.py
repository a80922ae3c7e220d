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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from node.chain.genesis import Genesis
from node.chain.log import frontier_of_edge
from node.consensus import events as ev
from node.errors import DecodeError, InvariantViolation, PeerError
from node.execution.apply import ExecutedBlock
from node.service.catch_up.backfill import read_past_block
from node.service.catch_up.filling import Filling, Pieces, Target
from node.service.catch_up.lineage import Lineage, peer_to_blame
from node.service.catch_up.sources import Sources
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.wire import (
    HANDOVERS_PER_MESSAGE,
    PastBlocks,
    SnapshotHead,
    Snapshots,
    StateParts,
    WantPast,
    WantSnapshots,
    WantState,
)
from node.storage.draft import LedgerDraft
from node.storage.kv import KeyValueStore
from node.timestamp.history import Handover

LOOK_AGAIN_MS: Final = 2_000
"""How long a peer is not asked again what it holds."""
STALLED_MS: Final = 10_000
"""Without a piece for so long, the state is given up."""
REST_MS: Final = 10_000
"""How long blocks are fetched then, or where nobody holds a state, before looking again."""


class DraftHome(Protocol):
    """Where a ledger is made beside the one in use."""

    def open(self) -> KeyValueStore:
        """Begin a draft, or go on with the one begun."""

    def complete(self) -> None:
        """Have the draft, which is durable, be the ledger from the next start on: atomically."""

    def discard(self) -> None:
        """Remove the draft, if there is one."""


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far a snapshot has come."""

    height: int
    state_percent: int
    past_percent: int
    """Of the blocks below it that execution needs, by time."""
    peers: tuple[int, ...]
    """Who gave some of it."""


_Request = WantSnapshots | Pieces


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
        self._draft: LedgerDraft | None = None
        self._filling: Filling | None = None
        self._progress_at_ms = 0
        self._givers: dict[int, None] = {}
        self._is_tidy = False
        """Whether no draft is left over."""
        self._is_due = False
        """Whether something came that `chase` has to go on with."""
        self.is_complete = False
        """Whether a ledger waits for the next start; this node does nothing more before it."""

    def allow(self, home: DraftHome, gap_blocks: int) -> None:
        """Have a draft made in `home` when this node is more than `gap_blocks` behind."""
        self._home, self._gap_blocks = home, gap_blocks

    # ------------------------------------------------------------------ what can be asked

    @property
    def is_fetching(self) -> bool:
        """Whether a state is fetched or looked for: blocks are not worth asking for meanwhile."""
        return self._is_looking or self._filling is not None

    @property
    def progress(self) -> SnapshotProgress | None:
        """How far it has come, if it has begun."""
        filling = self._filling
        if filling is None:
            return None
        return SnapshotProgress(
            height=filling.target.header.height,
            state_percent=filling.state_percent,
            past_percent=filling.past_percent,
            peers=tuple(self._givers),
        )

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which `chase` is due."""
        if self.is_complete:
            return []
        due_ms = self._sources.due_ms()
        if self._is_due:
            due_ms.append(0)
        if self._filling is not None:
            wait_ms = 0 if self._filling.is_looking_through else STALLED_MS
            due_ms.append(self._progress_at_ms + wait_ms)
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
        if not self._is_far_behind(reach) and self._filling is None:
            self._is_looking = False
            if reach and not self._is_tidy:
                self._home.discard()  # blocks were enough
                self._draft, self._is_tidy = None, True
            return
        for request in self._sources.note_silence(now_ms):
            self._ask_again(request)
        if self._filling is not None and now_ms >= self._progress_at_ms + STALLED_MS:
            self._give_up(now_ms + REST_MS)
        if now_ms < self._rest_until_ms:
            return
        if self._filling is None:
            self._look(now_ms, heights, reach)
        if self._filling is not None:
            self._filling.advance()
            if self._filling.is_complete:
                self._finish(self._filling)
            else:
                self._ask_for_pieces(self._filling, now_ms, heights)

    def _look(self, now_ms: int, heights: Mapping[int, int], reach: int) -> None:
        """Ask who holds which states, and choose one when the answers are in."""
        self._is_looking = True
        self._ask_what_is_held(now_ms, heights)
        if self._sources.due_ms():
            return  # somebody is about to answer
        offered: dict[int, list[Target]] = {}
        for peer, targets in self._targets.items():
            if not self._sources[peer].is_silent:
                for height, target in targets.items():
                    offered.setdefault(height, []).append(target)
        # What is far below where the others stand would leave most of the work to do.
        least = reach - self._gap_blocks  # which is above the own chain, as this is far behind
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
            draft, self._is_tidy = LedgerDraft(self._home.open(), self._suite), False
            if draft.is_finished:  # the process ended right before this became the ledger
                self._home.discard()
                draft = LedgerDraft(self._home.open(), self._suite)
            self._draft = draft
        self._filling = Filling(self._draft, target, self._suite)
        self._progress_at_ms, self._is_looking = now_ms, False
        height = target.header.height
        self._outlet.trace("snapshot-begun", height, f"the state at {height}")

    def _give_up(self, rest_until_ms: int) -> None:
        """Let go of the target, not of the draft."""
        if self._filling is not None:
            height = self._filling.target.header.height
            self._outlet.trace("snapshot-given-up", height, "no piece comes")
        self._filling, self._rest_until_ms = None, rest_until_ms
        self._is_looking = False
        self._targets.clear()
        self._looked_at_ms.clear()

    def _ask_again(self, request: _Request) -> None:
        if self._filling is not None and not isinstance(request, WantSnapshots):
            self._filling.ask_again(request)

    def _ask_for_pieces(self, filling: Filling, now_ms: int, heights: Mapping[int, int]) -> None:
        wanted_height = filling.target.header.height
        self._ask_what_is_held(
            now_ms,
            {
                peer: height
                for peer, height in heights.items()
                if wanted_height not in self._targets.get(peer, {})
            },
        )
        for peer in self._sources.free(now_ms, self._targets):
            if wanted_height not in self._targets[peer] and filling.is_state_under_way:
                continue
            request = filling.next_request()
            if request is None:
                return
            self._sources.ask(peer, request, now_ms)
            if isinstance(request, range):
                self._outlet.send(peer, WantPast(request.start, len(request)))
            else:
                places = tuple(place for place, _ in request)
                self._outlet.send(peer, WantState(wanted_height, places))

    def _finish(self, filling: Filling) -> None:
        if self._home is None:
            raise InvariantViolation("a snapshot ends that has not begun")
        height = filling.target.header.height
        filling.finish(
            genesis_block=self._genesis_block,
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
        asked, filling = self._sources[peer].asked, self._filling
        if not isinstance(asked, tuple) or len(message.parts) > len(asked):
            raise PeerError("state-unasked", f"{len(message.parts)} pieces of {message.height}")
        self._sources.answered(peer)
        self._is_due = True
        if filling is None or filling.target.header.height != message.height:
            return  # of a state given up since
        if not message.parts:
            self._targets.get(peer, {}).pop(message.height, None)
            filling.ask_again(asked)
            self._look_elsewhere(message.height)
            return
        try:
            for subtree, part in zip(asked, message.parts, strict=False):
                filling.put_part(subtree, part)
        except PeerError:
            filling.ask_again(asked)
            self._distrust(peer, now)
            raise
        filling.ask_again(asked[len(message.parts) :])
        self._note_piece(peer, now)

    def _look_elsewhere(self, height: int) -> None:
        """Give a state up that nobody holds any more."""
        if not any(height in targets for targets in self._targets.values()):
            self._give_up(0)

    def take_past(self, peer: int, message: PastBlocks, now: ev.Now) -> None:
        """Write blocks below the target; raises `PeerError` or `DecodeError` for a false one."""
        asked, filling = self._sources[peer].asked, self._filling
        if not isinstance(asked, range):
            raise PeerError("past-unasked", f"{len(message.blocks)} blocks")
        self._sources.answered(peer)
        self._is_due = True
        if filling is None:
            return
        blocks = []
        try:
            for height, values in zip(asked, message.blocks, strict=False):
                blocks.append(read_past_block(*values, height, self._lineage, self._suite))
        except (DecodeError, PeerError):
            filling.ask_again(asked)
            self._distrust(peer, now)
            raise
        filling.put_blocks(blocks)
        if len(blocks) < len(asked):
            filling.ask_again(asked[len(blocks) :])
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
