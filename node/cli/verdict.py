"""How the verdict on a receipt or token is told, and what helps where a step failed."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enum import IntEnum

    from node.cli.screen import Fault, Screen
    from node.timestamp.verify import Verdict


def tell_verdict(screen: Screen, label: str, verdict: Verdict) -> None:
    """Say the verdict in words, then the numbered steps that led to it."""
    from node.cli.wording import headline, outcome_style, tell_steps

    screen.line(headline(label, verdict), style=outcome_style(verdict.outcome))
    tell_steps(screen, verdict.steps)
    attestation = verdict.attestation
    if attestation is not None and attestation.accuracy_ms is not None:
        said = _("recorded by {sender}; the chain promises its time to be accurate to {ms} ms")
        screen.line("  " + said.format(sender=attestation.sender, ms=attestation.accuracy_ms))


def fault_of_receipt(verdict: Verdict) -> Fault | None:
    """Return the fault of the step that failed, with what helps; None if none did."""
    from node.cli.wording import step_fault
    from node.timestamp.tokens.check import TokenStep
    from node.timestamp.verify import Step

    failure = verdict.failure
    if failure is None:
        return None
    is_alone = isinstance(failure.step, TokenStep)
    beside = _fix_beside(failure.detail)
    return step_fault(
        verdict,
        TokenStep.DOCUMENT if is_alone else Step.DOCUMENT,
        rooting=_rooting(failure.step),
        refreshing=_("join it to the newest block: govchain receipt refresh RECEIPT"),
        matching=beside or _("use the receipt of this very document, unchanged"),
        renewing=beside or _("fetch the receipt again: govchain receipt fetch"),
    )


def _rooting(step: IntEnum) -> str:
    """Return what helps where a step of a receipt, or of a token, finds no root."""
    from node.cli.wording import authority_fix
    from node.timestamp.tokens.check import TokenStep
    from node.timestamp.verify import Step

    if step is TokenStep.AUTHORITY or step is Step.TOKEN:
        return authority_fix()
    if step is TokenStep.CHAIN or step is Step.RECEIPT:
        return _(
            "no trust file makes it more than that: rely on the receipt of its record, which "
            "carries the validators' proof (govchain receipt fetch FILE)"
        )
    return _("use the trust file of the receipt's chain")


def _fix_beside(detail: str) -> str:
    """Return what helps where a receipt does not fit what is given beside it; else nothing."""
    if " request" in detail:
        return _("give the request that this very token answers (--query), or none")
    if detail.startswith("certificate-missing: "):
        return _("give the certificate of the key that signed it: --certificate")
    if detail.startswith("revoked: "):
        return _(
            "rely on the receipt of its record, which rests on no such key: govchain receipt fetch "
            "FILE"
        )
    return ""
