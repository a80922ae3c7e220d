"""Files that prove something by themselves: told apart by their first bytes, verified, told."""

from __future__ import annotations

import os
import time
from gettext import gettext as _
from pathlib import Path
from typing import Any

import click

from node.chain.block import Header
from node.cli.kinds import CONSISTENCY, DISCLOSURE, STANDING, kind_of
from node.cli.screen import Answer, Fault, Screen
from node.cli.standing import describe_standing, fault_of, tell_standing
from node.cli.subjects import read_file
from node.cli.verb import CommandError
from node.cli.wording import (
    clock_fix,
    describe_steps,
    outcome_style,
    outcome_word,
    step_cause,
    tell_steps,
    unrooted_fault,
)
from node.crypto.suite import Suite
from node.timestamp.consistency import (
    ConsistencyAttestation,
    ConsistencyVerdict,
    verify_consistency_proof,
)
from node.timestamp.receipt import iso_time
from node.timestamp.standing import verify_standing
from node.timestamp.steps import Outcome
from node.timestamp.trust import TrustAnchor


def verify_proof(screen: Screen, path: str, anchor: TrustAnchor, max_age_ms: int | None) -> Answer:
    """Verify what proves something by itself; wrong usage for a file that does not."""
    data = read_file(Path(path)) if os.path.lexists(path) else b""
    kind, now_ms = kind_of(data), time.time_ns() // 1_000_000
    if kind is STANDING:
        verdict = verify_standing(data, anchor, now_ms=now_ms)
        tell_standing(screen, verdict, path)
        facts = {"proof": path, "format": "standing", **describe_standing(verdict)}
        return Answer(facts, fault_of(verdict, max_age_ms))
    if kind is CONSISTENCY:
        if max_age_ms is not None:
            raise click.UsageError(_("--max-age is of a proof of standing, and this is another"))
        joined = verify_consistency_proof(data, anchor, now_ms=now_ms)
        tell_consistency(screen, path, joined)
        facts = {"proof": path, "format": "consistency"}
        return Answer(facts | describe_consistency(joined, anchor.suite), _fault_of(joined))
    if kind is DISCLOSURE and max_age_ms is None:
        from node.cli.disclose.telling import verify_file
        from node.disclosure.masking import DEFAULT_POLICY

        return verify_file(screen, Path(path), anchor, DEFAULT_POLICY, now_ms=now_ms)
    if kind is not None and kind.use:
        message = _("{path} is {kind}, which proves nothing by itself")
        raise CommandError("GC-2303", message.format(path=path, kind=kind.name), kind.fix(path))
    message = _("{path} proves nothing by itself: give the receipt of the document, --receipt")
    raise click.UsageError(message.format(path=path))


def tell_consistency(screen: Screen, label: str, verdict: ConsistencyVerdict) -> None:
    """Say what two headers are to each other, then the steps that led to it."""
    word, attestation = outcome_word(verdict.outcome), verdict.attestation
    said = label if attestation is None else f"{label}: {_spoken(attestation)}"
    screen.line(f"{word}  {said}", style=outcome_style(verdict.outcome))
    tell_steps(screen, verdict.steps)


def describe_consistency(verdict: ConsistencyVerdict, suite: Suite) -> dict[str, Any]:
    """Return a verdict as JSON members."""
    attestation = verdict.attestation
    return {
        "verdict": verdict.outcome.value,
        "steps": describe_steps(verdict.steps),
        "attestation": None
        if attestation is None
        else {
            "old": _describe_header(attestation.old, suite),
            "new": _describe_header(attestation.new, suite),
            "signers": list(attestation.signers),
            "validators": attestation.validator_count,
        },
    }


def _spoken(attestation: ConsistencyAttestation) -> str:
    old, new = attestation.old, attestation.new
    said = _(
        "of the {old_size} entries of the log at block {old} ({old_time}), none was removed, "
        "changed or moved up to block {new} ({new_time}, {size} entries; {signers} of "
        "{validators} validators signed)"
    )
    return said.format(
        old=old.height,
        old_time=iso_time(old.time_ms),
        old_size=old.log_size,
        new=new.height,
        new_time=iso_time(new.time_ms),
        size=new.log_size,
        signers=len(attestation.signers),
        validators=attestation.validator_count,
    )


def _describe_header(header: Header, suite: Suite) -> dict[str, Any]:
    return {
        "height": header.height,
        "epoch": header.epoch,
        "time": iso_time(header.time_ms),
        "time_ms": header.time_ms,
        "digest": header.digest(suite).hex(),
        "log_size": header.log_size,
        "log_root": header.log_roots[0].hex(),
    }


def _fault_of(verdict: ConsistencyVerdict) -> Fault | None:
    failure = verdict.failure
    if failure is None:
        return None
    cause = step_cause(failure)
    if verdict.outcome is Outcome.NOT_ROOTED:
        return unrooted_fault(
            failure,
            _("use the trust file of the chain that it is of"),
            _("get it again, from several validators: govchain audit proof"),
        )
    if failure.is_from_future:
        return Fault("GC-2309", cause, clock_fix())
    return Fault("GC-2309", cause, _("get it again, from several validators: govchain audit proof"))
