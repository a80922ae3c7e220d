"""Transactions: one encoding, ids that bind what they should, signatures checked rightly."""

from __future__ import annotations

import pytest
from msgspec import structs

from node.chain.encoding import decode, encode
from node.chain.record import Notarization, Record, RecordAction, RecordLeaf
from node.chain.transaction import (
    Transaction,
    decode_hash_list,
    encode_hash_list,
    sign_transaction,
    verify_transaction,
)
from node.errors import CryptoError, DecodeError
from tests.suites import SUITE
from tests.unit.execution.small_chain import payload, signer, tx

SAMPLE = tx(payload("a", "b", references=("ref-1", None))).transaction


def test_round_trip_keeps_every_field_and_both_ids() -> None:
    again = Transaction.decode(SAMPLE.encoded, SUITE)
    assert again == SAMPLE


def test_the_id_binds_the_body_and_the_hash_binds_the_signature_too() -> None:
    body = structs.replace(SAMPLE.body, nonce=bytes(16))
    other_body = sign_transaction(body, signer("agency-1"), SUITE)
    assert other_body.tx_id != SAMPLE.tx_id
    other_signature = sign_transaction(SAMPLE.body, signer("agency-2"), SUITE)
    assert other_signature.tx_id == SAMPLE.tx_id
    assert other_signature.tx_hash != SAMPLE.tx_hash


def test_a_signature_verifies_under_its_own_key_only() -> None:
    key = signer("agency-1").public_key
    assert verify_transaction(SAMPLE, key).sender_key == key.encoded
    with pytest.raises(CryptoError, match=SAMPLE.tx_id.hex()):
        verify_transaction(SAMPLE, signer("agency-2").public_key)


def test_every_flipped_byte_is_refused_or_fails_its_signature() -> None:
    key = signer("agency-1").public_key
    for position in range(len(SAMPLE.encoded)):
        flipped = bytearray(SAMPLE.encoded)
        flipped[position] ^= 1
        with pytest.raises((DecodeError, CryptoError)):
            verify_transaction(Transaction.decode(bytes(flipped), SUITE), key)


@pytest.mark.parametrize(
    ("index", "value", "why"),
    [
        (0, 2, "version"),
        (1, b"short", "chain id"),
        (2, "", "sender"),
        (2, "x" * 65, "sender"),
        (3, bytes(15), "nonce"),
        (4, -1, "not-after"),
        (5, 4, "kind"),
        (5, 3, "vault"),
        (5, 2, "governance"),
        (5, True, "kind"),
        (6, [1, "t", 0, bytes(31), None], "digests"),
        (6, [1, "t", 0, b"", None], "digests"),
        (6, [1, "t", 3, bytes(32), None], "action"),
        (6, [1, "t", 0, bytes(32), [None]], "references"),
        (6, [1, "t", 0, bytes(32), ["a", "b"]], "references"),
        (6, [1, "t", 0, bytes(64), ["a"]], "references"),
        (6, [1, "t", 0, bytes(64), ["a", "\n"]], "references: entry 1: record reference: "),
        (6, [1, "t", 0, bytes(32 * 10_001), None], "digests"),
        (6, [1, "t", 0, bytes(32 * 1_001), [str(n) for n in range(1_001)]], "1 to 1000 of them"),
        (6, [1, "t" * 33, 0, bytes(32), None], "type"),
        (6, [256, "t", 0, bytes(32), None], "algorithm"),
        (6, [1, "t", 0, bytes(32), None, 0], "notarization"),
    ],
)
def test_refuses_a_body_with_one_wrong_field(index: int, value: object, why: str) -> None:
    fields = decode(SAMPLE.body.encode(), what="body", size_max=4_096)
    fields[index] = value
    data = encode([encode(fields), SAMPLE.signature])
    with pytest.raises(DecodeError, match=why):
        Transaction.decode(data, SUITE)


def test_refuses_unknown_fields_and_other_signature_sizes() -> None:
    fields = decode(SAMPLE.body.encode(), what="body", size_max=4_096)
    with pytest.raises(DecodeError, match="array of 7 items, got 8 items"):
        Transaction.decode(encode([encode([*fields, 0]), SAMPLE.signature]), SUITE)
    short = encode([SAMPLE.body.encode(), SAMPLE.signature[:-1]])
    with pytest.raises(DecodeError, match="signature: expected 64 bytes, got 63 bytes"):
        Transaction.decode(short, SUITE)


def test_a_columnar_payload_gives_back_its_records() -> None:
    notarization = payload("a", "b", references=(None, "ref-2"), action=RecordAction.RECORD)
    records = list(notarization.records())
    assert [record.reference for record in records] == [None, "ref-2"]
    assert records[1].digest == notarization.digests[32:]
    assert Notarization.from_value(notarization.to_value()) == notarization
    assert [Record.from_value(record.to_value()) for record in records] == records


def test_a_leaf_round_trips_and_refuses_a_header_leaf() -> None:
    leaf = RecordLeaf(
        height=7,
        time_ms=1_760_000_000_000,
        tx_id=SAMPLE.tx_id,
        operation_index=1,
        sender="agency-1",
        record=next(SAMPLE.body.payload.records()),
    )
    assert RecordLeaf.decode(leaf.encode()) == leaf
    fields = decode(leaf.encode(), what="leaf", size_max=1_024)
    fields[1] = 0
    with pytest.raises(DecodeError, match="expected kind 1"):
        RecordLeaf.decode(encode(fields))


def test_hash_lists() -> None:
    hashes = (bytes(32), b"\x01" * 32)
    assert decode_hash_list(encode_hash_list(hashes), 2, "list") == hashes
    with pytest.raises(DecodeError, match="multiple of 32"):
        decode_hash_list(bytes(33), 2, "list")
    with pytest.raises(DecodeError, match="at most 32 bytes"):
        decode_hash_list(bytes(64), 1, "list")
