"""The standing of references as verbs ask for it and speak of it: proved, with its date.

A proof tells what held after one block. Nothing here may say that it holds today.
"""

from __future__ import annotations

import time
from gettext import gettext as _
from typing import TYPE_CHECKING, Any

from node.chain.reference import ReferenceName
from node.cli.age import told_age
from node.cli.screen import Fault, Screen
from node.cli.wording import (
    clock_fix,
    describe_steps,
    outcome_style,
    outcome_word,
    step_cause,
    tell_steps,
    unrooted_fault,
)
from node.timestamp.receipt import Receipt, iso_time
from node.timestamp.standing import (
    Fate,
    StandingAttestation,
    StandingStep,
    StandingVerdict,
    status_digest,
    verify_standing,
)
from node.timestamp.steps import Outcome
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import Attestation

if TYPE_CHECKING:
    from node.cli.network import Network


def ask_standing(
    network: Network, name: ReferenceName, anchor: TrustAnchor, receipt: Receipt | None = None
) -> tuple[bytes, StandingVerdict]:
    """Ask every validator, as `node.client.standing` does, and wait for it."""
    from node.client import standing

    return network.ask(lambda client: standing.ask_standing(network, client, name, anchor, receipt))


def tell_standing(screen: Screen, verdict: StandingVerdict, label: str = "") -> None:
    """Say what stands, as of when, what that leaves open, and the steps that led to it."""
    attestation = verdict.attestation
    said = [label] if label else []
    said += [] if attestation is None else [spoken(attestation)]
    first = f"{outcome_word(verdict.outcome)}  {': '.join(said)}"
    screen.line(first, style=outcome_style(verdict.outcome))
    if attestation is not None:
        tell_date(screen, attestation)
        if attestation.status is not None:
            tell_vouching(screen)
    tell_steps(screen, verdict.steps)


def tell_date(screen: Screen, attestation: StandingAttestation) -> None:
    """Say as of when it is so, how old that is by the clock here, and what it does not say."""
    said = _("so it was at {time} (block {height}, {signers} of {validators} validators signed)")
    if attestation.time_degraded:
        said = _(
            "so it was at {time}, as sealed; the block's own time is not vouched for "
            "(block {height}, {signers} of {validators} validators signed)"
        )
    screen.line(
        "  "
        + said.format(
            time=iso_time(attestation.known_ms),
            height=attestation.height,
            signers=len(attestation.signers),
            validators=attestation.validator_count,
        )
    )
    said = _("that was {age} ago; of anything later it says nothing")
    screen.line("  " + said.format(age=told_age(_age_ms(attestation))))


def tell_vouching(screen: Screen) -> None:
    """Say what the times of records shown without their receipts leave open."""
    said = _("whether the validators vouched for the times of records, their receipts show")
    screen.line(f"  {said}")


def follow_record(
    screen: Screen,
    receipt: Receipt,
    attestation: Attestation,
    anchor: TrustAnchor,
    source: bytes | Network,
    *,
    max_age_ms: int | None,
) -> tuple[dict[str, Any], Fault | None]:
    """Say what became of a verified record with a reference, by a proof or who gives one.

    Returns it as JSON members, with why the record is none to rely on, if it is not.
    """
    record = attestation.record
    name = ReferenceName(attestation.sender, record.type_code, record.reference or "")
    if isinstance(source, bytes):
        now_ms = time.time_ns() // 1_000_000
        verdict = verify_standing(source, anchor, receipt=receipt, now_ms=now_ms)
    else:
        _proof, verdict = ask_standing(source, name, anchor, receipt)
    fault = fault_of(verdict, max_age_ms)
    facts: dict[str, Any] = {"standing_proof": describe_standing(verdict)}
    if verdict.attestation is None:
        tell_standing(screen, verdict, str(name))
        return facts, fault
    known_ms = attestation.seal_time_ms if attestation.time_degraded else attestation.time_ms
    said = spoken_of_record(verdict.attestation, known_ms)
    screen.line(f"  {record.reference}: {said}", style="green" if fault is None else "red")
    tell_date(screen, verdict.attestation)
    if verdict.attestation.fate is not Fate.IN_FORCE:  # the time told is that of another record
        tell_vouching(screen)
    return facts | {"standing": verdict.attestation.fate.value}, fault


