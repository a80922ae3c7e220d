"""Vectors of standing and consistency: what the generator makes, by both verifiers as stated."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from node.chain.reference import ReferenceName
from node.timestamp.consistency import ConsistencyStep, verify_consistency_proof
from node.timestamp.receipt import Receipt
from node.timestamp.standing import StandingStep, verify_standing
from node.timestamp.trust import load_trust
from tests.unit.timestamp import independent_proofs
from tests.unit.timestamp.independent_verifier import Trust
from tests.vectors.standing.generate import FOLDER, files

STANDING = sorted((FOLDER / "standing").glob("*.json"))
CONSISTENCY = sorted((FOLDER / "consistency").glob("*.json"))


def read(path: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """Return a case, its proof and its trust file."""
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    trust = (FOLDER / "trust" / case["trust"]).read_bytes()
    return case, base64.b64decode(case["proof"]), trust


def test_the_generator_makes_exactly_the_committed_files() -> None:
    kept = {
        str(path.relative_to(FOLDER)): path.read_bytes()
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".md"}
    }
    assert files() == kept


def test_every_step_has_cases_that_fail_at_it() -> None:
    assert {read(path)[0]["step"] for path in STANDING} == {None, *StandingStep}
    steps = {read(path)[0]["step"] for path in CONSISTENCY}
    assert steps == {None, *ConsistencyStep} - {ConsistencyStep.HISTORY}


@pytest.mark.parametrize("path", STANDING, ids=lambda path: path.stem)
def test_a_standing_is_judged_as_stated_by_both_verifiers(path: Path) -> None:
    case, proof, trust = read(path)
    name = None if case["name"] is None else ReferenceName(*case["name"])
    receipt = None if case["receipt"] is None else base64.b64decode(case["receipt"])
    opened = None if receipt is None else Receipt.decode(receipt)
    verdict = verify_standing(proof, load_trust(trust), name, opened)
    stated = (case["outcome"], case["step"])
    assert (verdict.outcome.value, verdict.failure and verdict.failure.step) == stated
    assert (verdict.failure.detail if verdict.failure else "").startswith(case["reason"])
    theirs = independent_proofs.verify_standing(proof, Trust(trust), case["name"], receipt)
    assert theirs == stated
    found = verdict.attestation
    assert (found is None) == (case["attested"] is None)
    if found is not None:
        assert found.fate.value == case["attested"]["standing"]
        assert (found.status and found.status.version) == case["attested"]["count"]
        assert (found.height, found.known_ms) == (
            case["attested"]["height"],
            case["attested"]["known_ms"],
        )


@pytest.mark.parametrize("path", CONSISTENCY, ids=lambda path: path.stem)
def test_consistency_is_judged_as_stated_by_both_verifiers(path: Path) -> None:
    case, proof, trust = read(path)
    verdict = verify_consistency_proof(proof, load_trust(trust))
    stated = (case["outcome"], case["step"])
    assert (verdict.outcome.value, verdict.failure and verdict.failure.step) == stated
    assert (verdict.failure.detail if verdict.failure else "").startswith(case["reason"])
    assert independent_proofs.verify_consistency(proof, Trust(trust)) == stated
    found = verdict.attestation
    assert (found is None) == (case["attested"] is None)
    if found is not None:
        assert (found.old.height, found.new.height) == (
            case["attested"]["old_height"],
            case["attested"]["new_height"],
        )
