"""Anchors: the vectors by both verifiers, every bit of one, and another chain as the authority."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.crypto.suite import SHA_256
from node.timestamp.outside.anchor import ANCHOR_PREFIX, Anchor
from node.timestamp.outside.anchor_verify import (
    AnchoredRecord,
    AnchorStep,
    AnchorVerdict,
    verify_anchor,
)
from node.timestamp.outside.stamp import OutsideAuthority
from node.timestamp.steps import Outcome
from node.timestamp.trust import TrustAnchor, load_trust
from node.timestamp.verify import NamedDigest
from tests.unit.timestamp.independent_verifier import Trust
from tests.unit.timestamp.outside import independent_anchor
from tests.vectors.anchor.generate import (
    FOLDER,
    ISSUERS,
    OUTSIDE,
    anchor_of,
    build_chain,
    checkpoint_of,
    files,
    join,
)

CASES = sorted((FOLDER / "anchor").glob("*.json"))


def read(name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads((FOLDER / "anchor" / name).read_text(encoding="utf-8"))
    return case


@cache
def established(name: str) -> TrustAnchor:
    return load_trust((FOLDER / "trust" / name).read_bytes())


def judge(case: dict[str, Any], data: bytes, now_ms: int | None = None) -> AnchorVerdict:
    record = case["receipt"] and AnchoredRecord(
        base64.b64decode(case["receipt"]), NamedDigest.parse(case["document"])
    )
    trust = established(case["trust"])
    root = (FOLDER / "authority" / case["authority"]).read_bytes()
    return verify_anchor(data, trust, OutsideAuthority(roots=(root,)), record, now_ms=now_ms)


def test_the_generator_makes_exactly_the_committed_files() -> None:
    kept = {
        str(path.relative_to(FOLDER)): path.read_bytes()
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".md"}
    }
    assert files() == kept


def test_every_step_has_cases_that_fail_at_it() -> None:
    assert {read(path.name)["step"] for path in CASES} == {None, *AnchorStep}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_an_anchor_is_judged_as_stated_by_both_verifiers(path: Path, tmp_path: Path) -> None:
    case = read(path.name)
    data, stated = base64.b64decode(case["anchor"]), (case["outcome"], case["step"])
    verdict = judge(case, data)
    assert (verdict.outcome.value, verdict.failure and verdict.failure.step) == stated
    assert (verdict.failure.detail if verdict.failure else "").startswith(case["reason"])
    theirs = independent_anchor.verify_anchor(
        data,
        Trust((FOLDER / "trust" / case["trust"]).read_bytes()),
        FOLDER / "authority" / case["authority"],
        tmp_path,
        case["receipt"] and base64.b64decode(case["receipt"]),
        case["document"],
    )
    assert theirs == stated
    found = verdict.attestation
    assert (found is None) == (case["attested"] is None)
    if found is not None:
        attested = {"height": found.header.height, "stamped_ms": found.stamp.time_ms}
        assert attested == case["attested"]
        assert (found.receipt is None) is (case["receipt"] is None)


def test_every_bit_counts_and_nothing_crashes() -> None:
    case = read("good-record.json")
    encoded = base64.b64decode(case["anchor"])
    assert encoded.startswith(ANCHOR_PREFIX)
    assert Anchor.decode(encoded).encode() == encoded
    for position in range(len(encoded)):
        flipped = bytearray(encoded)
        flipped[position] ^= 1 << position % 8
        verdict = judge(case, bytes(flipped))
        assert verdict.outcome is not Outcome.VERIFIED, position
        assert verdict.attestation is None


def test_a_record_is_covered_by_every_later_anchor_and_by_no_earlier_one() -> None:
    chain = build_chain()
    trust = load_trust(chain.trust().encode())
    believed = OutsideAuthority(roots=(ISSUERS[OUTSIDE].root,))
    heights = range(1, chain.tip.height + 1)
    anchors = {height: anchor_of(checkpoint_of(chain, height)) for height in heights}
    for recorded in (1, 3, 4, 7):
        receipt = chain.receipt(recorded)
        named = NamedDigest(SHA_256, receipt.leaf.record.digest)
        record = AnchoredRecord(receipt.encode(), named)
        for height, anchor in anchors.items():
            joined = join(chain, anchor, recorded) if height > recorded else anchor
            verdict = verify_anchor(joined.encode(), trust, believed, record)
            assert (verdict.outcome is Outcome.VERIFIED) is (height >= recorded), (recorded, height)
            if height < recorded:
                assert verdict.steps[-1].step is AnchorStep.RECEIPT


def test_a_stamp_from_the_future_is_refused_by_a_clock() -> None:
    case = read("good-record.json")
    data, stamped_ms = base64.b64decode(case["anchor"]), case["attested"]["stamped_ms"]
    assert judge(case, data, now_ms=stamped_ms).outcome is Outcome.VERIFIED
    verdict = judge(case, data, now_ms=stamped_ms - 86_400_000)
    assert verdict.failure is not None
    assert verdict.failure.step is AnchorStep.STAMP
    assert "time-future" in verdict.failure.detail


def test_what_is_recorded_on_the_chain_is_the_anchor_joined_to_nothing() -> None:
    chain = build_chain()
    anchor = Anchor(checkpoint=checkpoint_of(chain, 3), token=b"token")
    kept = SHA_256.new_hash(anchor.encode()).digest()
    assert anchor.recorded_digest == join(chain, anchor, 1).recorded_digest == kept
    assert join(chain, anchor, 1) != anchor
    assert join(chain, anchor, 1).joined(None) == anchor


@given(st.binary(max_size=200))
def test_any_bytes_get_a_verdict(data: bytes) -> None:
    case = read("good-alone.json")
    for prefix in (b"", ANCHOR_PREFIX):
        verdict = judge(case, prefix + data)
        assert verdict.outcome is Outcome.NOT_VERIFIED
        assert verdict.steps[-1].step is AnchorStep.ANCHOR
