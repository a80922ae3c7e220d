"""The agreed-time rule: which T a primary stamps, and which T a replica calls timely.

Pure integer arithmetic on milliseconds (UTC); every clock reading is an argument. The seal time S
lives where the votes do, in `QuorumCertificate.seal_time_ms`.

The rule is proposer-based time with one difference: the tolerance grows only up to what genesis
promises, because a notary must not widen its accuracy silently (architecture section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from node.chain.genesis import Parameters

DEGRADED_ROTATION_MS = 60_000
"""So soon a view ends whose blocks may be degraded: whether clocks are sound is asked anew."""


class UnfitCause(IntEnum):
    """Why a clock is unfit. Numbers are those of the wire, never reused."""

    NONE = 0
    """It is fit."""
    STEPPED = 1
    """It moved otherwise than the monotonic clock within the last minute."""
    NO_SOURCE = 2
    """No time daemon answers, and this is no network for trials."""
    UNSYNCHRONISED = 3
    """The time daemon follows no source."""
    FEW_SOURCES = 4
    """Fewer than three of its sources agree."""
    INACCURATE = 5
    """Its offset, dispersion and half its delay together reach the clock error allowed."""
    AHEAD = 6
    """The votes of more than f peers say that it is ahead of them."""
    BEHIND = 7
    """The votes of more than f peers say that it is behind them."""


def proposal_time(parent_time_ms: int, clock_ms: int) -> int:
    """Return the T a primary stamps: its clock, but strictly after the parent's T.

    Where the parent's T is ahead of the clock, replicas whose clocks agree with this one accept the
    result only once they are within PRECISION of it.
    """
    return max(clock_ms, parent_time_ms + 1)


def is_timely(arrival_ms: int, time_ms: int, precision_ms: int, delay_ms: int) -> bool:
    """Tell whether a header stamped `time_ms` may be prepared, having arrived at `arrival_ms`.

    `arrival_ms` is the replica's clock when the header came, before anything is fetched or
    executed. Timely is [T - PRECISION, T + D + PRECISION], both ends included, D = `delay_ms`.
    """
    return time_ms - precision_ms <= arrival_ms <= time_ms + delay_ms + precision_ms


def delay_for(failed_views: int, parameters: Parameters) -> int:
    """Return D in ms after `failed_views` views without a commit.

    D starts at the message delay of genesis and grows by a tenth (rounded up) per failed view, so
    that a delay set too small cannot halt the chain, but never past the point where
    D + PRECISION + clock error would exceed the promised accuracy.
    """
    longest_ms = longest_delay(parameters)
    delay_ms = parameters.message_delay_ms
    for _ in range(failed_views):
        if delay_ms >= longest_ms:
            break
        delay_ms += (delay_ms + 9) // 10
    return min(delay_ms, longest_ms)


def longest_delay(parameters: Parameters) -> int:
    """Return where D stops to grow, ms: a header that comes later yet is a matter of clocks."""
    return parameters.accuracy_ms - parameters.precision_ms - parameters.clock_error_ms


def time_reached(clocks_ms: Sequence[int], quorum: int) -> int:
    """Return the latest time that `quorum` of these clocks have reached; there are that many."""
    return sorted(clocks_ms, reverse=True)[quorum - 1]


def degraded_time(parent_time_ms: int, reached_ms: int, clock_ms: int) -> int:
    """Return the T a primary stamps where validators do not vouch for time.

    `reached_ms`: what a quorum of the clocks carried by the view change had reached. T goes no
    further than that and than the primary's clock, or else 1 ms beyond its parent's.
    """
    return max(parent_time_ms + 1, min(reached_ms, clock_ms))


def is_degraded_time(
    time_ms: int, parent_time_ms: int, reached_ms: int, arrival_ms: int, precision_ms: int
) -> bool:
    """Tell whether a degraded block may be stamped `time_ms`: the least step, or a sober one.

    The least step, parent + 1 ms, is always one, so that no clock can stop the chain. Else a quorum
    of the clocks carried had reached T, and it is not ahead of the replica's own at `arrival_ms`.
    """
    is_sober = time_ms <= min(reached_ms, arrival_ms + precision_ms)
    return time_ms == parent_time_ms + 1 or is_sober
