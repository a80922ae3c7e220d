"""Refreshed receipts in every format: what joins them is carried, and judged as it is alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest

from node.errors import DecodeError
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.cose import CARRIED_LABEL, JOIN_LABEL, CoseReceipt
from node.timestamp.export import (
    COSE,
    EXPORTS,
    NATIVE,
    QR,
    TLOG,
    TSR,
    cose_receipt_of,
    export_stamped_cose,
)
from node.timestamp.opening import PDF, open_receipt
from node.timestamp.receipt import Receipt
from node.timestamp.refreshed import REFRESHED, RefreshedReceipt
from node.timestamp.steps import StepReport
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, Outcome, Step, Verdict, verify_receipt
from tests.unit.timestamp.independent_proofs import verify_refreshed
from tests.unit.timestamp.independent_verifier import Trust
from tests.unit.timestamp.pdf_files import sound
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.chain import Chain
from tests.vectors.receipt.formats import golden_join, golden_receipt, stamp_of
from tests.vectors.receipt.generate import FOLDER
from tests.vectors.receipt.keyed import build_keyed_chain, certificate_at, with_compact
from tests.vectors.receipt.story import FIRST_OF_EPOCH_2, PLAIN, build_chain
from tests.vectors.receipt.tokens import authority_of, issuer_of, with_token

CHAIN = build_chain()
CASES = sorted((FOLDER / "refreshed-cases").glob("*.json"))
PINNED_7 = load_trust((FOLDER / "trust" / "pinned-7.json").read_bytes())
DOCUMENT = NamedDigest.parse(DIGEST)


def in_pdf(receipt: Receipt, join: ConsistencyProof | None = None) -> bytes:
    data = EXPORTS[NATIVE].make(receipt, join)
    assert data is not None
    return next(iter(sound(data).values()))


MAKERS: dict[str, Callable[[Receipt, ConsistencyProof | None], bytes | None]] = {
    **{name: EXPORTS[name].make for name in (NATIVE, TSR, COSE)},
    PDF: in_pdf,
}


def told(verdict: Verdict) -> tuple[object, ...]:
    """Return a verdict but for what the first step says of the file."""
    first = replace(verdict.steps[0], detail="")
    rest: tuple[StepReport, ...] = verdict.steps[1:]
    return verdict.outcome, first, rest, verdict.attestation


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_every_format_is_asked() -> None:
    with_room = {name for name, export in EXPORTS.items() if export.joined_suffix is not None}
    assert with_room | {PDF} == MAKERS.keys()
    assert EXPORTS.keys() - with_room == {QR, TLOG}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_vector_has_the_verdict_of_its_own_form_in_every_format(
    path: Path, name: str
) -> None:
    case = read(path)
    anchor = load_trust((FOLDER / "trust" / case["trust"]).read_bytes())
    document = NamedDigest.parse(case["digest"])
    try:
        opened = open_receipt(base64.b64decode(case["receipt"]))
    except DecodeError:
        assert case["step"] == Step.RECEIPT, "there is nothing to carry"
        return
    receipt = opened.receipt
    if name == TSR:
        receipt = with_token(receipt, issuer_of(authority_of(CHAIN)))
    own = EXPORTS[NATIVE].make(receipt, opened.joined)
    made = MAKERS[name](receipt, opened.joined)
    assert own is not None
    if receipt.cose is None and name == COSE:
        assert made is None
        return
    assert made is not None
    verdict = verify_receipt(made, anchor, document)
    assert told(verdict) == told(verify_receipt(own, anchor, document))
    again = open_receipt(made)
    assert (again.receipt, again.joined) == (receipt, opened.joined)
    if name != TSR:  # the token of a forged or a degraded one is a story of its own
        assert verdict.outcome is Outcome(case["outcome"])
        assert (verdict.failure and verdict.failure.step) == case["step"]


@pytest.mark.parametrize("name", MAKERS)
def test_without_what_joins_it_the_same_receipt_is_not_rooted(name: str) -> None:
    receipt, join = golden_receipt(CHAIN), golden_join(CHAIN)
    joined, alone = (MAKERS[name](receipt, each) for each in (join, None))
    assert joined is not None
    assert alone is not None
    assert open_receipt(joined).format == (REFRESHED if name == NATIVE else name)
    verdict = verify_receipt(joined, PINNED_7, DOCUMENT)
    assert verdict.outcome is Outcome.VERIFIED
    assert verdict.attestation is not None
    assert verdict.attestation.joined_height == FIRST_OF_EPOCH_2
    failed = verify_receipt(alone, PINNED_7, DOCUMENT)
    assert failed.outcome is Outcome.NOT_ROOTED
    assert failed.failure is not None
    assert failed.failure.step is Step.ROOT


@pytest.mark.parametrize("name", MAKERS)
def test_what_joins_another_block_is_not_taken_for_it(name: str) -> None:
    other = CHAIN.consistency(PLAIN + 1, FIRST_OF_EPOCH_2)
    made = MAKERS[name](golden_receipt(CHAIN), other)
    assert made is not None
    verdict = verify_receipt(made, PINNED_7, DOCUMENT)
    assert verdict.outcome is Outcome.NOT_VERIFIED
    assert verdict.failure is not None
    assert verdict.failure.step is Step.ROOT
    assert verdict.failure.detail.startswith("refreshed-header")


def cose_joined() -> CoseReceipt:
    made = cose_receipt_of(golden_receipt(CHAIN), golden_join(CHAIN))
    assert made is not None
    return made


def test_no_fifth_byte_of_what_joins_it_can_be_flipped_in_a_cose_receipt() -> None:
    made = cose_joined()
    assert made.join is not None
    data = made.encode()
    start = data.index(made.join) - 8  # its label and its length too
    for position in range(start, start + 8 + len(made.join), 5):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        verdict = verify_receipt(bytes(flipped), PINNED_7, DOCUMENT)
        assert verdict.outcome is not Outcome.VERIFIED, position
        assert verdict.failure is not None
        assert verdict.failure.step in {Step.RECEIPT, Step.ROOT}


def test_the_header_of_a_cose_receipt_holds_a_consistency_proof_and_nothing_else() -> None:
    good = cose_joined()
    for join in (b"", golden_receipt(CHAIN).encode(), (good.join or b"") + b"\0"):
        with pytest.raises(DecodeError, match="consistency proof"):
            open_receipt(replace(good, join=join).encode())
    refreshed = RefreshedReceipt(golden_receipt(CHAIN), golden_join(CHAIN)).encode()
    with pytest.raises(DecodeError, match="receipt: "):
        open_receipt(replace(good, carried=refreshed, join=None).encode())
    verdict = verify_receipt(replace(good, carried=None).encode(), PINNED_7, DOCUMENT)
    assert verdict.outcome is Outcome.NOT_ROOTED, "it joins a receipt that is not there"
    assert verdict.failure is not None
    assert verdict.failure.step is Step.RECEIPT
    carried, join = (bytes(cbor2.dumps(each)) for each in (good.carried, good.join))
    labels = [bytes(cbor2.dumps(label)) for label in (CARRIED_LABEL, JOIN_LABEL)]
    ordered = labels[0] + carried + labels[1] + join
    data = good.encode()
    assert data.count(ordered) == 1
    with pytest.raises(DecodeError, match="not the canonical encoding"):
        open_receipt(data.replace(ordered, labels[1] + join + labels[0] + carried))


def test_a_stamp_and_a_join_stand_side_by_side_in_a_cose_receipt() -> None:
    receipt, join = golden_receipt(CHAIN), golden_join(CHAIN)
    at_ms = receipt.block.header.time_ms + 60_000
    token = stamp_of(cose_joined().stamped_bytes, CHAIN, at_ms)
    made = export_stamped_cose(receipt, token, join)
    assert made is not None
    opened = open_receipt(made)
    assert (opened.stamped_ms, opened.joined) == (at_ms, join)
    assert verify_receipt(made, PINNED_7, DOCUMENT).outcome is Outcome.VERIFIED


def test_the_headers_of_a_cose_receipt_make_a_refreshed_one_for_any_verifier() -> None:
    """As proto/verify/cose.md says, by those who know none of our code."""
    headers = cbor2.loads(cose_joined().encode()).value[1]
    data = cbor2.dumps(["govchain-refreshed", 1, headers[-6778742], headers[-6778743]])
    trust = Trust((FOLDER / "trust" / "pinned-7.json").read_bytes())
    assert verify_refreshed(data, DIGEST, trust) == ("verified", None)


def test_formats_without_room_are_those_of_the_receipt_alone() -> None:
    keyed = build_keyed_chain()
    receipt = with_compact(keyed, keyed.receipt(PLAIN, 1), certificate_at(keyed, 5))
    for name, each, chain, later in (
        (QR, receipt, keyed, 4),
        (TLOG, golden_receipt(CHAIN), CHAIN, FIRST_OF_EPOCH_2),
    ):
        assert isinstance(chain, Chain)
        make = EXPORTS[name].make
        alone = make(each)
        assert alone is not None
        assert make(each, chain.consistency(PLAIN, later)) == alone
