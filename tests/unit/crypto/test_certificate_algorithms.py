"""Authorities of RSA and P-384: external ones. P-256 and SM2: test_certificate_profile.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.crypto import der
from node.crypto.certificate_algorithms import (
    P384,
    RSA,
    RSA_BITS_MAX,
    RSA_BITS_MIN,
    SIGNATURE_ALGORITHMS,
    Pkcs1Encoding,
    PssEncoding,
    RsaSignature,
)
from node.crypto.certificate_extensions import CertificateRefused, Reason
from node.crypto.certificate_fields import decode_certificate
from node.crypto.certificate_profile import check_authority, is_for_tls, verify_member
from node.crypto.signature import P256Signer
from node.crypto.suite import INTERNATIONAL, NATIONAL, Suite
from tests.unit.crypto.handmade_certificate import NOW_MS
from tests.unit.crypto.rsa_authority import EXTERNAL, rsa_authority, rsa_key, rsa_member

MESSAGE = b"what is signed"
MINUS_ONE = der.encode_sequence(der.encode_integer(-1), der.encode_integer(1))


@dataclass(frozen=True)
class Hash:
    """A hash of the profile: as it is written, its object identifier, and that of the library."""

    written: str
    oid: str
    library: type[SHA256 | SHA384 | SHA512]


HASHES = {
    "sha256": Hash("SHA-256", "2.16.840.1.101.3.4.2.1", SHA256),
    "sha384": Hash("SHA-384", "2.16.840.1.101.3.4.2.2", SHA384),
    "sha512": Hash("SHA-512", "2.16.840.1.101.3.4.2.3", SHA512),
}
MEMBER_KEY = P256Signer.from_secret(b"\x42" * 32).private_key.public_key()
SUITES = [INTERNATIONAL, NATIONAL]


def issued(key: rsa.RSAPrivateKey | None = None) -> bytes:
    return rsa_member(NOW_MS, MEMBER_KEY, "agency:bureau", key=key)


def rsa_signature(name: str) -> RsaSignature:
    (found,) = [each for each in SIGNATURE_ALGORITHMS if each.name == name]
    assert isinstance(found, RsaSignature)
    return found


def refusal(certificate: bytes) -> Reason | None:
    try:
        check_authority(decode_certificate(certificate), INTERNATIONAL)
    except CertificateRefused as refused:
        return refused.reason
    return None


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("bits", [RSA_BITS_MIN, 4_096])
def test_an_external_authority_of_rsa_certifies_for_who_names_it(bits: int, suite: Suite) -> None:
    key = rsa_key(bits)
    authority, member = rsa_authority(NOW_MS, key), issued(key=key)
    read = decode_certificate(authority)
    shown = verify_member(decode_certificate(member), read, NOW_MS, suite, "org-1")
    assert (shown.identity_id, shown.organisation) == ("bureau", "org-1")
    assert is_for_tls(read)
    theirs = x509.load_der_x509_certificate(member)
    theirs.verify_directly_issued_by(x509.load_der_x509_certificate(authority))


def test_it_certifies_nobody_of_an_organisation_that_does_not_name_it() -> None:
    member, authority = decode_certificate(issued()), decode_certificate(rsa_authority(NOW_MS))
    for organisation in ("org-2", None):  # None: that which the authority names, itself
        with pytest.raises(CertificateRefused) as refused:
            verify_member(member, authority, NOW_MS, INTERNATIONAL, organisation)
        assert refused.value.reason is Reason.ORGANISATION
    assert EXTERNAL in str(refused.value)


def test_a_signature_by_another_key_and_every_altered_byte_of_one_is_refused() -> None:
    authority = decode_certificate(rsa_authority(NOW_MS))
    by_another = issued(key=rsa_key(4_096))
    sound = issued()
    altered = [sound[:at] + bytes((sound[at] ^ 1,)) + sound[at + 1 :] for at in range(-384, 0, 16)]
    for certificate in (by_another, *altered):
        with pytest.raises(CertificateRefused) as refused:
            verify_member(
                decode_certificate(certificate), authority, NOW_MS, INTERNATIONAL, "org-1"
            )
        assert refused.value.reason is Reason.ISSUER


def test_keys_too_short_or_of_another_exponent_are_refused() -> None:
    assert refusal(rsa_authority(NOW_MS)) is None
    assert refusal(rsa_authority(NOW_MS, rsa_key(2_048))) is Reason.KEY
    assert refusal(rsa_authority(NOW_MS, rsa_key(exponent=3))) is Reason.KEY
    assert refusal(rsa_authority(NOW_MS, digest=SHA384())) is None


@pytest.mark.parametrize(
    ("modulus", "is_taken"),
    [
        (2 ** (RSA_BITS_MIN - 9) + 1, False),
        (2 ** (RSA_BITS_MIN - 1) + 1, True),
        (2 ** (RSA_BITS_MIN - 1), False),  # even
        (2**RSA_BITS_MIN + 1, False),
        (2 ** (RSA_BITS_MAX - 1) + 1, True),
        (2 ** (RSA_BITS_MAX + 7) + 1, False),
    ],
)
def test_a_modulus_is_of_so_many_whole_bytes_and_odd(modulus: int, *, is_taken: bool) -> None:
    integer = modulus.to_bytes(modulus.bit_length() // 8 + 1, "big")
    content = b"\x02\x82" + len(integer).to_bytes(2, "big") + integer
    content += bytes.fromhex("0203010001")
    key = b"\x30\x82" + len(content).to_bytes(2, "big") + content
    if is_taken:
        assert RSA.read(key) == integer[1:]
        return
    with pytest.raises(CertificateRefused) as refused:
        RSA.read(key)
    assert refused.value.reason is Reason.KEY


def test_wycheproof_of_pkcs1_v15(read_vectors: Callable[[str], Any]) -> None:
    """All cases: what is acceptable to some, a digest without its NULL, is refused here."""
    vectors = read_vectors("wycheproof/rsa_signature_2048_sha256_test.json")
    seen = 0
    for group in vectors["testGroups"]:
        modulus = bytes.fromhex(group["publicKey"]["modulus"]).lstrip(b"\0")
        exponent = int(group["publicKey"]["publicExponent"], 16)
        rsa_of = replace(
            rsa_signature("RSA with SHA-256"), key_algorithm=replace(RSA, exponent=exponent)
        )
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            is_valid = case["result"] == "valid"
            assert rsa_of.verifies(modulus, message, signature) is is_valid, case["tcId"]
            seen += 1
    assert seen == vectors["numberOfTests"]


@pytest.mark.parametrize("hash_name", HASHES)
def test_the_digest_is_named_with_its_length(hash_name: str) -> None:
    encoding = rsa_signature(f"RSA with {HASHES[hash_name].written}").is_encoding
    assert isinstance(encoding, Pkcs1Encoding)
    assert encoding.hash_name == hash_name
    size = hashlib.new(hash_name).digest_size
    assert encoding.digest_info_start.endswith(bytes((0x04, size)))
    oid = der.read_only(encoding.digest_info_start + bytes(size), der.SEQUENCE, "digest")
    assert oid.enter(der.SEQUENCE, "algorithm").read_oid() == HASHES[hash_name].oid


# --- PSS, encoded by hand


def mask(hash_name: str, seed: bytes, size: int) -> bytes:
    """Return MGF1 as RFC 8017 appendix B.2.1 writes it."""
    length = hashlib.new(hash_name).digest_size
    rounds = range(-(-size // length))
    return b"".join(
        hashlib.new(hash_name, seed + each.to_bytes(4, "big")).digest() for each in rounds
    )[:size]


@dataclass(frozen=True)
class Pss:
    """An encoding of `MESSAGE`, each part of which may be off."""

    hash_name: str
    salt_bytes: int | None = None
    salted: bytes = b"\x5a"
    mask_hash: str | None = None
    padding: bytes | None = None
    separator: bytes = b"\1"
    trailer: bytes = b"\xbc"
    message: bytes = MESSAGE
    keeps_top_bit: bool = False

    def encoded(self, size: int) -> bytes:
        length = hashlib.new(self.hash_name).digest_size
        salt = self.salted * (length if self.salt_bytes is None else self.salt_bytes)
        own = hashlib.new(self.hash_name, self.message).digest()
        digest = hashlib.new(self.hash_name, bytes(8) + own + salt).digest()
        room = size - length - 2 - len(salt)
        block = (bytes(room) if self.padding is None else self.padding.rjust(room, b"\0")) + (
            self.separator + salt
        )
        own_mask = mask(self.mask_hash or self.hash_name, digest, len(block))
        masked = bytearray(one ^ other for one, other in zip(block, own_mask, strict=True))
        masked[0] = masked[0] | 0x80 if self.keeps_top_bit else masked[0] & 0x7F
        return bytes(masked) + digest + self.trailer


SOUND: list[dict[str, Any]] = [{}, {"salted": b"\0"}, {"salted": b"\xff"}]
OFF: list[dict[str, Any]] = [
    {"salt_bytes": 0},
    {"salt_bytes": 20},
    {"salt_bytes": 65},
    {"mask_hash": "sha1"},
    {"padding": b"\1\0"},
    {"padding": b"\1"},
    {"separator": b"\0"},
    {"separator": b"\2"},
    {"trailer": b"\xcc"},
    {"trailer": b"\xbd"},
    {"message": MESSAGE + b"\0"},
    {"keeps_top_bit": True},
]


def pss_verdicts(hash_name: str, described: dict[str, Any]) -> tuple[bool, bool]:
    """Return what we say of a signature, and what the library says."""
    key, named = rsa_key(), HASHES[hash_name]
    numbers, size = key.private_numbers(), key.key_size // 8
    encoded = int.from_bytes(Pss(hash_name, **described).encoded(size), "big")
    modulus = numbers.public_numbers.n
    signature = pow(encoded, numbers.d, modulus).to_bytes(size, "big")
    ours = rsa_signature(f"RSA-PSS with {named.written}")
    assert isinstance(ours.is_encoding, PssEncoding)
    said = ours.verifies(modulus.to_bytes(size, "big"), MESSAGE, signature)
    scheme = padding.PSS(padding.MGF1(named.library()), named.library.digest_size)
    try:
        key.public_key().verify(signature, MESSAGE, scheme, named.library())
    except InvalidSignature:
        return said, False
    return said, True


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("described", SOUND, ids=str)
def test_a_sound_signature_of_pss_holds(hash_name: str, described: dict[str, Any]) -> None:
    assert pss_verdicts(hash_name, described) == (True, True)


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("described", OFF, ids=str)
def test_one_with_any_part_off_does_not(hash_name: str, described: dict[str, Any]) -> None:
    assert pss_verdicts(hash_name, described) == (False, False)


def test_what_the_library_signs_by_pss_holds() -> None:
    key = rsa_key()
    modulus = key.public_key().public_numbers().n.to_bytes(384, "big")
    for named in HASHES.values():
        scheme = padding.PSS(padding.MGF1(named.library()), named.library.digest_size)
        signature = key.sign(MESSAGE, scheme, named.library())
        for each in SIGNATURE_ALGORITHMS:
            if each.key_algorithm is RSA:
                is_ours = each.name == f"RSA-PSS with {named.written}"
                assert each.verifies(modulus, MESSAGE, signature) is is_ours


def test_a_number_as_large_as_the_modulus_is_no_signature() -> None:
    modulus = rsa_key().public_key().public_numbers().n.to_bytes(384, "big")
    for each in SIGNATURE_ALGORITHMS:
        if each.key_algorithm is RSA:
            assert not each.verifies(modulus, MESSAGE, modulus)
            assert not each.verifies(modulus, MESSAGE, b"\xff" * 384)
            assert not each.verifies(modulus, MESSAGE, bytes(384))


# --- P-384


def test_p384_is_the_curve_of_the_library() -> None:
    key = ec.derive_private_key(P384.order - 1, ec.SECP384R1()).public_key()  # -G
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    assert P384.read(point) == compressed
    generator = ec.derive_private_key(1, ec.SECP384R1()).public_key().public_numbers()
    assert (key.public_numbers().x, P384.prime - key.public_numbers().y) == (
        generator.x,
        generator.y,
    )
    for altered in (point[:-1] + bytes((point[-1] ^ 1,)), compressed, point[:-1], b"\0", b""):
        with pytest.raises(CertificateRefused) as refused:
            P384.read(altered)
        assert refused.value.reason is Reason.KEY


def test_either_of_the_two_good_s_of_p384_holds_and_nothing_else() -> None:
    key = ec.derive_private_key(7, ec.SECP384R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    (by_p384,) = [each for each in SIGNATURE_ALGORITHMS if each.key_algorithm is P384]
    r, s = decode_dss_signature(key.sign(MESSAGE, ec.ECDSA(SHA384())))
    other_hash = decode_dss_signature(key.sign(MESSAGE, ec.ECDSA(SHA256())))
    sound = [(r, s), (r, P384.order - s)]
    for pair in [*sound, (s, r), (r, s ^ 1), (r ^ 1, s), other_hash]:
        kept = by_p384.read(encode_dss_signature(*pair))
        assert by_p384.verifies(point, MESSAGE, kept) is (pair in sound)
    for pair in ((0, s), (r, 0), (P384.order, s), (r, P384.order), (-1, s)):
        with pytest.raises(CertificateRefused) as refused:
            by_p384.read(encode_dss_signature(*pair) if min(pair) >= 0 else MINUS_ONE)
        assert refused.value.reason is Reason.SIGNATURE_FORM
