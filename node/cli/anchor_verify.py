"""Verdicts on anchors, told and described."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import Any

from node.cli.screen import Fault, Screen
from node.cli.wording import (
    describe_recorded,
    describe_steps,
    outcome_style,
    outcome_word,
    step_fault,
    tell_steps,
)
from node.timestamp.outside.anchor_verify import AnchorAttestation, AnchorStep, AnchorVerdict
from node.timestamp.receipt import iso_time


def tell_anchor(screen: Screen, label: str, verdict: AnchorVerdict) -> dict[str, Any]:
    """Say what an anchor shows and the steps that led to it; return it as JSON members."""
    attestation = verdict.attestation
    said = label if attestation is None else f"{label}: {_spoken(attestation)}"
    style = outcome_style(verdict.outcome)
    screen.line(f"{outcome_word(verdict.outcome)}  {said}", style=style)
    tell_steps(screen, verdict.steps)
    if attestation is not None and attestation.insider is not None:
        warn_of_insider(screen, attestation.stamp.authority, attestation.insider)
    return {
        "verdict": verdict.outcome.value,
        "steps": describe_steps(verdict.steps),
        "attestation": None if attestation is None else _describe(attestation),
    }


def warn_of_insider(screen: Screen, authority: str, insider: str) -> None:
    """Say that an authority is not outside the chain."""
    said = _(
        "NOT OUTSIDE: {authority} is of {insider}, a part of the chain; its stamp adds nothing"
    )
    screen.line(said.format(authority=authority, insider=insider), style="yellow")


def fault_of(verdict: AnchorVerdict, authority: Path) -> Fault | None:
    """Return the fault of the step that failed; None if none did.

    `authority` is the file of certificates by which the stamp was judged.
    """
    failure = verdict.failure
    rooting = _("use the trust file of the chain, and an anchor by an authority outside it")
    if failure is not None and failure.step is AnchorStep.STAMP:
        said = _(
            "{path} is not of whoever stamped it: name that authority's certificate, --authority"
        )
        rooting = said.format(path=authority)
    is_joining = failure is not None and failure.step is AnchorStep.JOIN
    return step_fault(
        verdict,
        AnchorStep.JOIN if is_joining else AnchorStep.RECEIPT,
        rooting=rooting,
        matching=_("name the receipt that the anchor was exported for, and its document"),
        renewing=_("get it again: govchain anchor export"),
    )


def _spoken(attestation: AnchorAttestation) -> str:
    stamp, header, receipt = attestation.stamp, attestation.header, attestation.receipt
    if receipt is None:
        said = _("block {height} and all before it existed no later than {time}, says {authority}")
    else:
        said = _(
            "the record of block {block}, of {recorded}, existed no later than {time}, says "
            "{authority} (as part of block {height}, {signers} of {validators} validators signed)"
        )
    return said.format(
        block=None if receipt is None else receipt.block.header.height,
        recorded=None if receipt is None else iso_time(receipt.block.header.time_ms),
        height=header.height,
        time=iso_time(stamp.latest_ms),
        authority=stamp.authority,
        signers=len(attestation.signers),
        validators=attestation.validator_count,
    )


def _describe(attestation: AnchorAttestation) -> dict[str, Any]:
    stamp, header, receipt = attestation.stamp, attestation.header, attestation.receipt
    return {
        "stamped": iso_time(stamp.time_ms),
        "stamped_ms": stamp.time_ms,
        "accuracy_ms": stamp.accuracy_ms,
        "latest_ms": stamp.latest_ms,
        "authority": stamp.authority,
        "outside": attestation.insider is None,
        "insider": attestation.insider,
        "policy": stamp.policy,
        "serial_number": f"{stamp.serial_number:x}",
        "height": header.height,
        "epoch": header.epoch,
        "time_ms": header.time_ms,
        "signers": list(attestation.signers),
        "validators": attestation.validator_count,
        "record": None if receipt is None else describe_recorded(receipt.leaf),
    }
