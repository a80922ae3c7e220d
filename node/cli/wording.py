"""How verdicts and times are spoken, the same in every verb.

A receipt shows that a document existed *no later than* a time; nothing here may say more.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from gettext import gettext as _
from typing import Any

from node.chain.record import RecordLeaf
from node.cli.remedies import remedy_of
from node.cli.screen import Fault, Screen
from node.cli.sentences.telling import tell_finding, tell_refusal
from node.timestamp.compact_verify import CompactAttestation, CompactStep
from node.timestamp.consistency import ConsistencyStep
from node.timestamp.evidence.verify import EvidenceStep
from node.timestamp.log.verify import TlogStep
from node.timestamp.outside.anchor_verify import AnchorStep
from node.timestamp.receipt import digest_name, iso_time
from node.timestamp.standing import StandingStep
from node.timestamp.steps import COMPACT_CERTIFICATE, IN_FORCE_RULE, Judgement
from node.timestamp.tokens.check import TokenStep
from node.timestamp.verify import Attestation, Outcome, Step, StepReport, Verdict


def outcome_word(outcome: Outcome) -> str:
    """Return the verdict in capitals."""
    return {
        Outcome.VERIFIED: _("VERIFIED"),
        Outcome.NOT_VERIFIED: _("NOT VERIFIED"),
        Outcome.NOT_ROOTED: _("NOT ROOTED"),
    }[outcome]


def outcome_style(outcome: Outcome) -> str:
    """Return the colour of a verdict."""
    return {Outcome.VERIFIED: "green", Outcome.NOT_VERIFIED: "red"}.get(outcome, "yellow")


def existence(attestation: Attestation) -> str:
    """Return since when the document is known to exist, and who says so."""
    if attestation.time_degraded:
        sentence = _(
            "existed no later than {time}, as sealed; the block's own time is not vouched for "
            "(block {height}, {signers} of {validators} validators signed)"
        )
        time_ms = attestation.seal_time_ms
    else:
        sentence = _(
            "existed no later than {time} "
            "(block {height}, {signers} of {validators} validators signed)"
        )
        time_ms = attestation.time_ms
    if attestation.joined_height is not None:
        joined = _("; the keys of its epoch are retired: the signers are those of block {joined}")
        sentence += joined.format(joined=attestation.joined_height)
    return sentence.format(
        time=iso_time(time_ms),
        height=attestation.height,
        signers=len(attestation.signers),
        validators=attestation.validator_count,
    )


def headline(label: str, verdict: Verdict) -> str:
    """Return the first line of an answer: the verdict in words."""
    word = outcome_word(verdict.outcome)
    if verdict.attestation is not None and verdict.outcome is Outcome.VERIFIED:
        return f"{word}  {label} {existence(verdict.attestation)}"
    return f"{word}  {label}"


def step_title(step: IntEnum) -> str:
    """Return what a step of verification establishes."""
    shared: dict[str, str] = {
        "CERTIFICATE": _("the certificate is of this header"),
        "ROOT": _("the trust file leads to the validators"),
        "SIGNATURES": _("a quorum of them signed, and every signature is valid"),
        "HISTORY": _("it fits the chain that the trust file pins"),
    }
    particular: dict[type[IntEnum], dict[str, str]] = {
        Step: {
            "RECEIPT": _("the receipt is well formed"),
            "DOCUMENT": _("the document is the one recorded"),
            "BLOCK": _("the record and the header speak of one block"),
            "LOG": _("the record stands in the log"),
            "TOKEN": _(
                "a time-stamp token says the same, by a key that an organisation vouches for"
            ),
            "RECORD": _("the record states that the document exists"),
        },
        TlogStep: {
            "PROOF": _("the proof is well formed"),
            "ENTRY": _("it holds a record"),
            "DOCUMENT": _("the document is the one recorded"),
            "CHECKPOINT": _(
                "a quorum of the validators that the trust file knows cosigned the log"
            ),
            "INCLUSION": _("the record stands in the log"),
            "RECORD": _("the record states that the document exists"),
        },
        TokenStep: {
            "ANSWER": _("the file is exactly a time-stamp token, or the answer that grants one"),
            "DOCUMENT": _("the token is about the document"),
            "CERTIFICATE": _("it holds the certificate that it names"),
            "ATTRIBUTES": _("what is signed is its content"),
            "SIGNATURE": _("the signature is valid"),
            "PURPOSE": _("the key is for time stamps alone"),
            "TIME": _("the certificates were valid at its time"),
            "AUTHORITY": _("an organisation of the trust file vouches for the key"),
            "CHAIN": _("validators vouch for what it says"),
        },
        CompactStep: {
            "RECEIPT": _("the text is that of a compact receipt"),
            "DOCUMENT": _("the document is the one recorded"),
            "SIGNATURE": _("a quorum of them signed together the log that holds the record"),
            "RECORD": _("the record states that the document exists"),
        },
        StandingStep: {
            "PROOF": _("the proof of standing is well formed"),
            "NAME": _("it is of the reference asked for"),
            "STATE": _("the state of the chain holds just this"),
            "RECORD": _("it speaks of the record of the receipt"),
        },
        AnchorStep: {
            "ANCHOR": _("the anchor is well formed"),
            "HANDOVERS": _("it holds the handovers that lead to its epoch, each once"),
            "STAMP": _("an authority that you believe stamped all of this"),
            "TIME": _("the stamp is no older than the block"),
            "RECEIPT": _("the receipt speaks of a record of this chain, up to this block"),
            "JOIN": _("the block of the record stands in the log of this one"),
            "RECORD": _("the record states that the document exists"),
        },
        EvidenceStep: {
            "RECORD": _("the evidence record is well formed"),
            "TREES": _("its hash trees lead to what was stamped"),
            "FILES": _("the first time stamp covers the files"),
            "RENEWALS": _("each renewal covers the time stamp before it"),
            "REHASHINGS": _("where the files were hashed anew, that covers them and all before"),
            "TOKENS": _("each time stamp is sound, by an authority that is believed"),
            "ORDER": _("they follow each other in time"),
            "VALIDITY": _("each was renewed while its certificates were valid and not revoked"),
            "STRENGTH": _("each was renewed while its algorithms were strong"),
        },
        ConsistencyStep: {
            "PROOF": _("the proof of consistency is well formed"),
            "ORDER": _("the second header comes after the first"),
            "LOG": _("the log of the first is the beginning of the log of the second"),
            "HEADER": _("the first header stands in the log of the second"),
        },
    }
    return (shared | particular[type(step)])[step.name]


def tell_steps(screen: Screen, reports: Sequence[StepReport]) -> None:
    """Say the numbered steps that led to a verdict."""
    for report in reports:
        mark = _("ok") if report.passed else _("FAILED")
        if report.passed and report.unchecked is not None:
            mark = _("ok, but for the {part}").format(part=_part_name(report.unchecked))
        tell = tell_finding if report.passed else tell_refusal
        title, detail = step_title(report.step), tell(report.detail)
        screen.line(f"  {int(report.step)}. {title}: {mark} ({detail})")
    tell_unchecked(screen, reports)


def tell_unchecked(screen: Screen, reports: Sequence[StepReport]) -> None:
    """Say what was not checked for want of a library, where a step passed all the same."""
    for report in reports:
        if report.passed and report.unchecked is not None:
            said = _("NOT CHECKED: the {part}. Nothing said here rests on it. {fix}")
            part = _part_name(report.unchecked)
            screen.line("  " + said.format(part=part, fix=library_fix()), style="yellow")


def library_fix() -> str:
    """Return what helps where a part cannot be checked for want of a library."""
    return _("To check it: install py-ecc, or pyblst (.venv/bin/pip install -e '.[bls]')")


def authority_fix() -> str:
    """Return what helps where no authority of a trust file issued the certificate of a token."""
    return _(
        "trust files name the authorities of the founding organisations alone, none outside the "
        "chain and none of an organisation that joined later: have the time stamped by a founder's "
        "validator, or rely on the record's receipt (govchain receipt fetch FILE)"
    )


def unchecked_fault(verdict: Judgement[Any]) -> Fault | None:
    """Return why what a validator gives is not taken though it is verified; None where it is.

    What is kept for years has to hold for those too who can check the part that nobody did here.
    """
    return None if verdict.unchecked is None else unchecked_part_fault(verdict.unchecked)


def unchecked_part_fault(part: str) -> Fault:
    """Return why a receipt is not taken of which a part cannot be checked here."""
    said = _("the {part} of the receipt cannot be checked here, and nothing unchecked is kept")
    return Fault("GC-2310", said.format(part=_part_name(part)), library_fix())


def _part_name(part: str) -> str:
    return {COMPACT_CERTIFICATE: _("compact certificate")}[part]


def describe_steps(reports: Sequence[StepReport]) -> list[dict[str, Any]]:
    """Return the steps taken, as JSON."""
    return [
        {
            "step": int(report.step),
            "name": report.step.name.lower(),
            "passed": report.passed,
            "detail": report.detail,
            "unchecked": report.unchecked,
        }
        for report in reports
    ]


def describe_recorded(proved: Attestation | CompactAttestation | RecordLeaf) -> dict[str, Any]:
    """Return what was recorded, by whom, where and when, as JSON members."""
    record = proved.record
    return {
        "digest": f"{digest_name(record.digest_algorithm)}:{record.digest.hex()}",
        "type": record.type_code,
        "reference": record.reference,
        "action": record.action.name.lower(),
        "sender": proved.sender,
        "transaction": proved.tx_id.hex(),
        "operation": proved.operation_index,
        "height": proved.height,
        "time": iso_time(proved.time_ms),
        "time_ms": proved.time_ms,
    }


def describe_attestation(attestation: Attestation) -> dict[str, Any]:
    """Return what a quorum attests, as JSON members."""
    return {
        **describe_recorded(attestation),
        "time_degraded": attestation.time_degraded,
        "accuracy_ms": attestation.accuracy_ms,
        "seal_time_ms": attestation.seal_time_ms,
        "signers": list(attestation.signers),
        "validators": attestation.validator_count,
        "joined_height": attestation.joined_height,
    }


def describe_verdict(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON members: the outcome, every step taken, what is attested."""
    attestation = verdict.attestation
    return {
        "verdict": verdict.outcome.value,
        "steps": describe_steps(verdict.steps),
        "attestation": None if attestation is None else describe_attestation(attestation),
    }


