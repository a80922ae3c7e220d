"""COSE Receipts: the exact bytes, what is refused, and a check of our own from RFC 9942 alone."""

from __future__ import annotations

from dataclasses import replace

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from node.crypto.signature import P256_ORDER
from node.errors import DecodeError, ProofError
from node.limits import RECEIPT_FILE_BYTES_MAX
from node.timestamp.cose import (
    CARRIED_LABEL,
    CoseReceipt,
    CoseSignature,
    protected_header,
    root_sign_bytes,
    sign_root,
)
from node.timestamp.export import cose_receipt_of
from tests.unit.timestamp.independent_verifier import path_root
from tests.vectors.receipt.chain import seed, signer
from tests.vectors.receipt.story import PLAIN, build_chain

RECEIPT = build_chain().receipt(PLAIN, 1)
CHAIN_ID, ROOT = RECEIPT.chain_id, RECEIPT.block.header.log_roots[0]
VOTER = signer("validator-2")
MADE = cose_receipt_of(RECEIPT)


@pytest.fixture
def made() -> CoseReceipt:
    assert MADE is not None
    return MADE


def test_it_is_a_cose_receipt_to_who_knows_the_standards_alone(made: CoseReceipt) -> None:
    message = cbor2.loads(made.encode())
    assert message.tag == 18
    protected, unprotected, payload, signature = message.value
    headers = cbor2.loads(protected)
    assert headers == {
        1: -7,
        4: VOTER.public_key.encoded,
        15: {1: f"govchain:chain:{CHAIN_ID.hex()}"},
        395: 1,
    }
    assert payload is None
    assert list(unprotected) == [396, CARRIED_LABEL]
    (proof,) = unprotected[396][-1]
    size, index, path = cbor2.loads(proof)
    carried = cbor2.loads(unprotected[CARRIED_LABEL])
    root = path_root(carried[3], index, size, path)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), headers[4])
    signed = cbor2.dumps(["Signature1", protected, b"", root])
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


def test_every_map_is_in_the_deterministic_order(made: CoseReceipt) -> None:
    full = replace(made, token=b"token").encode()
    message = cbor2.loads(full)
    protected, unprotected, _, _ = message.value
    assert cbor2.dumps(message, canonical=True) == full
    assert cbor2.dumps(cbor2.loads(protected), canonical=True) == protected
    assert list(unprotected) == [270, 396, CARRIED_LABEL]


def test_it_comes_back_from_its_bytes(made: CoseReceipt) -> None:
    for receipt in (
        made,
        replace(made, carried=None),
        replace(made, token=b"t" * 300),
        replace(made, token=b"t" * 70_000, carried=None, log_path=()),
    ):
        assert CoseReceipt.decode(receipt.encode()) == receipt


def test_other_encodings_of_the_same_are_refused(made: CoseReceipt) -> None:
    data = replace(made, token=b"t" * 30).encode()
    message = cbor2.loads(data)
    protected, unprotected, payload, signature = message.value
    backwards = dict(reversed(unprotected.items()))
    for changed in (
        b"",
        data[:-1],
        data + b"\0",
        data[1:],
        data.replace(b"\xf6\x58\x40", b"\xf6\x59\x00\x40"),
        cbor2.dumps(cbor2.CBORTag(18, [protected, backwards, payload, signature])),
        cbor2.dumps(cbor2.CBORTag(18, [protected, {**unprotected, 4: b"kid"}, None, signature])),
        cbor2.dumps(cbor2.CBORTag(18, [protected, {CARRIED_LABEL: b"x"}, None, signature])),
        cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, b"payload", signature])),
        cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected, None, signature[1:]])),
        cbor2.dumps(cbor2.CBORTag(18, [protected, {396: {-1: [b"", b""]}}, None, signature])),
        cbor2.dumps(cbor2.CBORTag(18, [protected, {396: {-1: [b"\x80"]}}, None, signature])),
        cbor2.dumps(cbor2.CBORTag(98, [protected, unprotected, payload, signature])),
        bytes(RECEIPT_FILE_BYTES_MAX + 1),
    ):
        with pytest.raises(DecodeError):
            CoseReceipt.decode(changed)


def test_what_a_token_is_over_is_the_encoded_signature(made: CoseReceipt) -> None:
    assert made.stamped_bytes == b"\x58\x40" + made.signature


def test_a_signature_is_of_one_root_of_one_chain_under_one_key() -> None:
    good = sign_root(CHAIN_ID, ROOT, VOTER)
    good.check(CHAIN_ID, ROOT)
    assert sign_root(CHAIN_ID, ROOT, VOTER) == good
    other_s = P256_ORDER - int.from_bytes(good.signature[32:])
    high_s = CoseSignature(good.vote_key, good.signature[:32] + other_s.to_bytes(32))
    borrowed = CoseSignature(signer("validator-1").public_key.encoded, good.signature)
    no_point = CoseSignature(b"\2" + bytes(31) + b"\1", good.signature)
    for signature, chain_id, root, rule in (
        (good, CHAIN_ID, seed("another root"), "cose-signature"),
        (good, seed("another chain"), ROOT, "cose-signature"),
        (high_s, CHAIN_ID, ROOT, "cose-signature"),
        (borrowed, CHAIN_ID, ROOT, "cose-signature"),
        (no_point, CHAIN_ID, ROOT, "cose-key"),
    ):
        with pytest.raises(ProofError) as caught:
            signature.check(chain_id, root)
        assert caught.value.rule == rule


def test_what_is_signed_is_as_the_page_spells_it_out() -> None:
    key = VOTER.public_key.encoded
    protected = bytes.fromhex("a40126045821") + key + bytes.fromhex("0fa101784f")
    protected += b"govchain:chain:" + CHAIN_ID.hex().encode() + bytes.fromhex("19018b01")
    assert protected_header(CHAIN_ID, key) == protected
    signed = b"\x84\x6aSignature1\x58\x7f" + protected + b"\x40\x58\x20" + ROOT
    assert root_sign_bytes(CHAIN_ID, key, ROOT) == signed
