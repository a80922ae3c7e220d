"""Proofs in C2SP form: made of receipts, verified here and by a script of the pages alone."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.record import RecordAction
from node.crypto.suite import SHA_256, SM3
from node.errors import ClientError
from node.timestamp.export import export_tlog
from node.timestamp.log.checkpoint import origin_of
from node.timestamp.log.note import NoteSignature
from node.timestamp.log.policy import parse_policy, policy_of
from node.timestamp.log.proof import TlogProof, tlog_proof_of
from node.timestamp.log.verify import (
    TlogStep,
    digest_algorithm_of_tlog,
    is_tlog_proof,
    verify_tlog_by_trust,
    verify_tlog_proof,
)
from node.timestamp.receipt import Receipt
from node.timestamp.steps import Outcome
from node.timestamp.verify import NamedDigest
from tests.unit.timestamp import independent_tlog
from tests.vectors.receipt.chain import Chain, record_of, validator_set
from tests.vectors.receipt.cosigned import TIME_S, checkpoint_at, cosigned, with_checkpoint

DOCUMENT = b"a document"
DIGEST = NamedDigest(SHA_256, hashlib.sha256(DOCUMENT).digest())


def build(
    action: RecordAction = RecordAction.RECORD, *, degraded: bool = False
) -> tuple[Chain, Receipt]:
    chain = Chain.found()
    chain.append(record_of(b"before"), record_of(b"too"))
    records = (record_of(DOCUMENT, action=action), record_of(b"after"))
    height = chain.append(*records, degraded=degraded)
    chain.append(record_of(b"later"))
    size = len(chain.leaves)
    receipt = chain.receipt(height)
    note = cosigned(checkpoint_at(chain, size), chain.validators)
    return chain, replace(receipt, checkpoint=with_checkpoint(chain, receipt, note.encode(), size))


CHAIN, RECEIPT = build()
PROOF = tlog_proof_of(RECEIPT).encode()
POLICY_TEXT = policy_of(CHAIN.genesis.chain_id, CHAIN.validators)
POLICY = parse_policy(POLICY_TEXT.encode())


def test_a_proof_made_of_a_receipt_verifies_and_says_who_and_when() -> None:
    verdict = verify_tlog_proof(PROOF, POLICY, DIGEST)
    assert verdict.outcome is Outcome.VERIFIED
    assert [report.step for report in verdict.steps] == list(TlogStep)
    assert verdict.attestation is not None
    assert verdict.attestation.leaf == RECEIPT.leaf
    assert verdict.attestation.cosigned.seal_time_s == TIME_S + 1
    assert len(verdict.attestation.cosigned.cosignatures) == 3


def test_the_same_receipt_gives_the_same_bytes_and_they_are_read_back() -> None:
    again = tlog_proof_of(Receipt.decode(RECEIPT.encode()))
    assert again.encode() == PROOF
    assert TlogProof.decode(PROOF) == again


def test_a_script_that_knows_only_the_pages_agrees(tmp_path: Path) -> None:
    for name, data in (("p", PROOF), ("policy", POLICY_TEXT.encode()), ("d", DOCUMENT)):
        (tmp_path / name).write_bytes(data)
    script = Path(independent_tlog.__file__)
    command = [sys.executable, "-I", str(script), *(str(tmp_path / n) for n in ("p", "policy"))]
    good = subprocess.run([*command, str(tmp_path / "d")], check=False, capture_output=True)
    assert (good.returncode, good.stderr) == (0, b"")
    other = subprocess.run([*command, str(tmp_path / "p")], check=False, capture_output=True)
    assert (other.returncode, other.stderr) == (1, b"another document\n")


def test_that_script_imports_nothing_of_this_product() -> None:
    tree = ast.parse(Path(independent_tlog.__file__).read_text(encoding="utf-8"))
    names = [
        alias.name
        for each in ast.walk(tree)
        if isinstance(each, ast.Import)
        for alias in each.names
    ]
    names += [each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    assert names
    assert not [name for name in names if name.split(".")[0] in {"node", "tests"}]


def test_every_flipped_byte_is_noticed_and_each_eighth_by_the_script() -> None:
    for position in range(len(PROOF)):
        flipped = bytearray(PROOF)
        flipped[position] ^= 0x02
        data = bytes(flipped)
        verdict = verify_tlog_proof(data, POLICY, DIGEST)
        assert verdict.outcome is not Outcome.VERIFIED, position
        assert verdict.failure is not None
        if position % 8:
            continue
        try:
            failure = independent_tlog.verify(data.decode(), POLICY_TEXT, DOCUMENT)
        except (cbor2.CBORDecodeError, LookupError, TypeError, ValueError):
            failure = "malformed"
        # The script reads as Python does, which forgives: that a text has one form is our own rule.
        assert failure or verdict.failure.step is TlogStep.PROOF, position


def test_a_receipt_without_a_checkpoint_makes_no_proof() -> None:
    with pytest.raises(ClientError, match="no checkpoint"):
        tlog_proof_of(replace(RECEIPT, checkpoint=None))


def test_a_time_that_nobody_vouches_for_is_exported_in_no_form_that_cannot_show_it() -> None:
    _, degraded = build(degraded=True)
    assert degraded.block.header.time_degraded
    assert export_tlog(degraded) is None
    assert export_tlog(RECEIPT) == PROOF


def failing_step(data: bytes, document: NamedDigest = DIGEST) -> tuple[Outcome, object]:
    verdict = verify_tlog_proof(data, POLICY, document)
    assert verdict.failure is not None
    return verdict.outcome, verdict.failure.step


def test_each_step_fails_by_its_name() -> None:
    wrong, proof = Outcome.NOT_VERIFIED, tlog_proof_of(RECEIPT)
    assert failing_step(b"") == (wrong, TlogStep.PROOF)
    assert failing_step(PROOF + b"\n") == (wrong, TlogStep.PROOF)
    header_leaf = replace(proof, entry=CHAIN.leaves[0])
    assert failing_step(header_leaf.encode()) == (wrong, TlogStep.ENTRY)
    other = NamedDigest(SHA_256, bytes(32))
    assert failing_step(PROOF, other) == (wrong, TlogStep.DOCUMENT)
    assert failing_step(PROOF, NamedDigest(SM3, DIGEST.value)) == (wrong, TlogStep.DOCUMENT)
    few = replace(proof, checkpoint=cosigned(checkpoint_at(CHAIN, 8), CHAIN.validators, (0, 1)))
    assert failing_step(few.encode()) == (wrong, TlogStep.CHECKPOINT)
    moved = replace(proof, index=proof.index + 1)
    assert failing_step(moved.encode()) == (wrong, TlogStep.INCLUSION)
    beyond = replace(proof, index=2**40)
    assert failing_step(beyond.encode()) == (wrong, TlogStep.INCLUSION)


def test_a_log_that_the_policy_does_not_name_is_not_rooted() -> None:
    other = parse_policy(policy_of(bytes(32), CHAIN.validators).encode())
    verdict = verify_tlog_proof(PROOF, other, DIGEST)
    assert verdict.outcome is Outcome.NOT_ROOTED


def test_what_unknown_validators_signed_is_not_rooted_and_nothing_false_is_forgiven() -> None:
    origin = origin_of(CHAIN.genesis.chain_id)
    proof = tlog_proof_of(RECEIPT)
    log_line, *lines = proof.checkpoint.signatures
    strange = [replace(each, key_id=b"????") for each in lines]
    few = (log_line, lines[0], *strange[1:])
    assert failing_step(with_lines(proof, few)) == (Outcome.NOT_ROOTED, TlogStep.CHECKPOINT)
    by_stranger = (replace(log_line, key_id=b"????"), *lines)
    assert failing_step(with_lines(proof, by_stranger))[0] is Outcome.NOT_ROOTED
    false = replace(lines[0], signature=lines[1].signature)
    for wrong in (
        (log_line, lines[0]),  # too few, and no stranger
        (log_line, lines[0], replace(strange[1], name=f"{origin}0/v")),  # of another log
        (log_line, false, *strange[1:]),
        (by_stranger[0], false, *lines[1:]),
    ):
        assert failing_step(with_lines(proof, wrong))[0] is Outcome.NOT_VERIFIED


def with_lines(proof: TlogProof, lines: Sequence[NoteSignature]) -> bytes:
    return replace(proof, checkpoint=replace(proof.checkpoint, signatures=tuple(lines))).encode()


def test_a_withdrawal_is_shown_and_not_verified() -> None:
    chain, receipt = build(RecordAction.WITHDRAW)
    policy = parse_policy(policy_of(chain.genesis.chain_id, chain.validators).encode())
    verdict = verify_tlog_proof(tlog_proof_of(receipt).encode(), policy, DIGEST)
    assert verdict.failure is not None
    assert (verdict.outcome, verdict.failure.step) == (Outcome.NOT_VERIFIED, TlogStep.RECORD)
    assert verdict.attestation is not None
    assert verdict.attestation.leaf == receipt.leaf


@given(st.binary(max_size=400), st.integers(0, len(PROOF)))
def test_no_bytes_make_it_raise(noise: bytes, keep: int) -> None:
    verdict = verify_tlog_proof(PROOF[:keep] + noise, POLICY, DIGEST)
    assert verdict.outcome is not Outcome.VERIFIED or PROOF[:keep] + noise == PROOF


def test_a_trust_file_leads_to_the_policy_and_knows_what_is_retired() -> None:
    chain, receipt = build()
    proof = tlog_proof_of(receipt).encode()
    assert (
        verify_tlog_by_trust(proof, chain.trust().establish(), DIGEST).outcome is Outcome.VERIFIED
    )
    chain.append(next_set=validator_set(1, (5, 6, 7, 8)))
    later = chain.append(record_of(b"in epoch 1"))
    anchor = chain.trust(later).establish()
    retired = verify_tlog_by_trust(proof, anchor, DIGEST)
    assert retired.failure is not None
    assert (retired.outcome, retired.failure.step) == (Outcome.NOT_ROOTED, TlogStep.CHECKPOINT)
    assert "retired" in retired.failure.detail
    size = len(chain.leaves)
    note = cosigned(checkpoint_at(chain, size), chain.validators)
    anew = replace(receipt, checkpoint=with_checkpoint(chain, receipt, note.encode(), size))
    renewed = tlog_proof_of(anew).encode()
    assert verify_tlog_by_trust(renewed, anchor, DIGEST).outcome is Outcome.VERIFIED
    before = verify_tlog_by_trust(renewed, chain.trust(1).establish(), DIGEST)
    assert before.failure is not None
    assert (before.outcome, before.failure.step) == (Outcome.NOT_ROOTED, TlogStep.CHECKPOINT)
    assert "unknown ones did" in before.failure.detail
    assert digest_algorithm_of_tlog(proof) is SHA_256
    assert digest_algorithm_of_tlog(b"") is SHA_256
    assert is_tlog_proof(proof)
    assert not is_tlog_proof(receipt.encode())
