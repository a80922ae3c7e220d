"""Our own receipt vectors: still what the generator makes, and each with the verdict it states."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from node.errors import DecodeError, ProofError
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.vectors.receipt.generate import FOLDER, files

CASES = sorted((FOLDER / "cases").glob("*.json"))
REFRESHED_CASES = sorted((FOLDER / "refreshed-cases").glob("*.json"))
TRUST_CASES = sorted((FOLDER / "trust-cases").glob("*.json"))
ATTESTED = {  # a case's field: ours
    "sender": "sender",
    "height": "height",
    "agreed_time_ms": "time_ms",
    "time_degraded": "time_degraded",
    "accuracy_ms": "accuracy_ms",
    "seal_time_ms": "seal_time_ms",
}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_the_generator_makes_exactly_the_committed_files() -> None:
    kept = {
        str(path.relative_to(FOLDER)): path.read_bytes()
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".md"}
    }
    assert files() == kept


def test_every_step_has_cases_that_fail_at_it() -> None:
    assert {read(path)["step"] for path in CASES} == {None, *Step}


@pytest.mark.parametrize("path", [*CASES, *REFRESHED_CASES], ids=lambda path: path.stem)
def test_the_verdict_is_the_stated_one_at_the_stated_step_for_the_stated_reason(path: Path) -> None:
    case = read(path)
    anchor = load_trust((FOLDER / "trust" / case["trust"]).read_bytes())
    receipt = base64.b64decode(case["receipt"])
    verdict = verify_receipt(receipt, anchor, NamedDigest.parse(case["digest"]))
    failed = verdict.failure
    assert verdict.outcome is Outcome(case["outcome"])
    assert (failed and failed.step) == case["step"]
    assert (failed.detail if failed else "").startswith(case["reason"])
    taken = [report.step for report in verdict.steps]
    assert taken == list(Step)[: len(taken)]
    assert all(report.passed for report in verdict.steps[:-1])
    assert (verdict.attestation is not None) == (case["step"] in {None, Step.RECORD})
    if verdict.outcome is Outcome.VERIFIED:
        assert {name: getattr(verdict.attestation, field) for name, field in ATTESTED.items()} == (
            case["attested"]
        )
    else:
        assert case["attested"] is None


def test_every_rule_has_trust_files_that_break_it() -> None:
    assert {read(path)["rule"] for path in TRUST_CASES} == {None, "form", "A", "B", "C", "D"}


@pytest.mark.parametrize("path", TRUST_CASES, ids=lambda path: path.stem)
def test_a_trust_file_is_usable_or_refused_for_the_stated_reason(path: Path) -> None:
    case = read(path)
    data = base64.b64decode(case["trust"])
    if case["outcome"] == "usable":
        assert case["rule"] is None
        load_trust(data)
        return
    with pytest.raises((DecodeError, ProofError)) as caught:
        load_trust(data)
    assert str(caught.value).startswith(case["reason"])
    assert case["reason"]
