"""What one correct validator has done so far, so far as its rules ask.

What it signed binds it: at once, as it may not say otherwise, and once durable for good (D1, D4).
What it signed and may yet lose may not have left (D2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from node.chain.certificate import Phase
from tests.simulation.guard import Ballot, Leaving, Start, Statement


@dataclass(slots=True)
class Conduct:
    """Of one validator, across its lives."""

    volatile: dict[bytes, Statement] = field(default_factory=dict)
    """Signed and not known to be durable: may not have left. By signature."""
    places: dict[tuple[int | str, ...], None] = field(default_factory=dict)
    """Of everything signed that exists for good or may yet."""
    commits: dict[tuple[int, int], int] = field(default_factory=dict)
    """Epoch and height to the highest view of a durable COMMIT.

    An epoch may end below one: its barrier is another block than the voter had committed to.
    """
    left_for: dict[int, int] = field(default_factory=dict)
    """Epoch to the highest view of a durable VIEW-CHANGE."""
    entered: dict[int, int] = field(default_factory=dict)
    """Epoch to the highest view that it may have entered."""
    entering: list[Start] = field(default_factory=list)
    """What it enters in the turn under way, unless it leaves for a later view before."""
    prepares: list[tuple[Ballot, int]] = field(default_factory=list)
    """Its PREPAREs of the turn under way, and the height of its newest block at each."""
    blocks: dict[bytes, None] = field(default_factory=dict)
    """Digests of the blocks whose bodies its disk holds."""
    tip: int = 0
    """Height of the newest block it committed, as of its last whole turn."""
    final_height: Callable[[], int] = lambda: 0
    """The same, in the middle of a turn too."""
    decided: dict[int, bytes] = field(default_factory=dict)
    """Blocks above its newest that it was sent certificates for, by height, in this epoch and
    life."""
    awaited: tuple[bytes, int] = (b"", 0)
    """The next block, where that is among them, and since when (us)."""

    def bind(self, statement: Statement) -> None:
        """Hold it to what it signed, for ever."""
        if isinstance(statement, Leaving):
            left_for = self.left_for.get(statement.epoch, 0)
            self.left_for[statement.epoch] = max(left_for, statement.view)
        elif isinstance(statement, Ballot) and statement.phase == Phase.COMMIT:
            place = (statement.epoch, statement.height)
            self.commits[place] = max(self.commits.get(place, -1), statement.view)

    def highest_left(self, epoch: int, but: Leaving | None = None) -> int:
        """Return the highest view of an epoch that it has left all others for."""
        leaving = [
            statement.view
            for statement in self.volatile.values()
            if isinstance(statement, Leaving) and statement.epoch == epoch and statement is not but
        ]
        return max([self.left_for.get(epoch, 0), *leaving])

    def hidden_by(self, leaving: Leaving, base: int) -> tuple[int, int] | None:
        """Return height and view of a COMMIT that a VIEW-CHANGE hides, in an epoch above `base`."""
        shown = dict(leaving.shown)
        tip = max(leaving.tip, base)
        for (epoch, height), view in self.commits.items():
            if epoch == leaving.epoch and height > tip and shown.get(height, -1) < view:
                return height, view
        return None

    def note_decided(self, height: int, digest: bytes, window_slots: int) -> None:
        """Take note of a certificate that it keeps, as it is not far ahead."""
        if self.tip < height <= self.tip + window_slots:
            self.decided[height] = digest

    def waits_us(self, now_us: int) -> int:
        """Return for how long it has had no bodies for the next block, though it is decided.

        COMMITs alone make nobody wait: they count where the block is held and executed.
        """
        digest = self.decided.get(self.tip + 1, b"")
        awaited, since_us = self.awaited
        if not digest or awaited != digest:
            self.awaited = (digest, now_us)
            return 0
        return now_us - since_us

    def starts_over(self) -> None:
        """Forget what was only heard."""
        self.decided, self.awaited = {}, (b"", 0)