def spoken(attestation: StandingAttestation) -> str:
    """Return what stands under a reference, in a sentence without a date of its own."""
    name, status = attestation.name, attestation.status
    if status is None:
        said = _("{issuer} has NEVER recorded anything of type {type} under {reference}")
        return said.format(issuer=name.issuer, type=name.type_code, reference=name.reference)
    said = {
        Fate.IN_FORCE: _(
            "{reference} ({type}, {issuer}) is in force since {time}: {digest} "
            "(block {height}, record {count} under it)"
        ),
        Fate.SUPERSEDED: _(
            "{reference} ({type}, {issuer}) was superseded; in force since {time}: {digest} "
            "(block {height}, record {count} under it)"
        ),
        Fate.WITHDRAWN: _(
            "{reference} ({type}, {issuer}) was WITHDRAWN at {time} "
            "(block {height}, record {count} under it)"
        ),
    }[attestation.fate]
    if _is_withdrawn_earlier(attestation):
        said = _(
            "{reference} ({type}, {issuer}) was WITHDRAWN; in force since {time}: {digest} "
            "(block {height}, record {count} under it)"
        )
    return said.format(
        reference=name.reference,
        type=name.type_code,
        issuer=name.issuer,
        time=iso_time(status.time_ms),
        digest=status_digest(status),
        height=status.height,
        count=status.version,
    )


def spoken_of_record(attestation: StandingAttestation, committed_ms: int) -> str:
    """Return what became of a record, from its own time to that of the proof."""
    status = attestation.status
    said = {
        Fate.IN_FORCE: _("recorded at {committed}, still in force at {known}"),
        Fate.SUPERSEDED: _("recorded at {committed}, superseded by {moved}, so at {known}"),
        Fate.WITHDRAWN: _("recorded at {committed}, WITHDRAWN at {moved}"),
    }[attestation.fate]
    if _is_withdrawn_earlier(attestation):
        said = _("recorded at {committed}, WITHDRAWN no later than {moved}, and for good")
    return said.format(
        committed=iso_time(committed_ms),
        known=iso_time(attestation.known_ms),
        moved="" if status is None else iso_time(status.time_ms),
    )


def _is_withdrawn_earlier(attestation: StandingAttestation) -> bool:
    """Say whether a record was withdrawn before what the status tells of: when, is not known."""
    status = attestation.status
    return attestation.fate is Fate.WITHDRAWN and status is not None and status.is_in_force


def fault_of(verdict: StandingVerdict, max_age_ms: int | None = None) -> Fault | None:
    """Return why a standing is none to rely on: not proved, too old, withdrawn, never recorded."""
    attestation, failure = verdict.attestation, verdict.failure
    if attestation is None or failure is not None:
        return _fault_of_failure(verdict)
    known = iso_time(attestation.known_ms)
    if attestation.fate is Fate.WITHDRAWN:
        return Fault("GC-2312", spoken(attestation), _("ask the issuer which record is in force"))
    if max_age_ms is not None and _age_ms(attestation) > max_age_ms:
        said = _("it is of {time}, {age} ago").format(
            time=known, age=told_age(_age_ms(attestation))
        )
        return Fault("GC-2351", said, _("get a new one: govchain record status --prove"))
    if attestation.fate is Fate.ABSENT:
        said = _("{sentence}, up to {time}").format(sentence=spoken(attestation), time=known)
        return Fault("GC-2350", said, _("check issuer, type and reference, letter by letter"))
    return None


def _fault_of_failure(verdict: StandingVerdict) -> Fault:
    failure = verdict.steps[-1]
    renewing = _("get a new one: govchain record status --prove")
    if verdict.outcome is Outcome.NOT_ROOTED:
        rooting = _("use the trust file of the chain that it is of")
        return unrooted_fault(failure, rooting, renewing)
    cause = step_cause(failure)
    if failure.is_from_future:
        return Fault("GC-2309", cause, clock_fix())
    if failure.step is StandingStep.RECORD:
        return Fault("GC-2309", cause, _("use a newer proof of the standing of this very record"))
    return Fault("GC-2309", cause, renewing)


def describe_standing(verdict: StandingVerdict) -> dict[str, Any]:
    """Return a verdict as JSON members."""
    attestation = verdict.attestation
    return {
        "verdict": verdict.outcome.value,
        "steps": describe_steps(verdict.steps),
        "attestation": None if attestation is None else _describe(attestation),
    }


def _describe(attestation: StandingAttestation) -> dict[str, Any]:
    status, name = attestation.status, attestation.name
    return {
        "issuer": name.issuer,
        "type": name.type_code,
        "reference": name.reference,
        "standing": attestation.fate.value,
        "latest": None
        if status is None
        else {
            "count": status.version,
            "height": status.height,
            "time": iso_time(status.time_ms),
            "time_ms": status.time_ms,
            "log_index": status.log_index,
            "digest": status_digest(status),
            "withdrawn_index": status.withdrawn_index,
        },
        "height": attestation.height,
        "time": iso_time(attestation.time_ms),
        "time_ms": attestation.time_ms,
        "time_degraded": attestation.time_degraded,
        "accuracy_ms": attestation.accuracy_ms,
        "seal_time_ms": attestation.seal_time_ms,
        "age_ms": _age_ms(attestation),
        "signers": list(attestation.signers),
        "validators": attestation.validator_count,
    }


def _age_ms(attestation: StandingAttestation) -> int:
    """Return how long ago it was so, by the clock here."""
    return time.time_ns() // 1_000_000 - attestation.known_ms
