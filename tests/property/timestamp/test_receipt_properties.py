"""Whatever is done to a receipt or a trust file: an answer, the right one, and never a crash."""

from __future__ import annotations

import hashlib
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.encoding import encode
from node.crypto.suite import SHA_256
from node.errors import DecodeError, ProofError
from node.timestamp.receipt import Receipt
from node.timestamp.trust import TrustFile, load_trust
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.unit.timestamp.independent_verifier import Trust, verify
from tests.vectors.receipt.chain import Chain, record_of, validator_set

DOCUMENT = b"a document"
DIGEST = NamedDigest(SHA_256, hashlib.sha256(DOCUMENT).digest())


def small_chain() -> Chain:
    chain = Chain.found()
    chain.append(record_of(DOCUMENT), record_of(b"neighbour"), voters=(0, 1, 2, 3))
    chain.append(record_of(DOCUMENT), next_set=validator_set(1, (1, 2, 3, 4, 5)))
    chain.append(record_of(b"neighbour"), record_of(DOCUMENT))
    return chain


CHAIN = small_chain()
TRUST_BYTES = CHAIN.trust().encode()
ANCHOR, THEIR_TRUST = load_trust(TRUST_BYTES), Trust(TRUST_BYTES)
RECEIPTS = [CHAIN.receipt(1).encode(), CHAIN.receipt(2).encode(), CHAIN.receipt(3, 1).encode()]

FURTHER_FORMS = range(9, 13)
"""Items that show the same in another way, or are null: token, COSE, public log, compact."""

scalars = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.binary(max_size=70),
    st.binary(min_size=32, max_size=32),
    st.text(max_size=20),
    st.booleans(),
    st.none(),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=16), max_leaves=40)


def places(value: Any, at: tuple[int, ...] = ()) -> list[tuple[int, ...]]:  # noqa: ANN401 - decoded CBOR
    """Return the path of every item inside a decoded array."""
    found = [at] if at else []
    for index, item in enumerate(value if isinstance(value, list) else ()):
        found += places(item, (*at, index))
    return found


def item_at(value: Any, at: tuple[int, ...]) -> Any:  # noqa: ANN401 - decoded CBOR
    for index in at:
        value = value[index]
    return value


def both(data: bytes) -> tuple[str, int | None]:
    """Return the outcome and failed step on which both verifiers agree."""
    verdict = verify_receipt(data, ANCHOR, DIGEST)
    ours = verdict.outcome.value, verdict.failure and verdict.failure.step
    assert ours == verify(data, str(DIGEST), THEIR_TRUST)
    return ours


def test_the_receipts_under_test_verify() -> None:
    assert [both(receipt) for receipt in RECEIPTS] == [("verified", None)] * 3


@given(st.binary(max_size=300))
def test_bytes_that_are_no_receipt_fail_at_the_first_step(data: bytes) -> None:
    assert both(data) == (Outcome.NOT_VERIFIED.value, Step.RECEIPT)


@given(values)
def test_values_that_are_no_receipt_fail_at_the_first_step(value: object) -> None:
    assert both(encode(value)) == (Outcome.NOT_VERIFIED.value, Step.RECEIPT)


@given(st.sampled_from(RECEIPTS), st.data())
def test_no_item_of_a_receipt_can_be_replaced(receipt: bytes, data: st.DataObject) -> None:
    value = cbor2.loads(receipt)
    at = data.draw(st.sampled_from(places(value)))
    old, parent = item_at(value, at), item_at(value, at[:-1])
    alike: st.SearchStrategy[object] = values
    if type(old) is int:
        alike = st.one_of(values, st.integers(max(0, old - 3), old + 3))
    elif isinstance(old, bytes):
        alike = st.one_of(values, st.binary(min_size=len(old), max_size=len(old)))
    parent[at[-1]] = data.draw(alike)
    changed = encode(value)
    if changed != receipt:
        is_left_out = len(at) == 1 and at[0] in FURTHER_FORMS and value[at[0]] is None
        assert (both(changed)[0] == Outcome.VERIFIED.value) == is_left_out


@pytest.mark.parametrize("at", FURTHER_FORMS)
def test_a_further_form_may_be_left_out(at: int) -> None:
    for receipt in RECEIPTS:
        value = cbor2.loads(receipt)
        value[at] = None
        assert both(encode(value)) == (Outcome.VERIFIED.value, None)


@given(st.sampled_from(RECEIPTS), st.data())
def test_no_two_items_of_receipts_can_be_exchanged(receipt: bytes, data: st.DataObject) -> None:
    other = cbor2.loads(data.draw(st.sampled_from(RECEIPTS)))
    value = cbor2.loads(receipt)
    at = data.draw(st.sampled_from(places(value)))
    item_at(value, at[:-1])[at[-1]] = item_at(other, data.draw(st.sampled_from(places(other))))
    changed = encode(value)
    if changed not in RECEIPTS:
        outcome, _ = both(changed)
        if outcome == Outcome.VERIFIED.value:
            says, parts = split(changed)
            alike = [known for known in map(split, RECEIPTS) if known[0] == says]
            assert alike
            for number, part in enumerate(parts):
                assert part is None or part in [others[number] for _, others in alike]


def split(receipt: bytes) -> tuple[bytes, list[object]]:
    """Return what a receipt says without its votes, any quorum of which will do; and what may lack.

    The latter are token, COSE signature, public checkpoint, compact certificate.
    """
    value = cbor2.loads(receipt)
    value[7].pop()
    for handover in value[8]:
        handover[1].pop()
    return encode(value[:9]), value[9:]


@given(st.sampled_from(RECEIPTS), st.integers(1, 5_000), st.binary(max_size=3))
def test_no_end_of_a_receipt_can_be_cut_off_or_replaced(
    receipt: bytes, cut: int, end: bytes
) -> None:
    changed = receipt[:-cut] + end
    if changed != receipt:
        assert both(changed)[0] != Outcome.VERIFIED.value


@given(st.sampled_from(RECEIPTS))
def test_what_is_read_is_written_again(receipt: bytes) -> None:
    assert Receipt.decode(receipt).encode() == receipt


@given(st.binary(max_size=200))
def test_bytes_that_are_no_trust_file_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        load_trust(data)


@given(st.sampled_from([1, 2, 3]), st.data())
def test_a_changed_trust_file_pins_the_same_or_is_refused(height: int, data: st.DataObject) -> None:
    text = CHAIN.trust(height).encode()
    position = data.draw(st.integers(0, len(text) - 1))
    changed = text[:position] + data.draw(st.binary(max_size=2)) + text[position + 1 :]
    try:
        load_trust(changed)
    except (DecodeError, ProofError):
        return
    assert TrustFile.decode(changed) == TrustFile.decode(text)
