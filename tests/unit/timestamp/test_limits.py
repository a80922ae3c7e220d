"""Limits that take megabytes to pass, at the limit and one past it, by both verifiers.

Cases too big to keep as files; the smaller limits are in tests/vectors/receipt.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from itertools import pairwise
from typing import Any, Final

import pytest

from node.chain.encoding import decode, encode
from node.errors import DecodeError
from node.limits import CBOR_ITEMS_MAX, RECEIPT_BYTES_MAX, TRUST_FILE_BYTES_MAX
from node.timestamp.history import (
    CARRIED_HANDOVERS_MAX,
    HANDOVERS_MAX,
    HISTORY_HANDOVERS_MAX,
    Handover,
)
from node.timestamp.trust import TrustFile, load_trust
from node.timestamp.verify import NamedDigest, verify_receipt
from tests.unit.timestamp.independent_verifier import RefusedError, Trust, items, verify
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.chain import Chain, validator_set
from tests.vectors.receipt.malformed import CERTIFICATE, HANDOVERS, HEADER, LOG_PATH, VOTES
from tests.vectors.receipt.story import block_alone, receipt_alone

MEMBERS_MAX: Final = 64
KEY_BYTES: Final = 24
KEY_BYTES_MAX: Final = 128
"""A vote key of 24 to 128 bytes has a head of two, so that each byte more is one byte more."""


def verdict_of_both(receipt: bytes, trust: bytes) -> tuple[str, int | None]:
    ours = verify_receipt(receipt, load_trust(trust), NamedDigest.parse(DIGEST))
    theirs = verify(receipt, DIGEST, Trust(trust))
    failed = ours.failure
    assert theirs == (ours.outcome.value, failed and failed.step)
    return theirs


def is_refused_by_both(trust: bytes) -> bool:
    refusals = 0
    for load, refusal in ((load_trust, DecodeError), (Trust, RefusedError)):
        try:
            load(trust)
        except refusal:
            refusals += 1
    assert refusals in {0, 2}
    return bool(refusals)


# --- Handovers: a chain of one validator, which hands over to itself ---


@cache
def founded() -> tuple[Chain, list[Handover]]:
    """Return a chain and handovers from epoch 0, one more than allowed, at every other height."""
    chain = Chain.found("one validator", (1,))
    sets = [validator_set(epoch, (1,)) for epoch in range(HANDOVERS_MAX + 2)]
    return chain, [
        Handover(
            block_alone(chain, old, {"height": 2 * new.epoch, "next_set_digest": new.digest}), new
        )
        for old, new in pairwise(sets)
    ]


def trust_after(count: int) -> bytes:
    chain, handovers = founded()
    latest = handovers[count - 1].next_set
    trust = TrustFile(
        chain_id=chain.genesis.chain_id,
        genesis=chain.genesis,
        handovers=tuple(handovers[:count]),
        pinned=block_alone(chain, latest, {"height": 2 * count + 4}),
    )
    return trust.encode()


def receipt_after(count: int) -> bytes:
    chain, handovers = founded()
    latest = handovers[count - 1].next_set
    header = {"height": 2 * count + 2}
    return receipt_alone(chain, latest, header=header, handovers=handovers[:count]).encode()


def test_a_receipt_has_at_most_1024_handovers() -> None:
    trust = founded()[0].trust().encode()
    assert verdict_of_both(receipt_after(HANDOVERS_MAX), trust) == ("verified", None)
    assert verdict_of_both(receipt_after(HANDOVERS_MAX + 1), trust) == ("not verified", 1)


def test_a_trust_file_has_more_handovers_than_any_receipt() -> None:
    trust, count = trust_after(HANDOVERS_MAX + 1), HANDOVERS_MAX + 1
    chain, handovers = founded()
    header = {"height": 2 * count + 2}
    carried = handovers[count - CARRIED_HANDOVERS_MAX : count]
    receipt = receipt_alone(chain, carried[-1].next_set, header=header, handovers=carried)
    assert verdict_of_both(receipt.encode(), trust) == ("verified", None)


@pytest.mark.parametrize(
    ("count", "said"), [(HISTORY_HANDOVERS_MAX, "handover:"), (HISTORY_HANDOVERS_MAX + 1, "16384")]
)
def test_a_trust_file_has_at_most_16384_handovers(count: int, said: str) -> None:
    fields = json.loads(trust_after(1))
    fields["handovers"] = [base64.b64encode(encode(None)).decode()] * count
    trust = json.dumps(fields).encode()
    with pytest.raises(DecodeError, match=said):
        load_trust(trust)
    assert is_refused_by_both(trust)


def test_a_trust_file_has_at_most_64_mebibytes() -> None:
    padded = founded()[0].trust().encode().ljust(TRUST_FILE_BYTES_MAX)
    assert not is_refused_by_both(padded)
    assert is_refused_by_both(padded + b" ")


# --- Bytes and items: handovers of the right form, which fail at step 6 for want of votes ---


def stuffed(members_each: list[int]) -> list[Any]:
    """Return a receipt's value with an unsigned handover to a set of each of these sizes."""
    receipt = receipt_alone(Chain.found())
    value: list[Any] = decode(receipt.encode(), what="receipt", size_max=RECEIPT_BYTES_MAX)
    unsigned = [*value[CERTIFICATE][:VOTES], []]

    def member(at: int) -> list[Any]:
        return [f"{at:02}", "o", bytes([at] * KEY_BYTES), bytes(32), None]

    value[HANDOVERS] = [
        [value[HEADER], unsigned, [1, 1, [member(at) for at in range(count)]]]
        for count in members_each
    ]
    return value


