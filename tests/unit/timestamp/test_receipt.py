"""The receipt's shape: there and back, and its views."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from node.chain.record import RecordAction, encode_header_leaf
from node.errors import DecodeError
from node.timestamp.receipt import (
    Receipt,
    build_receipt,
    digest_name,
    iso_time,
    view_receipt,
)
from tests.vectors.receipt.chain import (
    AGENCY,
    CREATED_MS,
    SUITE,
    Chain,
    record_of,
    validator_set,
    with_digest_algorithm,
)


@pytest.fixture(scope="module")
def chain() -> Chain:
    chain = Chain.found()
    chain.append(record_of(b"one"))
    chain.append(record_of(b"two", reference=None), next_set=validator_set(1, (1, 2, 3, 4, 5)))
    chain.append(record_of(b"three"), record_of(b"four", action=RecordAction.SUPERSEDE))
    return chain


@pytest.mark.parametrize(("height", "operation"), [(1, 0), (2, 0), (3, 0), (3, 1)])
def test_a_receipt_comes_back_from_its_bytes(chain: Chain, height: int, operation: int) -> None:
    receipt = chain.receipt(height, operation)
    assert Receipt.decode(receipt.encode()) == receipt
    assert Receipt.decode(receipt.encode()).encode() == receipt.encode()


def test_the_leaf_keeps_the_bytes_that_the_log_holds(chain: Chain) -> None:
    assert chain.receipt(3, 1).leaf.encode() == chain.leaves[-1]


def test_a_receipt_of_a_header_leaf_cannot_be_built(chain: Chain) -> None:
    leaf = encode_header_leaf(1, bytes(32))
    with pytest.raises(DecodeError, match="record leaf"):
        build_receipt(SUITE, leaf, 0, [], block=chain.blocks[0])


def test_the_view_is_json_and_says_who_what_and_when(chain: Chain) -> None:
    receipt = chain.receipt(3, 1)
    view = json.loads(json.dumps(view_receipt(receipt)))
    assert view["record"] == {
        "digest_algorithm": "sha-256",
        "digest": receipt.leaf.record.digest.hex(),
        "type": "certificate",
        "reference": "2025-0001",
        "action": "supersede",
    }
    assert view["chain_id"] == chain.genesis.chain_id.hex()
    assert (view["sender"], view["height"], view["epoch"]) == (AGENCY, 3, 1)
    assert (view["time"], view["time_ms"]) == ("2025-10-09T08:53:23.000Z", CREATED_MS + 3_000)
    assert view["seal_time"] == "2025-10-09T08:53:23.047Z"
    assert (view["log_index"], view["log_size"]) == (6, 7)
    assert view["log_path"] == [node.hex() for node in receipt.log_path]
    assert [vote["validator"] for vote in view["votes"]] == [0, 1, 2, 3]
    assert view["handovers"] == [
        {"height": 2, "epoch": 1, "validators": [f"validator-{number}" for number in range(1, 6)]}
    ]


def test_the_view_survives_a_receipt_that_makes_no_sense(chain: Chain) -> None:
    receipt = chain.receipt(1)
    block = receipt.block
    late = replace(block.header, time_ms=2**64 - 1)
    unsigned = replace(block.certificate, votes=())
    leaf = with_digest_algorithm(receipt.leaf, 9)
    view = view_receipt(
        replace(receipt, leaf=leaf, block=replace(block, header=late, certificate=unsigned))
    )
    assert view["time"] == "18446744073709551615 ms"
    assert (view["seal_time"], view["seal_time_ms"], view["votes"]) == (None, None, [])
    assert view["record"]["digest_algorithm"] == "unknown (9)"


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (2_147_483_648_000, "2038-01-19T03:14:08.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "253402300800000 ms"),
    ],
)
def test_times_are_written_exactly(time_ms: int, text: str) -> None:
    assert iso_time(time_ms) == text


def test_digest_algorithms_have_names() -> None:
    assert [digest_name(number) for number in (0, 1, 2)] == ["unknown (0)", "sha-256", "sm3"]
