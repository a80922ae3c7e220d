"""What the machine's time daemon says of its clock: chrony or ntpd, asked by their own programs.

`chronyc` and `ntpq` speak the daemons' protocols, of which the one of chrony is not documented for
others. They are asked now and then, as processes off the event loop, within bounds on time and on
what they may print; whatever else comes counts as no answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Final

from node.service.clock_fitness import ClockFitness, DaemonReading

ASKED_EVERY_MS: Final = 16_000
ANSWER_MS: Final = 3_000
ANSWER_BYTES_MAX: Final = 65_536
_US_PER_S: Final = 1_000_000
_US_PER_MS: Final = 1_000
_NOT_SYNCHRONISED: Final = "Not synchronised"
_CHRONY_AGREEING: Final = ("*", "+", "-")
"""The states of sources that are reachable and no falsetickers."""
_NTPD_AGREEING: Final = ("*", "+", "-", "o", "#")
_NTPD_LEAP_UNKNOWN: Final = ("11", "leap_alarm", "3")
_FIGURES_MAX: Final = Decimal(10) ** 9

Run = Callable[[Sequence[str]], Awaitable[str | None]]
"""Runs a command; what it printed, or None where that is no answer."""


async def watch_time_daemon(fitness: ClockFitness) -> None:
    """Ask the time daemon now and then, for ever, and tell `fitness` what it says."""
    while True:
        fitness.note_daemon(await read_time_daemon())
        await asyncio.sleep(ASKED_EVERY_MS / 1_000)


async def read_time_daemon(run: Run | None = None) -> DaemonReading | None:
    """Return what chrony says, else what ntpd says; None where neither answers."""
    ask = run_briefly if run is None else run
    tracking = await ask(("chronyc", "-n", "-c", "tracking"))
    if tracking is not None:
        sources = await ask(("chronyc", "-n", "-c", "sources"))
        reading = chrony_reading(tracking, sources or "")
        if reading is not None:
            return reading
    variables = await ask(("ntpq", "-c", "rv 0 leap,offset,rootdelay,rootdisp"))
    if variables is None:
        return None
    return ntpd_reading(variables, await ask(("ntpq", "-n", "-c", "peers")) or "")


def chrony_reading(tracking: str, sources: str) -> DaemonReading | None:
    """Read `chronyc -n -c tracking` and `sources`: comma-separated, seconds; None if malformed."""
    fields = tracking.strip().split(",")
    if len(fields) != 14:  # noqa: PLR2004 - reference, name, stratum, ... leap status
        return None
    figures = [_scaled(fields[place], _US_PER_S) for place in (4, 11, 10)]
    if None in figures:
        return None
    offset_us, dispersion_us, delay_us = (figure or 0 for figure in figures)
    states = [line.split(",")[1] for line in sources.splitlines() if line.count(",") > 1]
    return DaemonReading(
        daemon="chrony",
        is_synchronised=fields[13] != _NOT_SYNCHRONISED,
        offset_us=offset_us,
        root_dispersion_us=dispersion_us,
        root_delay_us=delay_us,
        sources=sum(1 for state in states if state in _CHRONY_AGREEING),
    )


def ntpd_reading(variables: str, peers: str) -> DaemonReading | None:
    """Read `ntpq -c rv` and `ntpq -n -c peers`: milliseconds; None if malformed."""
    named = dict(
        pair.strip().split("=", 1)
        for pair in variables.replace("\n", ",").split(",")
        if pair.count("=") == 1
    )
    figures = [
        _scaled(named.get(name, ""), _US_PER_MS) for name in ("offset", "rootdisp", "rootdelay")
    ]
    if None in figures or "leap" not in named:
        return None
    offset_us, dispersion_us, delay_us = (figure or 0 for figure in figures)
    return DaemonReading(
        daemon="ntpd",
        is_synchronised=named["leap"] not in _NTPD_LEAP_UNKNOWN,
        offset_us=offset_us,
        root_dispersion_us=dispersion_us,
        root_delay_us=delay_us,
        sources=sum(1 for line in peers.splitlines() if line.startswith(_NTPD_AGREEING)),
    )


async def run_briefly(command: Sequence[str]) -> str | None:
    """Return what a command prints within bounds; None where it is missing, fails or exceeds.

    On a thread, with the library's own processes: it makes them by `vfork`. The event loop's would
    be made by `fork`, which gRPC's threads may hold up for ever.
    """
    return await asyncio.to_thread(_run, command)


def _run(command: Sequence[str]) -> str | None:
    try:
        process = subprocess.Popen(  # noqa: S603 - commands named here, without a shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    deadline = threading.Timer(ANSWER_MS / 1_000, _kill, (process,))
    deadline.start()
    with process:
        said = b"" if process.stdout is None else process.stdout.read(ANSWER_BYTES_MAX + 1)
        if len(said) > ANSWER_BYTES_MAX:
            _kill(process)
        status = process.wait()
    deadline.cancel()
    is_answer = status == 0 and len(said) <= ANSWER_BYTES_MAX
    return said.decode("ascii", "replace") if is_answer else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process, and whatever it started, which would keep its output open."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _scaled(text: str, factor: int) -> int | None:
    """Return a decimal number in microseconds, rounded away from zero; None if it is none."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number) > _FIGURES_MAX:
        return None
    scaled = number * factor
    whole = int(scaled)
    return whole if scaled == whole else whole + (1 if scaled > 0 else -1)
