"""Which of the ways of catching up is taken: all that the engine knows of them.

Blocks are asked for unless the state above them is being fetched; the past of a ledger that began
with a state is fetched beside either.
"""

from __future__ import annotations

from typing import Final, assert_never

from node.chain.block import CertifiedBlock
from node.chain.genesis import Genesis
from node.consensus import events as ev
from node.execution.apply import ExecutedBlock
from node.service.catch_up.backfill import Backfill
from node.service.catch_up.block_sync import BlockSync
from node.service.catch_up.lineage import Lineage
from node.service.catch_up.snapshot_sync import DraftHome, SnapshotProgress, SnapshotSync
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.staged import StagedLedger
from node.service.term import Term
from node.service.wire import Blocks, PastBlocks, Snapshots, StateParts

HOLDS_PER_GAP: Final = 4
"""A state is kept readable every such part of the gap from which snapshots are worth it: so what
follows a snapshot in blocks is less, and the last but one lasts as long as fetching should take."""


class CatchUp:
    """How this node gets what it lacks."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        genesis_block: ExecutedBlock,
        term: Term,
        ledger: Ledger,
        tip: StagedLedger,
        outlet: Outlet,
    ) -> None:
        """Fetch blocks alone until `allow_snapshots`; `tip` is `ledger` as the turn sees it."""
        suite = genesis.suite
        self._ledger, self._tip = ledger, tip
        self._committed_at_ms = 0
        self._blocks = BlockSync(term=term, suite=suite, ledger=tip, outlet=outlet)
        lineage = Lineage(genesis, tip)
        self._snapshot = SnapshotSync(
            genesis=genesis,
            genesis_block=genesis_block,
            ledger=ledger,
            lineage=lineage,
            outlet=outlet,
        )
        self._past = Backfill(suite=suite, ledger=ledger, lineage=lineage, outlet=outlet)

    def allow_snapshots(self, home: DraftHome, gap_blocks: int) -> None:
        """Let this node, if it is more than `gap_blocks` behind, make another ledger in `home`.

        It keeps states readable for others that are as far behind as that.
        """
        self._snapshot.allow(home, gap_blocks)
        self._tip.hold_every = max(1, gap_blocks // HOLDS_PER_GAP)

    def begin(self, term: Term) -> None:
        """Begin an epoch: its set, and nobody else, vouches for the blocks to come."""
        self._blocks.begin(term)

    # ------------------------------------------------------------------ what can be asked

    @property
    def is_behind(self) -> bool:
        """Whether a quorum of peers, by their word, is further than consensus alone can heal."""
        return self._blocks.is_behind

    @property
    def informants(self) -> int:
        """How many members said where they stand since the start; `is_behind` rests on them."""
        return self._blocks.informants

    @property
    def is_abreast(self) -> bool:
        """Whether this node has all that is final, by the word of a quorum less itself."""
        return self._blocks.is_abreast

    @property
    def is_superseded(self) -> bool:
        """Whether the next start finds another ledger, made of a snapshot; this one ends here."""
        return self._snapshot.is_complete

    @property
    def missing_blocks(self) -> int:
        """How many blocks of the past are not here yet, where the ledger began with a snapshot."""
        return len(self._ledger.missing)

    @property
    def snapshot_progress(self) -> SnapshotProgress | None:
        """How far the state is that this node fetches instead of blocks, if it does."""
        return self._snapshot.progress

    # ------------------------------------------------------------------ asking

    def note_height(self, peer: int, height: int) -> None:
        """Note where a peer says it stands."""
        self._blocks.note_height(peer, height)

    def chase_snapshot_and_past(self, now: ev.Now) -> None:
        """Go on with the state, if it is fetched, and with the past below one."""
        self._snapshot.chase(now, self._blocks.heights, self._blocks.reach)
        self._past.chase(now, self._blocks.heights)

    def chase_blocks(self, now: ev.Now) -> None:
        """Ask for blocks, unless the state above them is being fetched."""
        if not self._snapshot.takes_over(now, self._blocks.reach):
            self._blocks.chase(now, committed_at_ms=self._committed_at_ms)

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which something is to be chased."""
        due_ms = [*self._snapshot.due_ms(), *self._past.due_ms()]
        return due_ms if self._snapshot.is_fetching else due_ms + self._blocks.due_ms()

    # ------------------------------------------------------------------ what came

    def take(
        self, peer: int, message: Blocks | Snapshots | StateParts | PastBlocks, now: ev.Now
    ) -> None:
        """Take an answer; raises `PeerError` or `DecodeError` if it is false, or to nothing."""
        match message:
            case Blocks():
                self._blocks.take(peer, message)
            case Snapshots():
                self._snapshot.take_held(peer, message, now)
            case StateParts():
                self._snapshot.take_state(peer, message, now)
            case PastBlocks() if self._past.wants(peer, message):
                self._past.take(peer, message, now)
            case PastBlocks():
                self._snapshot.take_past(peer, message, now)
            case _:
                assert_never(message)

    @property
    def next_sender(self) -> int | None:
        """Who sent the block after the tip, if it is here and was not given to the core yet."""
        return self._blocks.next_sender

    def offer_next(self, now: ev.Now) -> tuple[CertifiedBlock, int]:
        """Return the block that `next_sender` sent, checked, and its size in bytes.

        Raises `PeerError` or `DecodeError` for one that is wrong.
        """
        return self._blocks.offer_next(now)

    def block(self, height: int) -> CertifiedBlock | None:
        """Return the block that was offered last, if it is of this height."""
        return self._blocks.block(height)

    def note_committed(self, height: int, now: ev.Now) -> None:
        """Let go of a block that is final now; from now on it counts how long none followed."""
        self._committed_at_ms = now.monotonic_ms
        self._blocks.forget(height)
