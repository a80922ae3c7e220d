"""What `govchain doctor` says of clocks: of this machine's, and of validators that doubt theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from gettext import gettext as _

from node.chain.time_rules import UnfitCause
from node.cli.checkup import Finding, Level
from node.rpc.port import Diagnosis
from node.service.clock_fitness import judge_reading
from node.service.time_daemon import read_time_daemon

CLOCK_CODE = "GC-2220"
"""Of a command that fails because a validator's clock is unfit."""
CHECK = "clock fitness"


def check_clock(clock_error_ms: int, *, is_trial: bool) -> Finding:
    """Judge this machine's clock by its time daemon, as a validator here would.

    `is_trial`: its validators would go by each other's clocks alone, whatever the daemon says.
    """
    reading = asyncio.run(read_time_daemon())
    judged = judge_reading(reading, clock_error_ms)
    if reading is not None and judged.is_fit:
        detail = _("{daemon}: {error:.1f} ms off at most, {bound} ms are promised").format(
            daemon=reading.daemon, error=reading.error_us / 1_000, bound=clock_error_ms
        )
        return Finding("clock", Level.OK, detail)
    level = Level.PROBLEM
    if is_trial:
        level = Level.UNKNOWN if reading is None else Level.WARNING
    cause, fix = explain_cause(judged.cause)
    detail = _("this machine: {cause} ({detail})").format(cause=cause, detail=judged.detail)
    return Finding("clock", level, detail, fix)


def check_fitness(heard: Mapping[str, Diagnosis]) -> Iterator[Finding]:
    """Name each validator whose clock is unfit and why, and say whether time is degraded."""
    for name, said in heard.items():
        if said.clock_cause is UnfitCause.NONE:
            continue
        cause, fix = explain_cause(said.clock_cause)
        detail = _("{node}: {cause} ({detail}). It gives no vote to the time of blocks.")
        told = detail.format(node=name, cause=cause, detail=said.clock_detail)
        yield Finding(CHECK, Level.PROBLEM, told, fix)
    doubting = [name for name, said in heard.items() if said.status.time_degraded]
    if doubting:
        detail = _(
            "blocks are degraded, by the word of {nodes}: nobody vouches for their time, and no "
            "time stamps are issued"
        ).format(nodes=", ".join(doubting))
        fix = _("mend the clocks; whether time is sound is asked anew within a minute")
        yield Finding("time", Level.PROBLEM, detail, fix)


def explain_cause(cause: UnfitCause) -> tuple[str, str]:
    """Return why a clock is unfit and what to do, in the user's language."""
    causes = {
        UnfitCause.NONE: (_("its clock is fit"), ""),
        UnfitCause.STEPPED: (
            _("its clock was stepped"),
            _("wait a minute; if it goes on, see what sets the clock of its machine"),
        ),
        UnfitCause.NO_SOURCE: (
            _("no time daemon answers it"),
            _("install chrony with at least 3 sources on its machine: apt-get install chrony"),
        ),
        UnfitCause.UNSYNCHRONISED: (
            _("its time daemon follows no source"),
            _("see that its machine reaches its time servers: chronyc sources"),
        ),
        UnfitCause.FEW_SOURCES: (
            _("too few of its time sources agree"),
            _("configure at least 3 time servers: chronyc sources shows them"),
        ),
        UnfitCause.INACCURATE: (
            _("its time daemon does not know the time well enough"),
            _("use time servers that are nearer: chronyc tracking shows the error"),
        ),
        UnfitCause.AHEAD: (
            _("its clock is ahead of those of other validators"),
            _("set the clock of its machine: chronyc makestep"),
        ),
        UnfitCause.BEHIND: (
            _("its clock is behind those of other validators"),
            _("set the clock of its machine: chronyc makestep"),
        ),
    }
    return causes[cause]
