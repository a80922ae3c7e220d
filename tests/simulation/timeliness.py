"""When a proposal has to have come: the one rule of voting that rests on the voter's own clock.

- G6 PREPARE for a proposal of another: its T is at most PRECISION ahead of the voter's clock when
  it came, and at most D + PRECISION behind, unless it is degraded. D grows by a tenth, rounded up,
  with each view that failed: those since the one that the newest block was decided in, or since
  one that began on schedule, up to what keeps T as accurate as promised.

What counts is when it came first, in this life and after its view had begun: what comes again is
judged as it was. Another copy, or one of an epoch or a height so far ahead that it may not have
been kept, may be what it was taken by. D is that of when it was accepted, which nobody tells; but
nothing is accepted before it came, nor before what it stands on was accepted or final, nor further
above the newest block than the window. From the newest block at that time to the one at the
PREPARE, the most that D was is what the voter is held to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from node.chain.genesis import Parameters
from tests.simulation.guard import Ballot, Guard


class Arrival(NamedTuple):
    """A proposal was delivered."""

    peer: int
    """By whom."""
    clock_ms: int
    """UTC by the clock of who it was delivered to."""
    true_ms: int | None
    """UTC, unless that clock was set wrong."""
    tip: int
    """The height of that validator's newest block."""


@dataclass(slots=True)
class _Past:
    """What one validator knows that tells how late a proposal may come."""

    decided_in: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Height to epoch and view of the certificate of each block it committed."""
    on_schedule: dict[tuple[int, int], None] = field(default_factory=dict)
    """Epoch and number of each view that began on schedule and that it was in, in this life."""
    arrivals: dict[Ballot, list[Arrival]] = field(default_factory=dict)
    """Of proposals since it started, each as the PREPARE for it."""
    taken: dict[tuple[Ballot, bytes], None] = field(default_factory=dict)
    """The messages among them that were not overlooked: they may come again, and are not new."""
    prepared: dict[Ballot, None] = field(default_factory=dict)
    """What it signed PREPARE for."""
    restored: dict[Ballot, None] = field(default_factory=dict)
    """What it did so in an earlier life: that is accepted from its start on."""


class Timeliness:
    """Knows when each validator was given what. Objections are texts, empty for none."""

    def __init__(self, guard: Guard) -> None:
        """`guard` knows what views start from, and what proposals stand on."""
        self._guard = guard
        self._parameters: dict[int, Parameters] = {}
        self._pasts: dict[int, _Past] = {}

    def begin(self, epoch: int, parameters: Parameters) -> None:
        """Take note of what is in force in an epoch."""
        self._parameters[epoch] = parameters

    def started(self, validator: int) -> None:
        """Take note that a validator knows nothing but what its disk holds."""
        past = self._pasts.setdefault(validator, _Past())
        past.on_schedule, past.arrivals, past.taken = {}, {}, {}
        past.restored |= past.prepared
        past.prepared = {}

    def committed(self, validator: int, height: int, epoch: int, view: int) -> None:
        """Take note of the view in which a validator's new block was decided."""
        self._pasts[validator].decided_in[height] = (epoch, view)

    def came(
        self, validator: int, ballot: Ballot, data: bytes, arrival: Arrival, *, is_taken: bool
    ) -> None:
        """Take note that a proposal was delivered in a message, which is surely taken or may be."""
        past = self._pasts[validator]
        if (ballot, data) in past.taken:
            return
        past.arrivals.setdefault(ballot, []).append(arrival)
        if is_taken:
            past.taken[ballot, data] = None

    def may_enter_view(self, validator: int) -> None:
        """Take note that a validator may begin a view: what came before it may come anew."""
        self._pasts[validator].taken = {}

    def starts_over(self, validator: int) -> None:
        """Take note that a validator begins an epoch, or as a member what it only followed."""
        past = self._pasts[validator]
        past.taken, past.on_schedule = {}, {}

    def was_in_on_schedule(self, validator: int, epoch: int, view: int) -> None:
        """Take note that a validator was in a view that began on schedule."""
        self._pasts[validator].on_schedule[epoch, view] = None

    def prepared(self, validator: int, ballot: Ballot) -> None:
        """Take note that a validator accepted something, be it new or carried over."""
        self._pasts[validator].prepared[ballot] = None

    def object_to(self, validator: int, ballot: Ballot, time_ms: int, tip: int) -> str:
        """Judge a PREPARE, signed when `tip` was the voter's newest block, for what is new."""
        arrivals = self._pasts[validator].arrivals.get(ballot, ())
        precision_ms = self._parameters[ballot.epoch].precision_ms
        for arrival in arrivals:
            least = min(self._tip_min(validator, ballot, arrival), tip)
            failed = self._failed_views_max(validator, ballot, range(least, tip + 1))
            latest_ms = time_ms + self._delay_ms(ballot.epoch, failed) + precision_ms
            if time_ms - precision_ms <= arrival.clock_ms <= latest_ms:
                return ""
        return f"G6: T is {time_ms}, and it came at {[each.clock_ms for each in arrivals]}"

    def _tip_min(self, validator: int, ballot: Ballot, arrival: Arrival, known_min: int = 0) -> int:
        """Return the least that the newest block can have been when a proposal was accepted.

        Or any less, where that is not above `known_min`: the caller knows as much already.
        """
        past, starts = (
            self._pasts[validator],
            self._guard.starts(validator, ballot.epoch, ballot.view),
        )
        base = max((start.base for start in starts), default=0)
        window_low = ballot.height - self._parameters[ballot.epoch].window_slots
        tip = arrival.tip if window_low <= base else max(arrival.tip, window_low)
        known_min = max(known_min, tip)
        if ballot.height - 1 <= known_min:
            return tip  # what it stands on can tell no more
        parent = self._guard.parent_of(ballot.digest)
        below = ballot._replace(height=ballot.height - 1, digest=parent)
        is_given = below.height <= base or self._guard.is_carried(validator, below)
        if is_given or below in past.restored:
            return tip
        came = past.arrivals.get(below, ())
        accepted = [self._tip_min(validator, below, each, known_min) for each in came]
        return max(tip, min([below.height, *accepted]))

    def _failed_views_max(self, validator: int, ballot: Ballot, tips: range) -> int:
        past = self._pasts[validator]
        decided_in = [past.decided_in.get(height, (ballot.epoch, 0)) for height in tips]
        views = [view if epoch == ballot.epoch else 0 for epoch, view in decided_in]
        rotated = [
            view
            for epoch, view in past.on_schedule
            if epoch == ballot.epoch and view <= ballot.view
        ]
        return ballot.view - max([min(views), *rotated])

    def _delay_ms(self, epoch: int, failed_views: int) -> int:
        parameters = self._parameters[epoch]
        most_ms = parameters.accuracy_ms - parameters.precision_ms - parameters.clock_error_ms
        delay_ms = parameters.message_delay_ms
        for _ in range(failed_views):
            if delay_ms >= most_ms:
                return most_ms
            delay_ms += -(-delay_ms // 10)
        return min(delay_ms, most_ms)
