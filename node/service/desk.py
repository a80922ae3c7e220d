"""What peers ask for is answered here, each peer within its allowance.

A request costs who asks little and this node much: so nobody is answered before what it was given
earlier is paid off, in time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

from node.consensus import events as ev
from node.consensus.messages import Status, ViewChange
from node.crypto.suite import Suite
from node.errors import PeerError
from node.service.allowance import Allowance
from node.service.ballots import Ballots
from node.service.catch_up.block_serving import BlockDesk
from node.service.catch_up.snapshot_serving import SnapshotDesk
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.staged import StagedLedger
from node.service.undecided import Undecided
from node.service.wire import WantBlocks, WantBodies, WantPast, WantSnapshots, WantState

Request = WantBodies | WantBlocks | WantSnapshots | WantState | WantPast


class Desk:
    """Answers requests from what this node holds."""

    def __init__(
        self,
        *,
        suite: Suite,
        ledger: Ledger,
        tip: StagedLedger,
        undecided: Undecided,
        ballots: Ballots,
        outlet: Outlet,
    ) -> None:
        """Answer through `outlet`; `tip` is `ledger` as the turn sees it."""
        self._outlet, self._allowance = outlet, Allowance()
        self._blocks = BlockDesk(
            suite=suite, ledger=tip, undecided=undecided, ballots=ballots, outlet=outlet
        )
        self._snapshots = SnapshotDesk(suite=suite, ledger=ledger, outlet=outlet)
        self._read_bytes = 0
        """What was read from disk for the answer under way, if that is more than is sent."""

    @contextmanager
    def serving(
        self, peer: int, request: Request | Status | ViewChange, now: ev.Now
    ) -> Iterator[None]:
        """Have what `peer` is sent within count against its allowance.

        Raises `PeerError` (`allowance`) if that is used up.
        """
        if not self._allowance.has_room(peer, now.monotonic_ms):
            raise PeerError("allowance", f"{type(request).__name__} before earlier answers are due")
        before, self._read_bytes = len(self._outlet.messages), 0
        yield
        answers = self._outlet.messages[before:]
        given_bytes = sum(len(m.data) for m in answers if m.to == peer)
        self._allowance.use(peer, max(given_bytes, self._read_bytes))

    def give(self, peer: int, request: Request) -> None:
        """Answer, while `serving`."""
        match request:
            case WantBodies():
                self._blocks.give_bodies(peer, request)
            case WantBlocks():
                self._blocks.give_blocks(peer, request)
            case WantSnapshots():
                self._snapshots.give_snapshots(peer, request)
            case WantState():
                self._read_bytes = self._snapshots.give_state(peer, request)
            case WantPast():
                self._snapshots.give_past(peer, request)
            case _:
                assert_never(request)

    def give_handover(self, peer: int, epoch: int) -> None:
        """Tell a node that is in an earlier epoch how that ended, while `serving`."""
        self._blocks.give_handover(peer, epoch)
