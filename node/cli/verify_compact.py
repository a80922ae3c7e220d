"""`govchain verify` of the text of a QR code: the answer in words and as JSON."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING, Any

from node.cli.screen import Answer, Screen

if TYPE_CHECKING:
    from node.timestamp.compact_verify import CompactAttestation
    from node.timestamp.trust import TrustAnchor


def verify_text(
    screen: Screen, document: str, text: bytes, anchor: TrustAnchor, now_ms: int
) -> Answer:
    """Verify a document against the text of a QR code. Asks nobody."""
    from node.cli.subjects import read_document
    from node.cli.wording import (
        describe_steps,
        outcome_style,
        outcome_word,
        step_fault,
        tell_steps,
    )
    from node.timestamp.compact_verify import (
        CompactStep,
        digest_algorithm_of_compact,
        verify_compact,
    )

    digest = read_document(document, digest_algorithm_of_compact(text))
    verdict = verify_compact(text, anchor, digest, now_ms=now_ms)
    word, attestation = outcome_word(verdict.outcome), verdict.attestation
    is_verified = verdict.failure is None and attestation is not None
    said = f" {_existence(attestation)}" if is_verified and attestation is not None else ""
    screen.line(f"{word}  {document}{said}", style=outcome_style(verdict.outcome))
    tell_steps(screen, verdict.steps)
    if is_verified:
        screen.line("  " + _("whether the validators vouched for that time, the receipt shows"))
        screen.line("  " + _("a QR code cannot tell whether it still stands: nobody was asked"))
    facts = {
        "document": document,
        "digest": str(digest),
        "format": "qr",
        "verdict": verdict.outcome.value,
        "steps": describe_steps(verdict.steps),
        "attestation": None if attestation is None else _describe(attestation),
        "asked": False,
    }
    fault = step_fault(
        verdict,
        CompactStep.DOCUMENT,
        rooting=_("use a trust file of that chain and epoch, or have the code made anew"),
        refreshing=_(
            "verify the receipt, joined to the newest block: govchain receipt refresh RECEIPT"
        ),
        matching=_("use the code of this very document, unchanged"),
        renewing=_("scan the code again, and copy its text whole"),
    )
    return Answer(facts, fault)


def _existence(attestation: CompactAttestation) -> str:
    from node.timestamp.receipt import iso_time

    sentence = _(
        "was recorded in block {height}, dated {time}; {signers} of {validators} validators "
        "signed the log together at block {checkpoint}"
    )
    return sentence.format(
        time=iso_time(attestation.time_ms),
        height=attestation.height,
        signers=len(attestation.signers),
        validators=attestation.validator_count,
        checkpoint=attestation.checkpoint_height,
    )


def _describe(attestation: CompactAttestation) -> dict[str, Any]:
    from node.cli.wording import describe_recorded

    return {
        **describe_recorded(attestation),
        "checkpoint_height": attestation.checkpoint_height,
        "signers": list(attestation.signers),
        "validators": attestation.validator_count,
    }