def lengthened(value: list[Any], size: int) -> bytes:
    """Return the receipt's encoding, its vote keys lengthened until it has `size` bytes."""
    missing = size - len(encode(value))
    for member in (member for handover in value[HANDOVERS] for member in handover[2][2]):
        more = min(missing, KEY_BYTES_MAX - KEY_BYTES)
        member[2] += bytes(more)
        missing -= more
    return encode(value)


def test_a_receipt_has_at_most_4_mebibytes() -> None:
    trust = Chain.found().trust().encode()
    value = stuffed([MEMBERS_MAX] * 400)
    full = lengthened(value, RECEIPT_BYTES_MAX)
    assert len(full) == RECEIPT_BYTES_MAX
    assert items(value) < CBOR_ITEMS_MAX
    assert verdict_of_both(full, trust) == ("not verified", 6)
    over = lengthened(value, RECEIPT_BYTES_MAX + 1)
    assert len(over) == RECEIPT_BYTES_MAX + 1
    assert verdict_of_both(over, trust) == ("not verified", 1)


def test_a_receipt_has_at_most_262144_items() -> None:
    trust = Chain.found().trust().encode()
    smallest = [1] * 640
    member = items(stuffed([2])) - items(stuffed([1]))
    members, rest = divmod(CBOR_ITEMS_MAX - items(stuffed(smallest)), member)
    each, left = divmod(members, len(smallest))
    value = stuffed([1 + each + (at < left) for at in range(len(smallest))])
    value[LOG_PATH] += [bytes(32)] * rest
    assert items(value) == CBOR_ITEMS_MAX
    full = encode(value)
    assert len(full) < RECEIPT_BYTES_MAX
    assert verdict_of_both(full, trust) == ("not verified", 4)  # the path is too long
    value[LOG_PATH].append(bytes(32))
    assert verdict_of_both(encode(value), trust) == ("not verified", 1)


@pytest.mark.parametrize("inner", [encode(None), b"\x80"])
def test_arrays_nest_no_deeper_than_10_levels(inner: bytes) -> None:
    trust = Chain.found().trust().encode()
    nested = b"\x81" * 1_000_000 + inner
    assert verdict_of_both(nested, trust) == ("not verified", 1)
