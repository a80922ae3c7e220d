"""The arithmetic under the HTML verifier's steps, against vectors of others and against ours."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.crypto.bls import BlsPublicKey
from node.crypto.signature import Ed25519PublicKey, P256PublicKey
from node.crypto.suite import DOCUMENT_DIGESTS
from node.errors import CryptoError
from tests.outside.html_verifier import answers

Json: TypeAlias = Any  # vectors, and what the page answers
SHA_256_INFO = "3031300d060960864801650304020105000420"
"""DigestInfo of SHA-256 (RFC 8017 section 9.2), before the digest."""


@cache
def vectors(name: str) -> Json:
    folder = os.environ.get("GOVCHAIN_VECTORS")
    if folder is None:
        pytest.skip("NOT RUN: GOVCHAIN_VECTORS is not set: vectors made by others are not at hand")
    return json.loads((Path(folder) / "wycheproof" / f"{name}.json").read_text())


def call(primitive: str, calls: Sequence[Sequence[Json]], folder: Path) -> list[Json]:
    """Return what a primitive gives for each list of arguments; None where it refuses them."""
    cases = [{"primitive": primitive, "arguments": arguments} for arguments in calls]
    return [answer.get("value") for answer in answers(cases, folder)]


def test_p256_as_ours_on_wycheproof(tmp_path: Path) -> None:
    calls, ours, valid = [], [], 0
    for group in vectors("ecdsa_secp256r1_sha256_p1363_test")["testGroups"]:
        point = bytes.fromhex(group["publicKey"]["uncompressed"])
        library = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        key = P256PublicKey.wrap(library)
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            if len(signature) == 64:
                calls.append([key.encoded.hex(), case["msg"], case["sig"]])
                ours.append(key.verify(message, signature))
                valid += case["result"] == "valid"
    assert call("isP256Signature", calls, tmp_path) == ours
    assert 50 < sum(ours) <= valid < len(calls)


def test_ed25519_as_ours_on_wycheproof(tmp_path: Path) -> None:
    calls, ours = [], []
    for group in vectors("ed25519_test")["testGroups"]:
        key = group["publicKey"]["pk"]
        library = Ed25519PublicKey.decode(bytes.fromhex(key))
        for case in group["tests"]:
            calls.append([key, case["msg"], case["sig"]])
            ours.append(library.verify(bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])))
            assert ours[-1] == (case["result"] == "valid")
    assert call("isCosignature", calls, tmp_path) == ours


def test_cosignature_keys_are_counted_alike(tmp_path: Path) -> None:
    random = Random(1)
    p = 2**255 - 19
    ys = [0, 1, 2, 3, p - 1, p, p + 1, 2**255 - 1, *(random.randrange(p) for _ in range(40))]
    keys = [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]

    def counts(key: bytes) -> bool:
        try:
            Ed25519PublicKey.decode(key)
        except CryptoError:
            return False
        return True

    expected = [counts(key) for key in keys]
    assert call("isCosignatureKey", [[key.hex()] for key in keys], tmp_path) == expected
    assert {*expected} == {True, False}


def test_bls_as_ours_on_wycheproof(tmp_path: Path) -> None:
    calls, ours = [], []
    for group in vectors("bls_sig_g2_pop_verify_test")["testGroups"]:
        key = group["publicKey"]["pk"]
        for case in group["tests"]:
            calls.append([[key], case["msg"], case["sig"]])
            try:
                library = BlsPublicKey.decode(bytes.fromhex(key))
            except CryptoError:
                ours.append(False)
                continue
            ours.append(library.verify(bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])))
            assert ours[-1] == (case["result"] == "valid")
    assert call("isAggregate", calls, tmp_path) == ours
    assert {*ours} == {True, False}


def test_rsa_on_wycheproof(tmp_path: Path) -> None:
    """`acceptable` there is a DigestInfo without NULL: no certificate of ours is signed so."""
    calls, expected = [], []
    for group in vectors("rsa_signature_2048_sha256_test")["testGroups"]:
        modulus, exponent = (
            int(group["publicKey"][name], 16) for name in ("modulus", "publicExponent")
        )
        for case in group["tests"]:
            digest = hashlib.sha256(bytes.fromhex(case["msg"])).hexdigest()
            numbers = [{"number": str(modulus)}, {"number": str(exponent)}]
            calls.append([*numbers, SHA_256_INFO + digest, case["sig"]])
            expected.append(case["result"] == "valid")
    assert call("isRsaSignature", calls, tmp_path) == expected
    assert {*expected} == {True, False}


def test_a_key_of_rsa_that_would_take_hours_is_refused_at_once(tmp_path: Path) -> None:
    """A token may hold any certificate: the bounds are those that OpenSSL has, and so ours."""
    keys = ((2**4_096 - 1, 2**4_095), (2**4_096 - 1, 2**64), (2**65_536 - 1, 2**65_535))
    calls = [
        [
            {"number": hex(modulus)},
            {"number": hex(exponent)},
            "30",
            "00" * (len(hex(modulus)) // 2 - 1),
        ]
        for modulus, exponent in keys
    ]
    assert call("isRsaSignature", calls, tmp_path) == [False] * len(calls)


def test_sha_1_is_that_of_everybody(tmp_path: Path) -> None:
    messages = [bytes(range(256))[:size] * 3 for size in (0, 1, 18, 21, 54, 55, 56, 63, 64, 200)]
    found = call("sha1", [[each.hex()] for each in messages], tmp_path)
    assert found == [hashlib.sha1(each).hexdigest() for each in messages]


def test_documents_are_hashed_as_ours_in_whatever_pieces(tmp_path: Path) -> None:
    random = Random(2)
    calls, expected = [], []
    for algorithm in DOCUMENT_DIGESTS:
        for size in (*range(0, 150, 3), 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 5_000):
            data = random.randbytes(size)
            cuts = sorted(random.choices(range(size + 1), k=3))
            pieces = [data[a:b].hex() for a, b in zip([0, *cuts], [*cuts, size], strict=True)]
            calls.append([{"text": algorithm.name}, *pieces])
            expected.append(algorithm.new_hash(data).digest().hex())
    assert call("digest", calls, tmp_path) == expected


def test_what_is_deflated_is_inflated(tmp_path: Path) -> None:
    random = Random(3)
    texts = [b"", b"a", b"abc" * 400, random.randbytes(3_000)]
    texts.append(bytes(random.choices(b"abcdefgh ", weights=range(1, 10), k=70_000)))
    streams = []
    for text in texts:
        for level in (0, 1, 9):
            for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED):
                made = zlib.compressobj(level, strategy=strategy)
                streams.append((text, made.compress(text) + made.flush()))
    size = {"size": 100_000}
    found = call("inflate", [[data.hex(), size] for _, data in streams], tmp_path)
    assert found == [text.hex() for text, _ in streams]
    text, data = streams[-1]
    broken = [
        data[:-1],
        data[:100],
        data[:-4] + b"\0\0\0\0",
        b"\x78\x9c\x07",
        b"",
        data[:2] + data[3:],
    ]
    assert call("inflate", [[each.hex(), size] for each in broken], tmp_path) == [None] * 6
    assert call("inflate", [[data.hex(), {"size": len(text) - 1}]], tmp_path) == [None]


def test_a_certificate_may_be_signed_on_any_of_the_curves(tmp_path: Path) -> None:
    calls = []
    for curve, oid in (
        (ec.SECP256R1(), "1.2.840.10045.3.1.7"),
        (ec.SECP384R1(), "1.3.132.0.34"),
        (ec.SECP521R1(), "1.3.132.0.35"),
    ):
        private = ec.derive_private_key(0x1234567, curve)
        for hash_name in ("sha256", "sha384", "sha512"):
            calls += _ecdsa_calls(private, oid, hash_name)
    found = call("isEcdsaSignature", calls, tmp_path)
    assert found == [True, False] * 9


def _ecdsa_calls(private: ec.EllipticCurvePrivateKey, oid: str, hash_name: str) -> list[Json]:
    algorithm = getattr(hashes, hash_name.upper())()
    made = private.sign(b"message", ec.ECDSA(algorithm, deterministic_signing=True))
    r, s = decode_dss_signature(made)
    encoded = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    digest = hashlib.new(hash_name, b"message").hexdigest()
    other = hashlib.new(hash_name, b"another").hexdigest()
    numbers = [{"number": str(r)}, {"number": str(s)}]
    return [[{"text": oid}, encoded.hex(), each, *numbers] for each in (digest, other)]
