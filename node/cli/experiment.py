"""One trial of a network: a fault is made, what the network does is measured, and judged.

What is expected is said beforehand: whether blocks go on being made meanwhile, how soon the next
one comes, and that all is as before afterwards. Transactions recorded for the purpose are measured.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from gettext import gettext as _
from typing import Any, Final

from node.chain.record import Notarization, RecordAction
from node.cli.network import Network
from node.cli.screen import Answer, Fault, Screen
from node.cli.stall import clock_offsets_ms
from node.cli.verb import CommandError
from node.client.signing import sign_records
from node.crypto.suite import SHA_256
from node.errors import ClientError
from node.rpc.client import HeardDiagnosis, LedgerClient
from node.rpc.port import NodeStatus

HEAL_MS: Final = 30_000
"""How soon all must be as before once the fault is over."""

_ASK_MS: Final = 1_000
_ANSWER_MS: Final = 2_000  # a paused validator costs a call no more than this
_PAUSE_S: Final = 0.1
_OBEY_MS: Final = 3_000
_SKEW_ERROR_MS: Final = 250
_TYPE_CODE: Final = "chaos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A fault and what is expected of the network under it."""

    name: str
    detail: str
    """What is done, for a person."""
    fault: Callable[[], AbstractContextManager[None]]
    duration_ms: int
    asked: tuple[str, ...]
    """The validators that are to make blocks meanwhile, or could if any."""
    goes_on: bool
    """Whether they are expected to."""
    within_ms: int
    """How soon the next block is then to come."""
    not_before_ms: int = 0
    """And how soon it cannot."""
    idle: tuple[str, ...] = ()
    """Validators that run and can make no block meanwhile."""
    obeying: tuple[str, ...] = ()
    """Validators that say themselves that they are disturbed."""
    skewed_ms: Mapping[str, int] = field(default_factory=dict)
    """How far clocks are to be seen off, by validator."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was expected, and whether it was so."""

    check: str
    """Its name, the same in every language."""
    passed: bool
    detail: str


@dataclass(slots=True)
class Measured:
    """What was seen."""

    heights: dict[str, dict[str, int]] = field(default_factory=dict)
    """By moment (before, at_fault, during, after), then by validator."""
    usual_commit_ms: int | None = None
    next_commit_ms: int | None = None
    """From the fault to the next block; None: there was none."""
    commits: int = 0
    longest_wait_ms: int = 0
    offsets_ms: dict[str, float] = field(default_factory=dict)
    healed_commit_ms: int | None = None
    """From the end of the fault until what was submitted under it, or after it, was final."""
    together_ms: int | None = None
    """From the end of the fault until all validators had that block."""


def run_trial(screen: Screen, network: Network, trial: Trial) -> Answer:
    """Make the fault, measure, undo it, and judge. Whatever ends it early undoes it too."""
    screen.line(trial.detail)
    expected = (
        _("expected: blocks go on, the next one within {ms} ms").format(ms=trial.within_ms)
        if trial.goes_on
        else _("expected: no block until the fault is over, then blocks again")
    )
    screen.line(expected)
    seen = Measured()
    with asyncio.Runner() as loop, suppress(asyncio.CancelledError):
        loop.run(_measure(network, trial, seen))
        return _answer(screen, network, trial, seen)
    raise KeyboardInterrupt  # told to end by SIGTERM: all is undone


async def _measure(network: Network, trial: Trial, seen: Measured) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with network.client() as everybody, _client_of(network, trial.asked) as asked:
        seen.heights["before"] = await _heights(everybody)
        seen.usual_commit_ms = await _commit(everybody, _sign(network), trial.within_ms)
        if seen.usual_commit_ms is None:
            raise CommandError(
                "GC-2106",
                _("nothing could be recorded even before the fault"),
                _("make the network serve first: govchain testnet up"),
            )
        with trial.fault():
            await _until_obeyed(everybody, trial)
            began_s = time.monotonic()
            seen.heights["at_fault"] = await _heights(everybody)
            probe = await _probe(network, asked, trial, seen, began_s)
            seen.heights["during"] = await _heights(everybody)
            offsets = clock_offsets_ms(await everybody.diagnoses(_ASK_MS))
            seen.offsets_ms = {name: offset.offset_ms for name, offset in offsets.items()}
        healed_s = time.monotonic()
        seen.healed_commit_ms = await _commit(everybody, probe or _sign(network), HEAL_MS)
        seen.together_ms = await _until_together(everybody, healed_s)
        seen.heights["after"] = await _heights(everybody)


