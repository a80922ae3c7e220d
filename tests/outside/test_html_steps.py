"""The script of the HTML verifier, run by Node: on every case it answers as ours does."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

from node.timestamp.opening import open_receipt
from node.timestamp.refreshed import RefreshedReceipt
from tests.outside.html_verifier import (
    GOLDEN,
    Case,
    answers,
    compare,
    difference,
    encoded,
    followed_cases,
    format_cases,
    is_usable,
    mutants,
    proof_cases,
    sentence_difference,
    trust_mutants,
    vector_cases,
)
from tests.unit.timestamp.test_refreshed import DIGEST, slow_chain

MUTANTS = 60
TRUST_MUTANTS = 150
SEED = 20


def test_every_vector_has_the_same_answer(tmp_path: Path) -> None:
    cases = vector_cases()
    assert len(cases) > 250
    found = answers([encoded(case) for case in cases], tmp_path)
    assert [each for each in map(difference, cases, found) if each is not None] == []
    assert [each for each in map(sentence_difference, cases, found) if each is not None] == []


def test_every_proof_by_itself_has_the_same_answer(tmp_path: Path) -> None:
    cases = proof_cases()
    found = answers([encoded(case) for case in cases], tmp_path)
    assert {answer["outcome"] for answer in found} == {"verified", "not verified", "not rooted"}
    assert {answer["kind"] for answer in found} >= {"standing", "consistency"}
    assert [each for each in map(sentence_difference, cases, found) if each is not None] == []
    assert [each for each in map(difference, cases, found) if each is not None] == []


def test_every_proof_of_standing_beside_a_receipt_has_the_same_answer(tmp_path: Path) -> None:
    cases = followed_cases()
    found = answers([encoded(case) for case in cases], tmp_path)
    assert {answer["outcome"] for answer in found} == {"verified"}
    followed = [answer["followed"] for answer in found]
    fates = {(each["attested"] or {}).get("fate") for each in followed}
    assert fates == {None, "in_force", "superseded", "withdrawn"}
    assert [each for each in map(sentence_difference, cases, found) if each is not None] == []
    assert [each for each in map(difference, cases, found) if each is not None] == []


def test_a_proof_by_itself_from_after_the_clock_is_refused_alike(tmp_path: Path) -> None:
    cases = [replace(case, now_ms=1_577_836_800_000) for case in proof_cases()]  # 2020
    found = answers([encoded(case) for case in cases], tmp_path)
    assert "verified" not in {answer["outcome"] for answer in found}
    assert [each for each in map(difference, cases, found) if each is not None] == []


def test_every_format_has_the_same_answer(tmp_path: Path) -> None:
    cases = format_cases()
    found = answers([encoded(case) for case in cases], tmp_path)
    assert [answer["outcome"] for answer in found] == ["verified"] * 12 + ["not rooted"] * 4
    assert [each for each in map(difference, cases, found) if each is not None] == []


def test_mutants_have_the_same_answer(tmp_path: Path) -> None:
    assert compare(list(mutants(MUTANTS, SEED)), tmp_path) == []


def test_the_clock_is_asked_of_every_block_that_comes_along(tmp_path: Path) -> None:
    chain = slow_chain()
    data = RefreshedReceipt(chain.receipt(1), chain.consistency(1, 3)).encode()
    trust, document = chain.trust(3).encode(), str(DIGEST)
    own_ms, joined_ms = (chain.blocks[at].header.time_ms for at in (0, 2))
    cases = [Case(f"at {at}", trust, data, document, at) for at in (own_ms, joined_ms)]
    assert compare(cases, tmp_path) == []
    outcomes = [each["outcome"] for each in answers([encoded(each) for each in cases], tmp_path)]
    assert outcomes == ["not verified", "verified"]


def test_the_clock_is_asked_of_a_stamp_over_the_signature(tmp_path: Path) -> None:
    (stamped,) = [each for each in format_cases() if each.name == "document.txt.stamped.cose"]
    recorded_ms = open_receipt(stamped.receipt).receipt.block.header.time_ms
    cases = [replace(stamped, now_ms=now_ms) for now_ms in (recorded_ms - 1, recorded_ms)]
    found = answers([encoded(case) for case in cases], tmp_path)
    assert [each["outcome"] for each in found] == ["not verified", "verified"]
    assert compare(cases, tmp_path) == []


def test_trust_files_are_usable_alike(tmp_path: Path) -> None:
    vectors = [json.loads(path.read_text()) for path in (GOLDEN / "trust-cases").glob("*.json")]
    found = answers([{"trust": vector["trust"]} for vector in vectors], tmp_path)
    usable = [answer["refused"] is None for answer in found]
    assert usable == [vector["outcome"] == "usable" for vector in vectors]
    assert {*usable} == {True, False}


def test_mutants_of_trust_files_are_usable_alike(tmp_path: Path) -> None:
    files = list(trust_mutants(TRUST_MUTANTS, SEED))
    found = answers([{"trust": base64.b64encode(each).decode()} for each in files], tmp_path)
    usable = [answer["refused"] is None for answer in found]
    assert usable == [is_usable(each) for each in files]
    assert {*usable} == {True, False}


def test_a_difference_is_seen(tmp_path: Path) -> None:
    case = format_cases()[0]
    (answer,) = answers([encoded(case)], tmp_path)
    assert difference(case, answer) is None
    answer["attested"]["time"] += 1
    assert "attested" in str(difference(case, answer))
    answer["steps"][-1]["passed"] = False
    assert "expected" in str(difference(case, answer))
    assert base64.b64decode(encoded(case)["receipt"]) == case.receipt
