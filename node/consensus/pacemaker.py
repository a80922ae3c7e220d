"""The core's timers: when a view has failed, and when to repeat what may have been lost.

Rules (OSDI'99 section 4.5, architecture section 4): the view timer runs only while work waits; the
NEW-VIEW timer only while a quorum of VIEW-CHANGEs for this view or a later one is held; both double
with each view that failed since the last commit, are capped, and start over on a commit. A view
that does not fail ends on schedule: first for its primary, which all others follow, and only if it
does not go, a timeout later for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.chain.genesis import Parameters
from node.chain.time_rules import DEGRADED_ROTATION_MS
from node.consensus.events import Now

_DOUBLINGS_MAX = 16


@dataclass(frozen=True, slots=True)
class Expired:
    """What is due."""

    view: bool
    repeat: bool
    stalled: bool
    """True when there was work, and nothing was committed, for as long as a repetition takes."""


_NOTHING = Expired(view=False, repeat=False, stalled=False)
"""What nearly every turn finds."""


class Pacemaker:
    """Deadlines on the monotonic clock, milliseconds."""

    def __init__(self, parameters: Parameters) -> None:
        """Start with nothing armed."""
        self._parameters = parameters
        self._waiting_since_ms: int | None = None
        self._busy_since_ms: int | None = None
        self._repeat_at_ms = 0
        self._progressed_at_ms = 0
        self._view_due_ms: int | None = None
        self._rotation_ms = parameters.rotation_ms
        self._begun_at_ms: int | None = None
        self._rotation_due_ms: int | None = None

    def timeout_ms(self, failed_views: int) -> int:
        """Return how long to wait for a view after `failed_views` views without a commit."""
        doubled = self._parameters.view_timeout_ms << min(max(failed_views, 0), _DOUBLINGS_MAX)
        return min(doubled, self._parameters.view_timeout_max_ms)

    def progressed(self, now: Now) -> None:
        """Note a commit: every wait starts over."""
        self._waiting_since_ms = None
        self._progressed_at_ms = now.monotonic_ms

    def left_view(self, now: Now) -> None:
        """Note that a view was left: the wait for the next one has not begun."""
        self._waiting_since_ms = self._begun_at_ms = self._rotation_due_ms = None
        self._repeat_at_ms = now.monotonic_ms + self._parameters.view_timeout_ms // 2

    def entered_view(self, *, is_degraded: bool) -> None:
        """Note that a view began; one whose blocks may be degraded ends sooner."""
        self._waiting_since_ms = self._begun_at_ms = self._rotation_due_ms = None
        parameters = self._parameters
        self._rotation_ms = parameters.rotation_ms
        if is_degraded:
            soonest_ms = max(DEGRADED_ROTATION_MS, 2 * parameters.view_timeout_max_ms)
            self._rotation_ms = min(parameters.rotation_ms, soonest_ms)

    def rotates(self, now: Now, *, is_primary: bool) -> bool:
        """Whether this view has lasted as long as it may; asked in every turn of an active view."""
        if self._begun_at_ms is None or self._rotation_due_ms is None:
            self._begun_at_ms = now.monotonic_ms
            self._rotation_due_ms = now.monotonic_ms + self._rotation_ms
            self._rotation_due_ms += 0 if is_primary else self._parameters.view_timeout_ms
        is_due = now.monotonic_ms >= self._rotation_due_ms
        if is_due:  # whoever is not free to go now is asked again
            self._rotation_due_ms = now.monotonic_ms + self._parameters.view_timeout_ms
        return is_due

    def is_rotation_near(self, now: Now) -> bool:
        """Whether half of what the view may last has passed: clocks and starts never differ so."""
        begun_at_ms = self._begun_at_ms
        half_ms = self._rotation_ms // 2
        return begun_at_ms is not None and now.monotonic_ms >= begun_at_ms + half_ms

    def run(self, now: Now, *, waiting: bool, failed_views: int, busy: bool) -> Expired:
        """Advance to `now`. `waiting`: the view timer should run; `busy`: repeat often."""
        timeout_ms = self.timeout_ms(failed_views)
        if not waiting:
            self._waiting_since_ms = None
        elif self._waiting_since_ms is None:
            self._waiting_since_ms = now.monotonic_ms
        self._view_due_ms = (
            None if self._waiting_since_ms is None else self._waiting_since_ms + timeout_ms
        )
        interval_ms = max(self._parameters.view_timeout_ms // (2 if busy else 1), 1)
        repeat = now.monotonic_ms >= self._repeat_at_ms
        if repeat:
            self._repeat_at_ms = now.monotonic_ms + interval_ms
        if not busy:
            self._busy_since_ms = None
        elif self._busy_since_ms is None:
            self._busy_since_ms = now.monotonic_ms
        stalled = self._busy_since_ms is not None and (
            now.monotonic_ms >= max(self._busy_since_ms, self._progressed_at_ms) + interval_ms
        )
        view = self._view_due_ms is not None and now.monotonic_ms >= self._view_due_ms
        if view:
            self._waiting_since_ms = None
            self._view_due_ms = None
        if view or repeat or stalled:
            return Expired(view=view, repeat=repeat, stalled=stalled)
        return _NOTHING

    @property
    def view_due_ms(self) -> int | None:
        """When (monotonic) the view, or the wait for one, counts as failed; None: never as yet."""
        return self._view_due_ms

    def waited_ms(self, now: Now) -> int | None:
        """Return for how long there was work and no commit; None while there is no work."""
        if self._busy_since_ms is None:
            return None
        return max(now.monotonic_ms - max(self._busy_since_ms, self._progressed_at_ms), 0)

    def deadline_ms(self) -> int:
        """Return the next time `run` has something to do."""
        due_ms = self._repeat_at_ms
        if self._view_due_ms is not None and self._view_due_ms < due_ms:
            due_ms = self._view_due_ms
        if self._rotation_due_ms is not None and self._rotation_due_ms < due_ms:
            due_ms = self._rotation_due_ms
        return due_ms
