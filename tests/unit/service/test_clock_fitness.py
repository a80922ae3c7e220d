"""When a clock is fit, 1 ms to both sides of each bound, by each of its witnesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from node.chain.genesis import Parameters
from node.chain.time_rules import UnfitCause
from node.consensus.events import Now
from node.service.clock_fitness import (
    DAEMON_WORD_MS,
    JUDGED_EVERY_MS,
    PEER_WORD_MS,
    STEP_REMEMBERED_MS,
    ClockFitness,
    DaemonReading,
)

UTC_MS = 1_700_000_000_000
EPS_MS = Parameters().clock_error_ms
PRECISION_MS = Parameters().precision_ms
LEAST_MS = Parameters().message_delay_ms + PRECISION_MS
SECOND_MS = 1_000
SOUND = DaemonReading(
    daemon="chrony",
    is_synchronised=True,
    offset_us=1_000,
    root_dispersion_us=2_000,
    root_delay_us=10_000,
    sources=4,
)


class Bench:
    """A clock under judgement, and the time."""

    def __init__(self, *, testnet: bool = True, faults: int = 1) -> None:
        self.fitness = ClockFitness(testnet=testnet)
        self.fitness.begin(Parameters(), faults)
        self.mono_ms, self.utc_ms = 5_000_000, UTC_MS
        self.fitness.observe(Now(self.mono_ms, self.utc_ms))

    def last(self, duration_ms: int, *, clock_ms: int | None = None) -> Bench:
        """Let time pass, and the clock move as far or by `clock_ms`."""
        self.mono_ms += duration_ms
        self.utc_ms += duration_ms if clock_ms is None else clock_ms
        self.fitness.observe(Now(self.mono_ms, self.utc_ms))
        return self

    def hear(self, offsets_ms: Sequence[int], times: int = 3) -> Bench:
        """Hear votes of peers whose clocks are so far off this one, a second apart."""
        for _ in range(times):
            self.last(SECOND_MS)
            for peer, offset_ms in enumerate(offsets_ms):
                self.fitness.note_peer(peer, self.utc_ms + offset_ms, self.utc_ms)
        return self

    def cause(self) -> UnfitCause:
        self.last(JUDGED_EVERY_MS)
        verdict = self.fitness.judge()
        assert verdict.is_fit == (verdict.cause is UnfitCause.NONE)
        assert bool(verdict.detail) != verdict.is_fit
        return verdict.cause


# ---------------------------------------------------------------------- the clocks themselves


@pytest.mark.parametrize(
    ("moved_ms", "cause"),
    [
        (EPS_MS, UnfitCause.NONE),
        (EPS_MS + 1, UnfitCause.STEPPED),
        (-EPS_MS, UnfitCause.NONE),
        (-EPS_MS - 1, UnfitCause.STEPPED),
        (3_600_000, UnfitCause.STEPPED),
        (-1_000, UnfitCause.STEPPED),
    ],
)
def test_a_clock_that_moves_otherwise_than_time_was_stepped(
    moved_ms: int, cause: UnfitCause
) -> None:
    assert Bench().last(10, clock_ms=10 + moved_ms).cause() is cause


def test_a_step_is_known_at_once() -> None:
    bench = Bench()
    assert bench.fitness.judge().is_fit
    assert not bench.last(1, clock_ms=10_001).fitness.judge().is_fit


@pytest.mark.parametrize(("short_ms", "cause"), [(1, UnfitCause.STEPPED), (0, UnfitCause.NONE)])
def test_a_step_is_held_against_a_clock_for_a_minute(short_ms: int, cause: UnfitCause) -> None:
    bench = Bench().last(1, clock_ms=10_001)
    assert bench.last(STEP_REMEMBERED_MS - short_ms - JUDGED_EVERY_MS).cause() is cause


@pytest.mark.parametrize("ppm", [500, -500, 12])
def test_a_clock_that_drifts_or_is_smeared_for_a_day_is_no_clock_that_was_stepped(
    ppm: int,
) -> None:
    """500 ppm is what a daemon slews by; 12 smear a leap second over a day."""
    bench = Bench()
    for _ in range(1_440):
        bench.last(60_000, clock_ms=60_000 + 60_000 * ppm // 1_000_000)
    assert bench.cause() is UnfitCause.NONE


def test_an_idle_hour_or_a_process_that_did_not_run_is_no_step() -> None:
    assert Bench().last(3_600_000).cause() is UnfitCause.NONE


# ---------------------------------------------------------------------- the time daemon


@pytest.mark.parametrize(
    ("reading", "cause"),
    [
        (SOUND, UnfitCause.NONE),
        (None, UnfitCause.NO_SOURCE),
        (replace(SOUND, is_synchronised=False), UnfitCause.UNSYNCHRONISED),
        (replace(SOUND, sources=2), UnfitCause.FEW_SOURCES),
        (replace(SOUND, sources=3), UnfitCause.NONE),
        (replace(SOUND, offset_us=42_999), UnfitCause.NONE),
        (replace(SOUND, offset_us=43_000), UnfitCause.INACCURATE),
        (replace(SOUND, offset_us=-43_000), UnfitCause.INACCURATE),
        (replace(SOUND, root_dispersion_us=44_000), UnfitCause.INACCURATE),
        (replace(SOUND, root_delay_us=94_000), UnfitCause.INACCURATE),
    ],
)
def test_what_the_time_daemon_must_say(reading: DaemonReading | None, cause: UnfitCause) -> None:
    bench = Bench(testnet=False)
    bench.fitness.note_daemon(reading)
    assert bench.cause() is cause
    trial = Bench(testnet=True)
    trial.fitness.note_daemon(reading)
    assert trial.cause() is UnfitCause.NONE, "for a trial the word of its peers is enough"


@pytest.mark.parametrize(("short_ms", "cause"), [(1, UnfitCause.NONE), (0, UnfitCause.NO_SOURCE)])
def test_a_time_daemon_that_answers_no_more_counts_no_more(
    short_ms: int, cause: UnfitCause
) -> None:
    bench = Bench(testnet=False)
    bench.fitness.note_daemon(SOUND)
    bench.last(DAEMON_WORD_MS - short_ms - JUDGED_EVERY_MS)
    bench.fitness.note_daemon(None)
    assert bench.cause() is cause


def test_a_judgement_stands_for_a_tenth_of_a_second() -> None:
    bench = Bench(testnet=False)
    assert bench.cause() is UnfitCause.NO_SOURCE
    bench.fitness.note_daemon(SOUND)
    bench.last(JUDGED_EVERY_MS - 1)
    assert bench.fitness.judge().cause is UnfitCause.NO_SOURCE
    bench.last(1)
    assert bench.fitness.judge().cause is UnfitCause.NONE


def test_a_day_without_sources_ends_before_the_error_is_exceeded() -> None:
    """A daemon that lost its sources says how its error grows: by 15 ppm, as chrony reckons."""
    bench = Bench(testnet=False)
    for hour in range(24):
        dispersion_us = 2_000 + hour * 3_600 * 15
        bench.fitness.note_daemon(replace(SOUND, root_dispersion_us=dispersion_us))
        is_within = 1_000 + dispersion_us + 5_000 < EPS_MS * 1_000
        assert bench.cause() is (UnfitCause.NONE if is_within else UnfitCause.INACCURATE)
        bench.last(3_600_000)
    assert not is_within


# ---------------------------------------------------------------------- the peers


@pytest.mark.parametrize(
    ("offsets_ms", "cause"),
    [
        ((PRECISION_MS, PRECISION_MS, 0), UnfitCause.NONE),
        ((PRECISION_MS + 1, PRECISION_MS + 1, 0), UnfitCause.BEHIND),
        ((PRECISION_MS + 1, 0, 0), UnfitCause.NONE),
        ((3_600_000, 0, 0), UnfitCause.NONE),  # one may lie
        ((-LEAST_MS, -LEAST_MS, 0), UnfitCause.NONE),
        ((-LEAST_MS - 1, -LEAST_MS - 1, 0), UnfitCause.AHEAD),
        ((-3_600_000, 0, 0), UnfitCause.NONE),
        ((-3_600_000,) * 3, UnfitCause.AHEAD),
        ((3_600_000, -3_600_000, 0), UnfitCause.NONE),  # that two disagree, each otherwise
    ],
)
def test_one_more_than_f_peers_tell_of_a_clock(
    offsets_ms: tuple[int, ...], cause: UnfitCause
) -> None:
    assert Bench().hear(offsets_ms).cause() is cause


def test_the_vote_that_was_least_delayed_tells() -> None:
    bench = Bench().hear((-5_000, -5_000), times=2)
    assert bench.cause() is UnfitCause.AHEAD
    assert bench.hear((-10, -10), times=1).cause() is UnfitCause.NONE


def test_what_was_signed_long_ago_and_is_sent_again_proves_nothing() -> None:
    bench = Bench()
    signed_ms = bench.utc_ms - 60_000
    for repetition in range(20):
        bench.last(500)
        for peer in range(3):  # a vote again and again, and others that were kept as well
            bench.fitness.note_peer(peer, signed_ms, bench.utc_ms)
            bench.fitness.note_peer(peer, signed_ms + repetition, bench.utc_ms)
    assert bench.cause() is UnfitCause.NONE


def test_what_peers_said_of_a_clock_is_void_once_it_is_stepped() -> None:
    bench = Bench().hear((-3_600_000,) * 3)
    assert bench.cause() is UnfitCause.AHEAD
    bench.last(1, clock_ms=1 - 3_600_000)
    assert bench.cause() is UnfitCause.STEPPED
    assert bench.last(STEP_REMEMBERED_MS).cause() is UnfitCause.NONE
    assert bench.hear((-5, -5, -5)).cause() is UnfitCause.NONE


@pytest.mark.parametrize(("short_ms", "cause"), [(1, UnfitCause.AHEAD), (0, UnfitCause.NONE)])
def test_the_word_of_peers_holds_while_the_chain_is_idle_and_not_for_ever(
    short_ms: int, cause: UnfitCause
) -> None:
    bench = Bench().hear((-3_600_000,) * 3)
    assert bench.last(PEER_WORD_MS - short_ms - JUDGED_EVERY_MS).cause() is cause


def test_a_vote_that_was_little_delayed_tells_for_ten_to_twenty_seconds() -> None:
    bench = Bench().hear((-10, -10), times=1).hear((-5_000, -5_000), times=19)
    assert bench.cause() is UnfitCause.NONE
    assert bench.hear((-5_000, -5_000), times=1).cause() is UnfitCause.AHEAD


def test_that_votes_were_new_counts_no_longer_than_they_do() -> None:
    bench = Bench().hear((-5_000, -5_000))
    assert bench.cause() is UnfitCause.AHEAD
    signed_ms = bench.utc_ms - 5_000 - JUDGED_EVERY_MS  # that of the last
    for _ in range(21):
        bench.last(SECOND_MS)
        for peer in range(2):
            bench.fitness.note_peer(peer, signed_ms, bench.utc_ms)
    assert bench.cause() is UnfitCause.NONE


@pytest.mark.parametrize(
    ("apart_ms", "signed_apart_ms", "cause"),
    [
        (200, 200, UnfitCause.AHEAD),
        (199, 199, UnfitCause.NONE),
        (1_000, 500, UnfitCause.AHEAD),
        (1_000, 499, UnfitCause.NONE),
        (1_000, 1_500, UnfitCause.AHEAD),
        (1_000, 1_501, UnfitCause.NONE),
    ],
)
def test_votes_are_new_whose_times_advance_as_fast_as_they_come(
    apart_ms: int, signed_apart_ms: int, cause: UnfitCause
) -> None:
    bench = Bench().hear((-5_000, -5_000), times=1)
    signed_ms = bench.utc_ms - 5_000 + signed_apart_ms
    bench.last(apart_ms)
    for peer in range(2):
        bench.fitness.note_peer(peer, signed_ms, bench.utc_ms)
    assert bench.cause() is cause


def test_peers_are_told_in_their_order() -> None:
    bench = Bench()
    for _ in range(3):
        bench.last(SECOND_MS)
        for peer in (2, 0, 1):
            bench.fitness.note_peer(peer, bench.utc_ms + PRECISION_MS + 1 + peer, bench.utc_ms)
    bench.last(JUDGED_EVERY_MS)
    assert bench.fitness.judge().detail.endswith("0: 101 ms, 1: 102 ms, 2: 103 ms")


def test_what_peers_said_in_an_epoch_is_void_in_the_next() -> None:
    bench = Bench().hear((-700, -700))
    assert bench.cause() is UnfitCause.AHEAD
    bench.fitness.begin(Parameters(), 1)
    assert bench.cause() is UnfitCause.NONE


def test_an_epoch_brings_other_peers_and_bounds() -> None:
    bench = Bench().hear((-700, -700))
    assert bench.cause() is UnfitCause.AHEAD
    bench.fitness.begin(Parameters(message_delay_ms=700), 1)
    assert bench.cause() is UnfitCause.NONE
    assert bench.hear((-700, -700)).cause() is UnfitCause.NONE
    bench.fitness.begin(Parameters(), 2)
    assert bench.hear((-700, -700)).cause() is UnfitCause.NONE
    assert bench.hear((-700, -700, -700)).cause() is UnfitCause.AHEAD
