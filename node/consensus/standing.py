"""Where a core stands: facts that tell a person why nothing moves. It reads, and changes nothing.

One validator's view of things, and a partial one: votes are not looked at once a quorum is certain,
so who is missing here may have voted. What several validators say together tells.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.chain.certificate import Phase
from node.consensus.core import Core
from node.consensus.events import Now
from node.consensus.state import Slot, Stage

HEIGHTS_SHOWN_MAX = 4
"""Undecided heights told: the lowest is what all others wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndecidedHeight:
    """A height above the tip about which something is known."""

    height: int
    stage: Stage
    prepares: tuple[int, ...]
    """Who is known to have sent PREPARE in this view for the header followed here, ascending."""
    commits: tuple[int, ...]
    """The same of COMMIT. Where no header is followed, the votes for any count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a core does and waits for, at one moment."""

    view: int
    view_active: bool
    """False between views: the last one was left, and `view` has not begun."""
    leaving: tuple[int, ...]
    """Between views, whose VIEW-CHANGE for this view or a later one is here, ascending."""
    view_ends_in_ms: int | None
    """When the view counts as failed; None while its timer does not run."""
    waited_ms: int | None
    """For how long there was work and no commit; None while there is no work."""
    undecided: tuple[UndecidedHeight, ...]
    """Ascending, at most `HEIGHTS_SHOWN_MAX`."""


def standing_of(core: Core, now: Now) -> Standing:
    """Return where `core` stands at `now`."""
    due_ms = core.pacemaker.view_due_ms
    heights = [height for height in sorted(core.slots) if core.stage(height) is not Stage.EMPTY]
    return Standing(
        view=core.view,
        view_active=core.view_active,
        leaving=() if core.view_active else core.leaving,
        view_ends_in_ms=None if due_ms is None else max(due_ms - now.monotonic_ms, 0),
        waited_ms=core.pacemaker.waited_ms(now),
        undecided=tuple(
            UndecidedHeight(
                height=height,
                stage=core.stage(height),
                prepares=_voters(core.slots[height], Phase.PREPARE),
                commits=_voters(core.slots[height], Phase.COMMIT),
            )
            for height in heights[:HEIGHTS_SHOWN_MAX]
        ),
    )


def _voters(slot: Slot, phase: Phase) -> tuple[int, ...]:
    votes = slot.votes(phase).values() if slot.header is None else slot.matching(phase, slot.digest)
    return tuple(sorted(vote.validator for vote in votes))
