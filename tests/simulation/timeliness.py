"""When a proposal has to have come: the one rule of voting that rests on the voter's own clock.

- G6 PREPARE for a proposal of another: its T is at most PRECISION ahead of the voter's clock when
  it came, and at most D + PRECISION behind, unless it is degraded. D grows by a tenth, rounded up,
  with each view that failed: those since the one that the newest block was decided in, or since
  one that began on schedule, up to what keeps T as accurate as promised.

A validator accepts a proposal somewhere between its arrival and its own PREPARE, so the most that
D may have been between them is what it is held to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from node.chain.genesis import Parameters
from tests.simulation.guard import Ballot


class Arrival(NamedTuple):
    """A proposal was delivered."""

    clock_ms: int
    """UTC by the clock of who it was delivered to."""
    tip: int
    """The height of that validator's newest block."""


@dataclass(slots=True)
class _Past:
    """What one validator knows that tells how late a proposal may come."""

    decided_in: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Height to epoch and view of the certificate of each block it committed."""
    on_schedule: dict[int, int] = field(default_factory=dict)
    """Epoch to the highest view it voted in, since it started, that had begun on schedule."""
    arrivals: dict[Ballot, list[Arrival]] = field(default_factory=dict)
    """Of proposals since it started, each as the PREPARE for it."""


class Timeliness:
    """Knows when each validator was given what. Objections are texts, empty for none."""

    def __init__(self) -> None:
        self._parameters: dict[int, Parameters] = {}
        self._pasts: dict[int, _Past] = {}

    def begin(self, epoch: int, parameters: Parameters) -> None:
        """Take note of what is in force in an epoch."""
        self._parameters[epoch] = parameters

    def started(self, validator: int) -> None:
        """Take note that a validator knows nothing but what its disk holds."""
        past = self._pasts.setdefault(validator, _Past())
        past.on_schedule, past.arrivals = {}, {}

    def committed(self, validator: int, height: int, epoch: int, view: int) -> None:
        """Take note of the view in which a validator's new block was decided."""
        self._pasts[validator].decided_in[height] = (epoch, view)

    def came(self, validator: int, proposals: Sequence[Ballot], arrival: Arrival) -> None:
        """Take note that proposals were delivered to a validator."""
        arrivals = self._pasts[validator].arrivals
        for ballot in proposals:
            arrivals.setdefault(ballot, []).append(arrival)

    def voted_on_schedule(self, validator: int, epoch: int, view: int) -> None:
        """Take note that a validator votes in a view that began on schedule."""
        on_schedule = self._pasts[validator].on_schedule
        on_schedule[epoch] = max(view, on_schedule.get(epoch, 0))

    def object_to(self, validator: int, ballot: Ballot, time_ms: int, tip: int) -> str:
        """Judge a PREPARE, signed when `tip` was the voter's newest block, for what is new."""
        arrivals = self._pasts[validator].arrivals.get(ballot, ())
        precision_ms = self._parameters[ballot.epoch].precision_ms
        for arrival in arrivals:
            failed = self._failed_views_max(validator, ballot, range(arrival.tip, tip + 1))
            latest_ms = time_ms + self._delay_ms(ballot.epoch, failed) + precision_ms
            if time_ms - precision_ms <= arrival.clock_ms <= latest_ms:
                return ""
        if not arrivals:
            return ""
        return f"G6: T is {time_ms}, and it came at {[each.clock_ms for each in arrivals]}"

    def _failed_views_max(self, validator: int, ballot: Ballot, tips: range) -> int:
        past = self._pasts[validator]
        decided_in = [past.decided_in.get(height, (ballot.epoch, 0)) for height in tips]
        views = [view if epoch == ballot.epoch else 0 for epoch, view in decided_in]
        return ballot.view - max(min(views), past.on_schedule.get(ballot.epoch, 0))

    def _delay_ms(self, epoch: int, failed_views: int) -> int:
        parameters = self._parameters[epoch]
        most_ms = parameters.accuracy_ms - parameters.precision_ms - parameters.clock_error_ms
        delay_ms = parameters.message_delay_ms
        for _ in range(failed_views):
            if delay_ms >= most_ms:
                return most_ms
            delay_ms += -(-delay_ms // 10)
        return min(delay_ms, most_ms)
