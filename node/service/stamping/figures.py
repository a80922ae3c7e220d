"""What the stamp desk counts: requests, what became of them, and how long tokens took."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from node.timestamp.tokens.request import Failure

LATENCY_S: Final = (
    0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0
)  # fmt: skip
"""Upper ends of the ranges that latencies until finality are counted in."""

OVER_QUOTA: Final = "quota"
"""Why a client is refused that asks too often: of the named failures there is none for that."""
_MS_PER_S: Final = 1_000


def reason_of(failure: Failure) -> str:
    """Return the name under which refusals for a failure are counted."""
    return failure.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class StampTerms:
    """Until when a node can stamp time, in ms since 1970 UTC."""

    certificate_ends_ms: int
    """Of the last of its certificates for time-stamping to end."""
    identity: str = ""
    """Under which it records requests; empty where it takes none."""
    identity_ends_ms: int = 0
    """By the chain's state; 0 where the chain does not know that identity."""


@dataclass(slots=True)
class StampFigures:
    """Since the start, but for `waiting`. Written on the event loop, read from any thread."""

    requests: int = 0
    granted: int = 0
    waiting: int = 0
    """Requests whose records are not final yet."""
    transactions: int = 0
    """That record requests, which share them."""
    refused: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((OVER_QUOTA, *map(reason_of, Failure)), 0)
    )
    """By reason; every one is there from the start, so that a rate of none is known to be none."""
    latency_ms: int = 0
    """Of all that were granted, together."""
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_S) + 1))
    """How many took at most each of `LATENCY_S` and more than the one before; those beyond last."""

    def grant(self, latency_ms: int) -> None:
        """Note a token that left, so long after its request came."""
        self.granted += 1
        self.latency_ms += latency_ms
        self.latency_counts[bisect_left(LATENCY_S, latency_ms / _MS_PER_S)] += 1

    def refuse(self, reason: str) -> None:
        """Note a request that got no token."""
        self.refused[reason] += 1