def step_fault(
    verdict: Judgement[Any],
    document_step: IntEnum,
    *,
    rooting: str,
    matching: str,
    renewing: str,
    refreshing: str = "",
) -> Fault | None:
    """Return the fault of the step that failed, None if none did, with what helps.

    `rooting` where the trust file does not lead to the proof, `matching` where it is of another
    document, `renewing` where the proof itself is at fault, `refreshing` where the keys of its
    epoch are retired. Where only the clock here speaks against it, that is to be looked at first.
    Nothing helps a proof of a withdrawal but to ask its issuer.
    """
    failure = verdict.failure
    if failure is None:
        return None
    if verdict.outcome is Outcome.NOT_ROOTED:
        return unrooted_fault(failure, rooting, refreshing)
    cause = step_cause(failure)
    if failure.is_from_future:
        return Fault("GC-2309", cause, clock_fix())
    if _is_withdrawal(failure):
        return Fault("GC-2309", cause, remedy_of("GC-2312").fix)
    return Fault("GC-2309", cause, matching if failure.step is document_step else renewing)


def _is_withdrawal(failure: StepReport) -> bool:
    return failure.detail.startswith(f"{IN_FORCE_RULE}: ")


def unrooted_fault(failure: StepReport, rooting: str, refreshing: str = "") -> Fault:
    """Return the fault of a step that found no root: epochs by their numbers, and what helps.

    `refreshing` helps where the keys of the proof's epoch are retired, else `rooting`.
    """
    cause, fix, epochs = step_cause(failure), rooting, failure.epochs
    if failure.unchecked is not None:
        fix = library_fix()
    elif epochs is not None and epochs.is_retired:
        said = "it is of epoch {epoch}, whose keys are retired: the trust file pins {known}"
        cause = step_cause(failure, said.format(epoch=epochs.proof, known=epochs.trust))
        fix = refreshing or rooting
    elif epochs is not None:
        said = "it is of epoch {epoch}, the trust file leads to epoch {known}"
        cause = step_cause(failure, said.format(epoch=epochs.proof, known=epochs.trust))
        fix = _("use a newer trust file of that chain: govchain trust export, by whom you trust")
    return Fault("GC-2310", cause, fix)


def step_cause(failure: StepReport, said: str = "") -> str:
    """Return in which step a verification failed, and why, as the rooms below speak: in English."""
    return f"step {int(failure.step)} failed: {said or failure.detail}"


def clock_fix() -> str:
    """Return what helps where a proof is from the future by the clock of the verifier."""
    return _("check this machine's clock first: by it, the proof is from the future")
