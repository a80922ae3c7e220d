"""`govchain verify` of a tlog-proof: the answer in words and as JSON."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING, Any

from node.cli.screen import Answer, Screen

if TYPE_CHECKING:
    from node.timestamp.log.verify import TlogAttestation
    from node.timestamp.trust import TrustAnchor


def verify_tlog(
    screen: Screen, document: str, data: bytes, anchor: TrustAnchor, now_ms: int
) -> Answer:
    """Verify a document against a tlog-proof, by the policy that a trust file leads to."""
    from node.cli.subjects import read_document
    from node.cli.wording import (
        describe_steps,
        outcome_style,
        outcome_word,
        step_fault,
        tell_steps,
    )
    from node.timestamp.log.verify import TlogStep, digest_algorithm_of_tlog, verify_tlog_by_trust

    digest = read_document(document, digest_algorithm_of_tlog(data))
    verdict = verify_tlog_by_trust(data, anchor, digest, now_ms=now_ms)
    attestation = verdict.attestation
    is_verified = verdict.failure is None and attestation is not None
    said = f" {_existence(attestation)}" if is_verified and attestation is not None else ""
    screen.line(
        f"{outcome_word(verdict.outcome)}  {document}{said}", style=outcome_style(verdict.outcome)
    )
    tell_steps(screen, verdict.steps)
    if is_verified:
        screen.line("  " + _("whether the validators vouched for that time, the receipt shows"))
        screen.line("  " + _("a tlog-proof cannot tell whether it still stands: nobody was asked"))
    facts = {
        "document": document,
        "digest": str(digest),
        "format": "tlog",
        "verdict": verdict.outcome.value,
        "steps": describe_steps(verdict.steps),
        "attestation": None if attestation is None else _describe(attestation),
        "asked": False,
    }
    fault = step_fault(
        verdict,
        TlogStep.DOCUMENT,
        rooting=_(
            "use a newer trust file of that chain (govchain trust export, by whom you trust), "
            "or have the proof made anew"
        ),
        refreshing=_(
            "verify the receipt, joined to the newest block: govchain receipt refresh RECEIPT"
        ),
        matching=_("use the proof of this very document, unchanged"),
        renewing=_("get the proof again, whole and unchanged"),
    )
    return Answer(facts, fault)


def _existence(attestation: TlogAttestation) -> str:
    from node.timestamp.receipt import iso_time

    leaf, cosigned = attestation.leaf, attestation.cosigned
    sentence = _(
        "was recorded in block {height}, dated {time}; {signers} validators cosigned the log, at "
        "{seal_time} by the median of their clocks"
    )
    return sentence.format(
        height=leaf.height,
        time=iso_time(leaf.time_ms),
        signers=len(cosigned.witnesses),
        seal_time=iso_time(1_000 * (cosigned.seal_time_s or 0)),
    )


def _describe(attestation: TlogAttestation) -> dict[str, Any]:
    from node.cli.wording import describe_recorded

    leaf, cosigned = attestation.leaf, attestation.cosigned
    return {
        **describe_recorded(leaf),
        "checkpoint_size": cosigned.checkpoint.head.size,
        "cosigners": [line.key.name.rpartition("/")[2] for line in cosigned.cosignatures],
        "seal_time_s": cosigned.seal_time_s,
    }
