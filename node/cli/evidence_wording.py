"""How evidence records are spoken of: verdicts, and what they say unverified."""

from __future__ import annotations

from gettext import gettext as _
from typing import Any

from node.cli.evidence_files import Subject
from node.cli.screen import Fault, Screen
from node.cli.wording import describe_steps, outcome_style, outcome_word, step_fault, tell_steps
from node.crypto.authority import AuthorityCertificate
from node.timestamp.evidence.record import EvidenceRecord
from node.timestamp.evidence.verify import EvidenceAttestation, EvidenceStep, EvidenceVerdict
from node.timestamp.receipt import iso_time
from node.timestamp.tokens.issuing import encode_signer_id
from node.timestamp.tokens.reading import ReadToken


def tell_evidence(screen: Screen, subject: Subject, verdict: EvidenceVerdict) -> None:
    """Say the verdict in words, then the numbered steps that led to it."""
    word, attestation = outcome_word(verdict.outcome), verdict.attestation
    files = ", ".join(path.name for path in subject.files)
    said = files if attestation is None else f"{files} {_existence(attestation)}"
    screen.line(f"{word}  {said}", style=outcome_style(verdict.outcome))
    tell_steps(screen, verdict.steps)
    if attestation is None:
        return
    renewing = _("renew it before {time}: govchain evidence renew")
    screen.line("  " + renewing.format(time=iso_time(attestation.valid_until_ms)))
    if attestation.is_whole and attestation.files > 1:
        screen.line("  " + _("the record is about these files together, and about no other"))


def _existence(attestation: EvidenceAttestation) -> str:
    first = attestation.stamps[0]
    said = _("existed no later than {time}, as {authority} says ({count} time stamps since)")
    return said.format(
        time=iso_time(attestation.time_ms),
        authority=first.authority,
        count=len(attestation.stamps) - 1,
    )


def describe_evidence(verdict: EvidenceVerdict) -> dict[str, Any]:
    """Return a verdict as JSON members."""
    found = verdict.attestation
    return {
        "verdict": verdict.outcome.value,
        "steps": describe_steps(verdict.steps),
        "attestation": None
        if found is None
        else {
            "time": iso_time(found.time_ms),
            "time_ms": found.time_ms,
            "time_stamps": [
                {
                    "time": iso_time(stamp.time_ms),
                    "time_ms": stamp.time_ms,
                    "accuracy_ms": stamp.accuracy_ms,
                    "authority": stamp.authority,
                    "serial_number": f"{stamp.serial_number:x}",
                }
                for stamp in found.stamps
            ],
            "algorithms": list(found.algorithms),
            "files": found.files,
            "is_whole": found.is_whole,
            "valid_until": iso_time(found.valid_until_ms),
            "valid_until_ms": found.valid_until_ms,
        },
    }


def fault_of(verdict: EvidenceVerdict, *, by_trust_file: bool = False) -> Fault | None:
    """Return the fault of the step that failed, with what helps.

    `by_trust_file` where the chain's own authorities were believed, had a receipt been verified.
    """
    failure = verdict.failure
    is_late = failure is not None and failure.step >= EvidenceStep.VALIDITY
    return step_fault(
        verdict,
        EvidenceStep.FILES,
        rooting=_(
            "a stamp of the chain without a verified receipt is the word of one key: name the "
            "folder of the receipts, --receipts, or the certificate of whoever you believe, --ca"
        )
        if by_trust_file
        else _("name the certificate of the authority, also if it has expired: --ca"),
        matching=_("use the very files that the record was made of, unchanged"),
        renewing=_("too late to renew it: have evidence of the files made anew, dated now")
        if is_late
        else _("use the record as it was made, or another copy of it"),
    )


def view_record(record: EvidenceRecord) -> list[dict[str, Any]]:
    """Return what each time stamp of a record says, for people; nothing of it is verified.

    Raises what reading tokens and certificates raises.
    """
    view = []
    for number, chain in enumerate(record.chains, start=1):
        for stamp in chain:
            token = ReadToken.decode(stamp.token)
            held = map(AuthorityCertificate.read, (*token.certificates, *record.certificates))
            signers = [each for each in held if encode_signer_id(each) == token.signer_id]
            view.append(
                {
                    "chain": number,
                    "algorithm": token.info.imprint.algorithm.name,
                    "imprint": token.info.imprint.digest.hex(),
                    "hash_lists": [[each.hex() for each in hashes] for hashes in stamp.lists],
                    "time": iso_time(token.info.time_ms),
                    "time_ms": token.info.time_ms,
                    "serial_number": f"{token.info.serial_number:x}",
                    "authority": signers[0].subject if signers else "-",
                    "valid_until": iso_time(signers[0].not_after_ms) if signers else "-",
                }
            )
    return view
