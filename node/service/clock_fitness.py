"""Whether this validator's clock is fit to vouch for T: a judgement of readings, no IO.

Three witnesses. The clocks themselves: UTC that moves otherwise than the monotonic clock was
stepped. The time daemon, where one answers: what it states as its error has to stay below the clock
error of the parameters. The other validators, always: each vote signs its own time. One of them may
be wrong or lie, so more than f have to disagree. A vote that comes late seems to be from the past,
so a clock that is behind is told by any vote, one that is ahead only by votes whose times advance
as fast as they come: what was signed long ago and is sent again does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from node.chain.genesis import Parameters
from node.chain.time_rules import UnfitCause
from node.consensus.events import Now

SOURCES_MIN: Final = 3
"""So many sources have to agree, that one of them may be wrong."""
STEP_REMEMBERED_MS: Final = 60_000
"""How long after a step a clock is not trusted."""
DAEMON_WORD_MS: Final = 60_000
"""How long a reading of the time daemon counts."""
PEER_WORD_MS: Final = 600_000
"""How long what a peer's votes said counts; no vote comes while the chain is idle."""
JUDGED_EVERY_MS: Final = 100
DRIFT_PPM_MAX: Final = 1_000
"""So fast a clock may be slewed; what is more is a step."""
_PAIR_APART_MS: Final = 200
_PAIR_JITTER_MS: Final = 500
"""How much the delays of two votes of a peer may differ, for their times to count as new."""
_WINDOW_MS: Final = 10_000
_NEVER_MS: Final = -(1 << 62)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A cause, and the figures it rests on in English."""

    cause: UnfitCause
    detail: str = ""

    @property
    def is_fit(self) -> bool:
        """Whether T may rest on this clock."""
        return self.cause is UnfitCause.NONE


FIT: Final = Judgement(UnfitCause.NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonReading:
    """What a time daemon says of its clock, microseconds."""

    daemon: str
    """Its name, for people."""
    is_synchronised: bool
    offset_us: int
    """How far the system clock is off what it follows."""
    root_dispersion_us: int
    root_delay_us: int
    """The round trip to the reference clock."""
    sources: int
    """How many of its sources agree with each other."""

    @property
    def error_us(self) -> int:
        """How far the clock may be off true time by the daemon's own reckoning."""
        return abs(self.offset_us) + self.root_dispersion_us + self.root_delay_us // 2


def judge_reading(reading: DaemonReading | None, clock_error_ms: int) -> Judgement:
    """Say whether a clock is fit by what its time daemon says; None where no daemon answers."""
    if reading is None:
        return Judgement(UnfitCause.NO_SOURCE, "neither chrony nor ntpd answers")
    if not reading.is_synchronised:
        return Judgement(UnfitCause.UNSYNCHRONISED, f"{reading.daemon} follows no source")
    if reading.sources < SOURCES_MIN:
        return Judgement(
            UnfitCause.FEW_SOURCES,
            f"{reading.sources} sources of {reading.daemon} agree, {SOURCES_MIN} are needed",
        )
    if reading.error_us >= clock_error_ms * 1_000:
        return Judgement(
            UnfitCause.INACCURATE,
            f"{reading.daemon} may be off by {reading.error_us} us, less than {clock_error_ms} ms "
            f"is needed: offset {reading.offset_us}, dispersion {reading.root_dispersion_us}, "
            f"delay {reading.root_delay_us}",
        )
    return FIT


@dataclass(slots=True)
class _Witness:
    """What the votes of one peer showed."""

    last: tuple[int, int] | None = None
    """Arrival (UTC here) and signed time of the vote that later ones are compared with."""
    heard_ms: int = _NEVER_MS
    """When (monotonic) the newest vote came."""
    window_ms: int = _NEVER_MS
    """When (monotonic) the present window began."""
    nearest: list[int | None] = field(default_factory=lambda: [None, None])
    """Of this window and the one before: peer's clock less own, of the vote least delayed."""
    current: list[int | None] = field(default_factory=lambda: [None, None])
    """The same of votes that are known to be new."""