async def _probe(
    network: Network, asked: LedgerClient | None, trial: Trial, seen: Measured, began_s: float
) -> bytes | None:
    """Record something again and again until the time is over; return what is not final then."""
    end_s = began_s + trial.duration_ms / 1_000
    probe = _sign(network)
    if asked is None:
        await asyncio.sleep(max(end_s - time.monotonic(), 0))
        return probe
    patience_ms = max(trial.within_ms, 1) if trial.goes_on else trial.duration_ms
    while True:
        left_ms = max(patience_ms, int((end_s - time.monotonic()) * 1_000))
        waited_ms = await _commit(asked, probe, left_ms)
        if waited_ms is None:
            return probe
        if not seen.commits:
            seen.next_commit_ms = round((time.monotonic() - began_s) * 1_000)
        seen.commits += 1
        seen.longest_wait_ms = max(seen.longest_wait_ms, waited_ms)
        if time.monotonic() >= end_s:
            return None
        probe = _sign(network)
        await asyncio.sleep(_PAUSE_S)


async def _commit(client: LedgerClient, transaction: bytes, timeout_ms: int) -> int | None:
    """Submit until it is final; return how long (ms) that took, None if not in time."""
    began_s = time.monotonic()
    while (left_ms := timeout_ms - round((time.monotonic() - began_s) * 1_000)) > 0:
        with suppress(ClientError):
            (outcome,) = await client.submit([transaction], min(left_ms, _ANSWER_MS))
            if outcome.result is not None:
                return round((time.monotonic() - began_s) * 1_000)
        await asyncio.sleep(_PAUSE_S)
    return None


async def _until_obeyed(client: LedgerClient, trial: Trial) -> None:
    """Wait until the validators say that they are disturbed; raises where one does not obey."""
    deadline_s = time.monotonic() + _OBEY_MS / 1_000
    while True:
        answers = await client.diagnoses(_ASK_MS)
        obeying = [
            name
            for name, heard in answers.items()
            if isinstance(heard, HeardDiagnosis) and heard.diagnosis.chaos
        ]
        idle = [name for name in trial.obeying if name not in obeying]
        if not idle:
            return
        if time.monotonic() > deadline_s:
            message = _("{nodes} did not take the fault").format(nodes=", ".join(idle))
            raise CommandError("GC-2318", message, _("see their logs: chaos tells why"))
        await asyncio.sleep(_PAUSE_S)


async def _until_together(client: LedgerClient, since_s: float) -> int | None:
    """Wait until every validator is at one height, or none is behind what was final by now."""
    target = max((await _heights(client)).values(), default=0)
    while time.monotonic() < since_s + HEAL_MS / 1_000:
        statuses = (await client.statuses(_ASK_MS)).values()
        if all(isinstance(each, NodeStatus) and each.height >= target for each in statuses):
            return round((time.monotonic() - since_s) * 1_000)
        await asyncio.sleep(_PAUSE_S)
    return None


async def _heights(client: LedgerClient) -> dict[str, int]:
    statuses = await client.statuses(_ASK_MS)
    return {
        name: status.height for name, status in statuses.items() if isinstance(status, NodeStatus)
    }


