"""Proof of misbehaviour is verified offline: proven by the right trust file, and by no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.evidence import Evidence
from node.cli.exit_codes import ExitCode
from node.timestamp.trust import TrustFile
from tests.unit.cli.command import CHINESE, run
from tests.unit.consensus.signing import evidence_against
from tests.unit.execution.small_chain import GENESIS

EVIDENCE = evidence_against(1)


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    path = tmp_path / "trust.json"
    path.write_bytes(TrustFile(chain_id=GENESIS.chain_id, genesis=GENESIS).encode())
    return path


def written(folder: Path, evidence: Evidence) -> Path:
    path = folder / "proof"
    path.write_bytes(evidence.encode())
    return path


def test_proof_is_proven_by_the_trust_file_alone(tmp_path: Path, trust: Path) -> None:
    proof = written(tmp_path, EVIDENCE)
    ran = run("misbehaviour", "verify", proof, "--trust", trust, "--json")
    accused = GENESIS.validators.validators[1]
    assert (ran.code, ran.json["proven"]) == (0, True)
    assert ran.json["evidence"]["validator"] == accused.validator_id
    assert ran.json["evidence"]["organisation"] == accused.organisation
    first, second = ran.json["evidence"]["statements"]
    assert first["digest"] < second["digest"]
    told = run("misbehaviour", "verify", proof, "--trust", trust)
    assert f"PROVEN  {accused.validator_id}" in told.out
    assert "已证明" in run("misbehaviour", "verify", proof, "--trust", trust, env=CHINESE).out


def test_a_forged_vote_proves_nothing(tmp_path: Path, trust: Path) -> None:
    forged = replace(EVIDENCE, second=replace(EVIDENCE.second, signature=bytes(64)))
    ran = run("misbehaviour", "verify", written(tmp_path, forged), "--trust", trust, "--json")
    assert (ran.code, ran.json["proven"]) == (ExitCode.NOT_VERIFIED, False)
    assert ran.json["error"]["code"] == "GC-2317"


def test_the_accused_cannot_be_exchanged(tmp_path: Path, trust: Path) -> None:
    about_another = replace(EVIDENCE, validator=2)
    ran = run("misbehaviour", "verify", written(tmp_path, about_another), "--trust", trust)
    assert ran.code == ExitCode.NOT_VERIFIED


def test_a_later_epoch_than_the_trust_file_knows_is_not_rooted(tmp_path: Path, trust: Path) -> None:
    later = written(tmp_path, replace(EVIDENCE, epoch=1))
    ran = run("misbehaviour", "verify", later, "--trust", trust, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_ROOTED, "GC-2310")


def test_what_is_no_evidence_is_wrong_usage(tmp_path: Path, trust: Path) -> None:
    path = tmp_path / "proof"
    path.write_bytes(b"nothing of the kind")
    ran = run("misbehaviour", "verify", path, "--trust", trust, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-1001")
    ran = run("misbehaviour", "verify", tmp_path / "absent", "--trust", trust)
    assert ran.code == ExitCode.USAGE
