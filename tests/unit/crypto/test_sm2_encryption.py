"""What is encrypted to an SM2 key: by each library, opened by the other, and by the standard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from asn1crypto import core, keys, pem
from hypothesis import given, settings
from hypothesis import strategies as st

from node.crypto.sm2 import SM2_LIBRARIES, SM2_PLAINTEXT_BYTES_MAX, Sm2Signer
from node.crypto.sm2_ciphertext import SM2_CIPHERTEXT_BYTES_OVER, decode_der, encode_der, is_trivial
from node.errors import CryptoError
from tests.unit.crypto import sm2_reference as reference
from tests.unit.crypto.sm2_libraries import using

SECRET = b"\x07" * 32
LIBRARIES = sorted(SM2_LIBRARIES)


@pytest.fixture(scope="module", params=LIBRARIES)
def signer(request: pytest.FixtureRequest) -> Iterator[Sm2Signer]:
    with using(request.param):
        yield Sm2Signer.from_secret(SECRET)


def opens(signer: Sm2Signer, ciphertext: bytes) -> bool:
    try:
        signer.decrypt(ciphertext)
    except CryptoError:
        return False
    return True


@settings(max_examples=20, deadline=None)
@given(plaintext=st.binary(min_size=1, max_size=200))
def test_what_is_encrypted_opens_by_the_standard_and_is_never_the_same(
    signer: Sm2Signer, plaintext: bytes
) -> None:
    one, other = signer.public_key.encrypt(plaintext), signer.public_key.encrypt(plaintext)
    assert one != other
    assert len(one) == len(plaintext) + SM2_CIPHERTEXT_BYTES_OVER
    assert signer.decrypt(one) == plaintext
    assert reference.decrypt(int.from_bytes(SECRET, "big"), other) == plaintext


def test_a_plaintext_of_one_byte_is_always_masked(signer: Sm2Signer) -> None:
    """One mask in 256 is zero; the standard draws again, and libraries do not."""
    made = [signer.public_key.encrypt(b"k") for _ in range(700)]
    assert not any(is_trivial(each, b"k") for each in made)
    assert all(signer.decrypt(each) == b"k" for each in made[:20])


def test_what_was_not_masked_is_refused(signer: Sm2Signer) -> None:
    secret = int.from_bytes(SECRET, "big")
    unmasked = (
        reference.encrypt(reference.times(secret, reference.G), b"k", nonce)
        for nonce in range(1, 4_000)
    )
    found = next(each for each in unmasked if is_trivial(each, b"k"))
    assert not opens(signer, found)


@pytest.mark.parametrize(("one", "other"), [*product(LIBRARIES, repeat=2)])
def test_each_library_opens_what_the_other_made(one: str, other: str) -> None:
    with using(one):
        made = Sm2Signer.from_secret(SECRET).public_key.encrypt(b"a content key")
    with using(other):
        assert Sm2Signer.from_secret(SECRET).decrypt(made) == b"a content key"
        assert not opens(Sm2Signer.from_secret(b"\x08" * 32), made)


def test_published_ciphertexts_open(signer: Sm2Signer, read_vectors: Callable[[str], Any]) -> None:
    assert signer.algorithm == "sm2"  # its library opens the published ones
    vectors = read_vectors("national/sm2.json")
    _, _, encoded = pem.unarmor(vectors["pkcs8_pem"].encode())
    scalar = keys.PrivateKeyInfo.load(encoded)["private_key"].parsed["private_key"].native
    own = Sm2Signer.from_secret(scalar.to_bytes(32, "big"))
    for case in vectors["decrypt"]:
        ciphertext = decode_der(bytes.fromhex(case["ciphertext_der"]))
        assert own.decrypt(ciphertext) == case["plaintext_utf8"].encode()
    assert vectors["decrypt"]


def test_every_flipped_bit_and_every_other_length_is_refused(signer: Sm2Signer) -> None:
    made = signer.public_key.encrypt(b"sixteen byte key")
    for bit in range(8 * len(made)):
        altered = bytearray(made)
        altered[bit // 8] ^= 1 << bit % 8
        assert not opens(signer, bytes(altered)), bit
    for other in (b"", made[:-1], made + b"\0", made[:97], made[:1], bytes(len(made))):
        assert not opens(signer, other)


@pytest.mark.parametrize("size", [0, SM2_PLAINTEXT_BYTES_MAX + 1])
def test_plaintexts_of_other_sizes_are_refused(signer: Sm2Signer, size: int) -> None:
    with pytest.raises(CryptoError, match=f"got {size}"):
        signer.public_key.encrypt(bytes(size))


class Ciphertext(core.Sequence):  # type: ignore[misc]
    """GM/T 0009 section 7.2, as another library writes it."""

    _fields = [  # noqa: RUF012 - as the library wants it
        ("x", core.Integer),
        ("y", core.Integer),
        ("digest", core.OctetString),
        ("body", core.OctetString),
    ]


@given(x=st.integers(0, 2**256 - 1), y=st.integers(0, 2**256 - 1), body=st.binary(min_size=1))
def test_the_asn_1_form_is_anothers_and_comes_back(x: int, y: int, body: bytes) -> None:
    raw = b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big") + bytes(range(32)) + body
    parts = {"x": x, "y": y, "digest": bytes(range(32)), "body": body}
    assert encode_der(raw) == Ciphertext(parts).dump()
    assert decode_der(encode_der(raw)) == raw


@given(x=st.sampled_from([0, 1, 127, 128, 255, 256, 2**255, 2**256 - 1]), data=st.data())
def test_only_der_is_read(x: int, data: st.DataObject) -> None:
    encoded = encode_der(b"\x04" + x.to_bytes(32, "big") + bytes(64) + bytes(data.draw(sizes)))
    at = data.draw(st.integers(0, len(encoded) - 1))
    cut = data.draw(st.integers(0, len(encoded) - 1))
    altered = bytearray(encoded)
    altered[at] ^= data.draw(st.integers(1, 255))
    for other in (bytes(altered), encoded[:cut], encoded + b"\0"):
        try:
            read = decode_der(other)
        except CryptoError:
            continue
        assert encode_der(read) == other


sizes = st.sampled_from([1, 20, 127, 128, 255, 256, 1_024])


@pytest.mark.parametrize(
    "encoded",
    [
        Ciphertext({"x": -1, "y": 1, "digest": bytes(32), "body": b"k"}).dump(),
        Ciphertext({"x": 2**256, "y": 1, "digest": bytes(32), "body": b"k"}).dump(),
        Ciphertext({"x": 1, "y": 1, "digest": bytes(31), "body": b"k"}).dump(),
        Ciphertext({"x": 1, "y": 1, "digest": bytes(32), "body": b""}).dump(),
        b"",
        b"\x30",
        b"\x30\x00",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x02\x01\x00",
    ],
)
def test_what_is_no_ciphertext_is_refused(encoded: bytes) -> None:
    with pytest.raises(CryptoError, match="ciphertext: expected an SM2"):
        decode_der(encoded)