class _Nobody:
    """Stands for a client where no validator is left to ask."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_error: object) -> None:
        return None


def _client_of(network: Network, names: tuple[str, ...]) -> LedgerClient | _Nobody:
    endpoints = tuple(each for each in network.profile.endpoints if each.validator_id in names)
    if not endpoints:
        return _Nobody()
    return replace(network, profile=replace(network.profile, endpoints=endpoints)).client()


def _sign(network: Network) -> bytes:
    payload = Notarization(
        digest_algorithm=SHA_256.digest_id,
        type_code=_TYPE_CODE,
        action=RecordAction.RECORD,
        digests=secrets.token_bytes(32),
    )
    return sign_records(network, payload).encoded


# ---------------------------------------------------------------------- the verdict


def judge(trial: Trial, seen: Measured, window_slots: int) -> list[Check]:
    """Hold what was seen against what was expected."""
    checks = [_judge_commits(trial, seen)]
    if trial.not_before_ms and seen.next_commit_ms is not None:
        detail = _("the next block took {ms} ms, at least {least} ms were expected")
        checks.append(
            Check(
                "effect",
                seen.next_commit_ms >= trial.not_before_ms,
                detail.format(ms=seen.next_commit_ms, least=trial.not_before_ms),
            )
        )
    for name in trial.idle:
        start, end = (seen.heights.get(at, {}).get(name) for at in ("at_fault", "during"))
        if start is None or end is None:
            continue
        detail = _("{node} went from height {start} to {end}").format(
            node=name, start=start, end=end
        )
        checks.append(Check("alone", end <= start + window_slots, detail))
    for name, skew_ms in trial.skewed_ms.items():
        offset_ms = seen.offsets_ms.get(name)
        near = offset_ms is not None and abs(offset_ms - skew_ms) <= _SKEW_ERROR_MS
        detail = _("the clock of {node} is seen {offset} ms off").format(
            node=name, offset="?" if offset_ms is None else f"{offset_ms:+.0f}"
        )
        checks.append(Check("skew", near, detail))
    healed = seen.healed_commit_ms is not None
    detail = (
        _("{ms} ms after the fault a block was made").format(ms=seen.healed_commit_ms)
        if healed
        else _("no block for {ms} ms after the fault").format(ms=HEAL_MS)
    )
    checks.append(Check("healed", healed, detail))
    together = seen.together_ms is not None
    detail = (
        _("{ms} ms after the fault all validators had it").format(ms=seen.together_ms)
        if together
        else _("not all validators had it {ms} ms after the fault").format(ms=HEAL_MS)
    )
    checks.append(Check("together", together, detail))
    return checks


def _judge_commits(trial: Trial, seen: Measured) -> Check:
    ms = seen.next_commit_ms
    if not trial.goes_on:
        if ms is None:
            detail = _("no block was made for {ms} ms").format(ms=trial.duration_ms)
            return Check("stall", passed=True, detail=detail)
        detail = _("a block was made after {ms} ms, although no quorum was left").format(ms=ms)
        return Check("stall", passed=False, detail=detail)
    if ms is None:
        detail = _("no block was made")
        return Check("progress", passed=False, detail=detail)
    detail = _("the next block came after {ms} ms, {count} more followed").format(
        ms=ms, count=seen.commits - 1
    )
    return Check("progress", passed=ms <= trial.within_ms, detail=detail)


def _answer(screen: Screen, network: Network, trial: Trial, seen: Measured) -> Answer:
    checks = judge(trial, seen, network.genesis.parameters.window_slots)
    for each in checks:
        word, style = (_("ok"), "green") if each.passed else (_("FAILED"), "red")
        screen.line(f"{word}  {each.check}: {each.detail}", style=style)
    failed = [each for each in checks if not each.passed]
    facts: dict[str, Any] = {
        "fault": trial.name,
        "expected": "progress" if trial.goes_on else "stall",
        "duration_ms": trial.duration_ms,
        "within_ms": trial.within_ms,
        **asdict(seen),
        "checks": [asdict(each) for each in checks],
        "as_expected": not failed,
    }
    if failed:
        cause = "; ".join(each.detail for each in failed)
        fix = _("look into it: govchain doctor, and the logs of the validators")
        return Answer(facts, Fault("GC-2319", cause, fix))
    screen.line(_("AS EXPECTED"), style="green")
    return Answer(facts)
