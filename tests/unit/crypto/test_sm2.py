"""SM2 keys, by each library, against the standard's example and the standard in plain integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.crypto.sm2 import SM2_LIBRARIES, Sm2PublicKey, Sm2Signer
from node.crypto.sm2_library import SM2_ORDER
from node.errors import CryptoError
from tests.unit.crypto import sm2_reference as reference
from tests.unit.crypto.sm2_libraries import using


@pytest.fixture(scope="module", params=sorted(SM2_LIBRARIES), autouse=True)
def signer(request: pytest.FixtureRequest) -> Iterator[Sm2Signer]:
    with using(request.param):
        yield Sm2Signer.from_secret(b"\x07" * 32)


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_the_example_of_the_standard_verifies(read_vectors: Callable[[str], Any]) -> None:
    (example,) = read_vectors("national/sm2.json")["sign_verify"]
    parity = 2 + int(example["public_y"], 16) % 2
    key = Sm2PublicKey.decode(bytes((parity,)) + bytes.fromhex(example["public_x"]))
    signature = bytes.fromhex(example["r"] + example["s"])
    message = example["message_utf8"].encode()
    assert example["id"].encode() == reference.IDENTITY
    assert reference.verifies(key.encoded, message, signature)
    assert key.verify(message, signature)
    assert not key.verify(message + b".", signature)


def test_the_secret_of_the_example_gives_its_public_key(read_vectors: Callable[[str], Any]) -> None:
    (example,) = read_vectors("national/sm2.json")["sign_verify"]
    secret = bytes.fromhex(example["private_key"])
    made = Sm2Signer.from_secret(secret)
    assert made.public_key.encoded[1:].hex().upper() == example["public_x"]
    assert made.export_secret() == secret


def test_what_is_signed_verifies_by_the_standard_and_is_never_the_same(signer: Sm2Signer) -> None:
    signatures = {signer.sign(b"message") for _ in range(8)}
    assert len(signatures) == 8
    for signature in signatures:
        assert signer.public_key.verify(b"message", signature)
        assert reference.verifies(signer.public_key.encoded, b"message", signature)


@settings(max_examples=20, deadline=None)
@given(message=st.binary(max_size=80), flipped=st.integers(0, 511))
def test_the_library_and_the_standard_agree_on_what_is_altered(
    signer: Sm2Signer, message: bytes, flipped: int
) -> None:
    signature = bytearray(signer.sign(message))
    signature[flipped // 8] ^= 1 << flipped % 8
    key, altered = signer.public_key, bytes(signature)
    assert key.verify(message, altered) == reference.verifies(key.encoded, message, altered)
    assert not key.verify(message, altered)


def test_a_signature_by_another_identity_is_refused(signer: Sm2Signer) -> None:
    """What OpenSSL signs when no identity was set, for one."""
    key, secret, nonce = signer.public_key, int.from_bytes(b"\x07" * 32, "big"), 0xABCDEF
    point = reference.times(nonce, reference.G)
    assert point is not None
    verdicts = []
    for identity in (reference.IDENTITY, b"", b"somebody else"):
        hashed = reference.message_hash(reference.decompress(key.encoded), b"m", identity)
        r = (hashed + point[0]) % reference.N
        s = (nonce - r * secret) * pow(1 + secret, -1, reference.N) % reference.N
        assert reference.verifies(key.encoded, b"m", raw(r, s), identity)
        verdicts.append(key.verify(b"m", raw(r, s)))
    assert verdicts == [True, False, False]


def test_r_and_s_outside_the_group_and_other_lengths_are_refused(signer: Sm2Signer) -> None:
    signature = signer.sign(b"message")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    outside = [raw(0, s), raw(r, 0), raw(SM2_ORDER, s), raw(r, SM2_ORDER), raw(r, SM2_ORDER - r)]
    for other in (*outside, b"", signature[:-1], signature + b"\0", bytes(64), b"\xff" * 64):
        assert not signer.public_key.verify(b"message", other)


@pytest.mark.parametrize(
    "point",
    [
        b"",
        b"\x02" + b"\xff" * 32,
        b"\x02" + bytes(31) + b"\x05",
        b"\x04" + bytes(32),
        b"\x00" + bytes(32),
        b"\x02" + bytes(33),
    ],
)
def test_what_is_no_compressed_point_of_the_curve_is_no_key(point: bytes) -> None:
    with pytest.raises(CryptoError, match="expected a compressed point of SM2"):
        Sm2PublicKey.decode(point)


@pytest.mark.parametrize("scalar", [0, SM2_ORDER - 1, SM2_ORDER, 2**256 - 1])
def test_a_scalar_outside_its_range_is_no_key(scalar: int) -> None:
    with pytest.raises(CryptoError, match=r"a scalar in 1\.\.n-2"):
        Sm2Signer.from_secret(scalar.to_bytes(32, "big"))
    with pytest.raises(CryptoError, match=r"a scalar in 1\.\.n-2"):
        Sm2Signer.from_secret(b"\x01" * 31)


def test_keys_are_told_apart_by_their_encoding_and_show_no_secret(signer: Sm2Signer) -> None:
    same = Sm2PublicKey.decode(signer.public_key.encoded)
    assert (same, hash(same)) == (signer.public_key, hash(signer.public_key))
    assert "0707" not in repr(signer)
    assert repr(b"\x07" * 4)[2:-1] not in repr(signer)


def test_threads_sign_and_verify_with_one_key(signer: Sm2Signer) -> None:
    def signs_and_verifies(number: int) -> bool:
        message = b"%d" % number
        return signer.public_key.verify(message, signer.sign(message))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(signs_and_verifies, range(64)))