class ClockFitness:
    """Judges one clock. `observe` tells it the time: all ages are reckoned from there."""

    def __init__(self, *, testnet: bool) -> None:
        """Begin with a clock that nobody has objected to; `testnet`: its peers' word suffices."""
        self._testnet = testnet
        self._parameters, self._faults = Parameters(), 0
        self._last: Now | None = None
        self._stepped_at_ms, self._step_ms = _NEVER_MS, 0
        self._daemon: DaemonReading | None = None
        self._daemon_at_ms = _NEVER_MS
        self._witnesses: dict[int, _Witness] = {}
        self._judged: Judgement | None = None
        self._judged_at_ms = _NEVER_MS

    def begin(self, parameters: Parameters, faults: int) -> None:
        """Go by the parameters and the number of faulty validators of another epoch."""
        self._parameters, self._faults = parameters, faults
        self._witnesses.clear()

    # ------------------------------------------------------------------ what is seen

    def observe(self, now: Now) -> None:
        """Take a reading of both clocks, of which the monotonic one stands still for nothing."""
        last, self._last = self._last, now
        if last is None:
            return
        elapsed_ms = now.monotonic_ms - last.monotonic_ms
        moved_ms = now.utc_ms - last.utc_ms - elapsed_ms
        slewed_ms = elapsed_ms * DRIFT_PPM_MAX // 1_000_000
        if abs(moved_ms) > self._parameters.clock_error_ms + slewed_ms:
            self._stepped_at_ms, self._step_ms = now.monotonic_ms, moved_ms
            self._witnesses.clear()  # they were compared with another clock
            self._judged = None

    def note_daemon(self, reading: DaemonReading | None) -> None:
        """Take what the time daemon says; None where none answers, which counts after a while."""
        if reading is not None:
            self._daemon, self._daemon_at_ms = reading, self._now_ms

    def note_peer(self, peer: int, signed_ms: int, arrival_ms: int) -> None:
        """Take the time that a validator signed with a vote, which came at `arrival_ms` UTC."""
        witness = self._witnesses.get(peer)
        if witness is None:
            witness = self._witnesses[peer] = _Witness()
        now_ms = self._now_ms
        if now_ms - witness.window_ms >= _WINDOW_MS:
            witness.window_ms = now_ms
            witness.nearest = [None, witness.nearest[0]]
            witness.current = [None, witness.current[0]]
        witness.heard_ms = now_ms
        offset_ms = signed_ms - arrival_ms
        _raise_to(witness.nearest, offset_ms)
        if witness.last is None:
            witness.last = (arrival_ms, signed_ms)
            return
        came_ms, was_ms = arrival_ms - witness.last[0], signed_ms - witness.last[1]
        if came_ms < _PAIR_APART_MS:
            return
        if was_ms and abs(was_ms - came_ms) <= _PAIR_JITTER_MS:
            _raise_to(witness.current, offset_ms)
        witness.last = (arrival_ms, signed_ms)

    # ------------------------------------------------------------------ the judgement

    @property
    def daemon(self) -> DaemonReading | None:
        """What the time daemon said, while that counts."""
        is_recent = self._now_ms - self._daemon_at_ms < DAEMON_WORD_MS
        return self._daemon if is_recent else None

    def judge(self) -> Judgement:
        """Return whether the clock is fit by all that is known, and if not the first reason.

        A step is told at once, all else within `JUDGED_EVERY_MS`: this is asked in every turn.
        """
        if self._judged is None or self._now_ms - self._judged_at_ms >= JUDGED_EVERY_MS:
            verdicts = (self._by_itself(), self._by_daemon(), self._by_peers())
            self._judged = next((each for each in verdicts if not each.is_fit), FIT)
            self._judged_at_ms = self._now_ms
        return self._judged

    def _by_itself(self) -> Judgement:
        if self._now_ms - self._stepped_at_ms >= STEP_REMEMBERED_MS:
            return FIT
        ago_s = (self._now_ms - self._stepped_at_ms) // 1_000
        return Judgement(UnfitCause.STEPPED, f"it was stepped by {self._step_ms} ms {ago_s} s ago")

    def _by_daemon(self) -> Judgement:
        if self._testnet:
            return FIT
        return judge_reading(self.daemon, self._parameters.clock_error_ms)

    def _by_peers(self) -> Judgement:
        parameters = self._parameters
        most_ms = parameters.precision_ms
        least_ms = -(parameters.message_delay_ms + parameters.precision_ms)
        recent = [
            (peer, witness)
            for peer, witness in sorted(self._witnesses.items())
            if self._now_ms - witness.heard_ms < PEER_WORD_MS
        ]
        behind = {
            peer: offset_ms
            for peer, witness in recent
            if (offset_ms := _highest(witness.nearest)) is not None and offset_ms > most_ms
        }
        ahead = {
            peer: offset_ms
            for peer, witness in recent
            if (offset_ms := _highest(witness.nearest)) is not None
            and offset_ms < least_ms
            and _highest(witness.current) is not None
        }
        for cause, found in ((UnfitCause.BEHIND, behind), (UnfitCause.AHEAD, ahead)):
            if len(found) > self._faults:
                said = ", ".join(f"{peer}: {offset_ms} ms" for peer, offset_ms in found.items())
                return Judgement(cause, f"the clocks of validators less this one: {said}")
        return FIT

    @property
    def _now_ms(self) -> int:
        return 0 if self._last is None else self._last.monotonic_ms


def _raise_to(windows: list[int | None], offset_ms: int) -> None:
    highest_ms = windows[0]
    if highest_ms is None or offset_ms > highest_ms:
        windows[0] = offset_ms


def _highest(windows: list[int | None]) -> int | None:
    return max((each for each in windows if each is not None), default=None)
