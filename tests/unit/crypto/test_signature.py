"""P-256 and Ed25519 against published vectors, and the strictness we add to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from node.crypto.signature import (
    P256_ORDER,
    Ed25519PublicKey,
    Ed25519Signer,
    P256PublicKey,
    P256Signer,
)
from node.errors import CryptoError

# RFC 6979 appendix A.2.5, curve P-256, SHA-256: key, then r and s by message.
RFC_6979_SECRET = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
RFC_6979_X = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
RFC_6979 = {
    b"sample": (
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,  # high: we negate it
    ),
    b"test": (
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
}

# RFC 8032 section 7.1, test 1, over the empty message.
RFC_8032_SECRET = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
RFC_8032_PUBLIC_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
RFC_8032_SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)

# The points of order 1, 2, 4 and 8 of edwards25519, as published in several libraries' deny lists.
ED25519_SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def cases_by_key(vectors: Any) -> Iterator[tuple[P256PublicKey, dict[str, Any]]]:  # noqa: ANN401
    for group in vectors["testGroups"]:
        point = bytes.fromhex(group["publicKey"]["uncompressed"])
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        for case in group["tests"]:
            yield P256PublicKey.wrap(key), case


@pytest.mark.parametrize("message", RFC_6979)
def test_p256_signs_as_rfc_6979_says_with_the_low_s(message: bytes) -> None:
    signer = P256Signer.from_secret(bytes.fromhex(RFC_6979_SECRET))
    assert signer.public_key.encoded[1:].hex() == RFC_6979_X
    r, s = RFC_6979[message]
    signature = signer.sign(message)
    assert signature == raw(r, min(s, P256_ORDER - s))
    assert signer.public_key.verify(message, signature)
    assert not signer.public_key.verify(message, raw(r, max(s, P256_ORDER - s)))


def test_p256_wycheproof_fixed_size_signatures(read_vectors: Callable[[str], Any]) -> None:
    """Our rule is stricter in one point: what Wycheproof calls valid with a high s is refused."""
    vectors = read_vectors("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json")
    seen = refused_high = 0
    for key, case in cases_by_key(vectors):
        message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
        valid = case["result"] == "valid"
        if valid:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            low = s <= P256_ORDER // 2
            assert key.verify(message, signature) == low, case["tcId"]
            assert key.verify(message, raw(r, P256_ORDER - s)) != low, case["tcId"]
            refused_high += not low
        else:
            assert not key.verify(message, signature), case["tcId"]
        seen += 1
    assert seen == vectors["numberOfTests"]
    assert refused_high == 70


def test_p256_wycheproof_der_signatures_as_fixed_size(read_vectors: Callable[[str], Any]) -> None:
    """DER is not our form: cases about DER itself, and numbers over 32 bytes, cannot arise."""
    vectors = read_vectors("wycheproof/ecdsa_secp256r1_sha256_test.json")
    accepted = refused = cannot_arise = 0
    for key, case in cases_by_key(vectors):
        try:
            r, s = decode_dss_signature(bytes.fromhex(case["sig"]))
            signature = raw(r, s)
        except (ValueError, OverflowError):
            assert case["result"] == "invalid", case["tcId"]
            cannot_arise += 1
            continue
        expected = case["result"] == "valid" and s <= P256_ORDER // 2
        assert key.verify(bytes.fromhex(case["msg"]), signature) == expected, case["tcId"]
        accepted += expected
        refused += not expected
    assert accepted + refused + cannot_arise == vectors["numberOfTests"]
    assert accepted > 80
    assert refused > 80


def test_p256_refuses_every_altered_bit_and_length() -> None:
    signer = P256Signer.from_secret(b"\x01" * 32)
    key, signature = signer.public_key, signer.sign(b"message")
    assert key.verify(b"message", signature)
    for bit in range(len(signature) * 8):
        altered = bytearray(signature)
        altered[bit // 8] ^= 1 << bit % 8
        assert not key.verify(b"message", bytes(altered)), bit
    for other in (b"", signature[:-1], signature + b"\x00", bytes(64), b"\xff" * 64):
        assert not key.verify(b"message", other)
    assert not key.verify(b"massage", signature)


def test_p256_refuses_r_and_s_outside_the_group() -> None:
    signer = P256Signer.from_secret(b"\x01" * 32)
    signature = signer.sign(b"message")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    for bad in (
        raw(0, s),
        raw(r, 0),
        raw(P256_ORDER, s),
        raw(r, P256_ORDER),
        raw(r, P256_ORDER - s),
    ):
        assert not signer.public_key.verify(b"message", bad)


def test_p256_takes_compressed_points_of_the_curve_only() -> None:
    key = P256Signer.from_secret(b"\x01" * 32).public_key
    assert P256PublicKey.decode(key.encoded) == key
    assert hash(P256PublicKey.decode(key.encoded)) == hash(key)
    x = key.encoded[1:]
    x_not_on_curve = (1).to_bytes(32, "big")
    field = 2**256 - 2**224 + 2**192 + 2**96 - 1
    x_not_reduced = (field + 6).to_bytes(32, "big")  # 6 is the x of a point, 1 is not
    P256PublicKey.decode(b"\x02" + (6).to_bytes(32, "big"))
    for bad in (
        b"",
        b"\x00",
        x,
        b"\x04" + x,
        b"\x02" + x + b"\x00",
        b"\x02" + x_not_on_curve,
        b"\x02" + x_not_reduced,
        bytes(33),
    ):
        with pytest.raises(CryptoError, match="public key: expected"):
            P256PublicKey.decode(bad)


def test_p256_wraps_keys_of_its_own_curve_only() -> None:
    with pytest.raises(CryptoError, match="got one of secp384r1"):
        P256PublicKey.wrap(ec.generate_private_key(ec.SECP384R1()).public_key())


@pytest.mark.parametrize(
    "secret", [bytes(32), P256_ORDER.to_bytes(32, "big"), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33]
)
def test_p256_takes_scalars_of_the_group_only(secret: bytes) -> None:
    with pytest.raises(CryptoError, match="private key: expected"):
        P256Signer.from_secret(secret)


def test_ed25519_signs_as_rfc_8032_says() -> None:
    secret, signature = bytes.fromhex(RFC_8032_SECRET), bytes.fromhex(RFC_8032_SIGNATURE)
    signer = Ed25519Signer.from_secret(secret)
    assert signer.public_key == Ed25519PublicKey.decode(bytes.fromhex(RFC_8032_PUBLIC_KEY))
    assert signer.sign(b"") == signature
    assert signer.public_key.verify(b"", signature)
    assert not signer.public_key.verify(b"x", signature)
    with pytest.raises(CryptoError, match="expected 32 bytes"):
        Ed25519Signer.from_secret(secret[:-1])


def test_ed25519_wycheproof(read_vectors: Callable[[str], Any]) -> None:
    vectors = read_vectors("wycheproof/ed25519_test.json")
    seen = 0
    for group in vectors["testGroups"]:
        key = Ed25519PublicKey.decode(bytes.fromhex(group["publicKey"]["pk"]))
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            assert key.verify(message, signature) == (case["result"] == "valid"), case["tcId"]
            seen += 1
    assert seen == vectors["numberOfTests"]


@pytest.mark.parametrize("point", ED25519_SMALL_ORDER)
def test_ed25519_refuses_points_of_small_order(point: str) -> None:
    with pytest.raises(CryptoError, match="of large order"):
        Ed25519PublicKey.decode(bytes.fromhex(point))


def test_ed25519_refuses_what_is_not_a_canonical_point() -> None:
    field = 2**255 - 19
    valid_y = 3  # the y of a point of large order; 2 is that of none
    Ed25519PublicKey.decode(valid_y.to_bytes(32, "little"))
    for bad in (
        b"",
        bytes(31),
        bytes(33),
        (2).to_bytes(32, "little"),
        (field + valid_y).to_bytes(32, "little"),
        field.to_bytes(32, "little"),
        b"\xff" * 32,
    ):
        with pytest.raises(CryptoError, match="public key: expected"):
            Ed25519PublicKey.decode(bad)


@pytest.mark.parametrize("signer_type", [P256Signer, Ed25519Signer])
def test_secrets_survive_a_round_trip_and_stay_out_of_repr(
    signer_type: type[P256Signer | Ed25519Signer],
) -> None:
    secret = bytes(range(1, 33))
    signer = signer_type.from_secret(secret)
    assert signer.export_secret() == secret
    assert signer_type.from_secret(signer.export_secret()) == signer
    shown = repr(signer)
    assert "public_key" in shown
    for form in (secret.hex(), repr(secret)[2:-1], str(int.from_bytes(secret, "big"))):
        assert form not in shown
