"""`govchain verify` of a tlog-proof: the answer in words and as JSON."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING, Any

from node.cli.screen import Answer, Fault, Screen

if TYPE_CHECKING:
    from node.chain.record import RecordLeaf
    from node.timestamp.log_policy import Cosigned
    from node.timestamp.tlog_verify import TlogVerdict
    from node.timestamp.trust import TrustAnchor


def verify_tlog(screen: Screen, document: str, data: bytes, anchor: TrustAnchor) -> Answer:
    """Verify a document against a tlog-proof, by the policy that a trust file leads to."""
    from node.cli.subjects import read_document
    from node.cli.wording import describe_steps, outcome_style, outcome_word, tell_steps
    from node.timestamp.tlog_verify import digest_algorithm_of_tlog, verify_tlog_by_trust

    digest = read_document(document, digest_algorithm_of_tlog(data))
    verdict = verify_tlog_by_trust(data, anchor, digest)
    leaf, cosigned = verdict.leaf, verdict.cosigned
    attested = leaf is not None and cosigned is not None
    is_verified = verdict.failure is None and attested
    said = f" {_existence(leaf, cosigned)}" if is_verified and leaf and cosigned else ""
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
        "attestation": _describe(leaf, cosigned) if leaf and cosigned else None,
        "asked": False,
    }
    return Answer(facts, _fault_of(verdict))


def _existence(leaf: RecordLeaf, cosigned: Cosigned) -> str:
    from node.timestamp.receipt import iso_time

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


def _describe(leaf: RecordLeaf, cosigned: Cosigned) -> dict[str, Any]:
    from node.timestamp.receipt import digest_name, iso_time

    record = leaf.record
    return {
        "digest": f"{digest_name(record.digest_algorithm)}:{record.digest.hex()}",
        "type": record.type_code,
        "reference": record.reference,
        "action": record.action.name.lower(),
        "sender": leaf.sender,
        "transaction": leaf.tx_id.hex(),
        "operation": leaf.operation_index,
        "height": leaf.height,
        "time": iso_time(leaf.time_ms),
        "time_ms": leaf.time_ms,
        "checkpoint_size": cosigned.checkpoint.head.size,
        "cosigners": [line.key.name.rpartition("/")[2] for line in cosigned.cosignatures],
        "seal_time_s": cosigned.seal_time_s,
    }


def _fault_of(verdict: TlogVerdict) -> Fault | None:
    from node.timestamp.steps import Outcome
    from node.timestamp.tlog_verify import TlogStep

    failure = verdict.failure
    if failure is None:
        return None
    message = _("step {number} failed: {detail}")
    cause = message.format(number=int(failure.step), detail=failure.detail)
    if verdict.outcome is Outcome.NOT_ROOTED:
        fix = _("use a trust file of that chain and epoch, or have the proof made anew")
        return Fault("GC-2310", cause, fix)
    if failure.step is TlogStep.DOCUMENT:
        return Fault("GC-2309", cause, _("use the proof of this very document, unchanged"))
    return Fault("GC-2309", cause, _("get the proof again, whole and unchanged"))
