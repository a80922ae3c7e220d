"""Authorities of RSA: external ones, mostly. The curves are in test_certificate_profile.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA384

from node.crypto.certificate_algorithms import RSA, RSA_BITS_MAX, RSA_BITS_MIN
from node.crypto.certificate_extensions import CertificateRefused, Reason
from node.crypto.certificate_fields import decode_certificate
from node.crypto.certificate_profile import check_authority, is_for_tls, verify_member
from node.crypto.signature import P256Signer
from node.crypto.suite import INTERNATIONAL, NATIONAL, Suite
from tests.unit.crypto.handmade_certificate import NOW_MS
from tests.unit.crypto.rsa_authority import EXTERNAL, rsa_authority, rsa_key, rsa_member

MEMBER_KEY = P256Signer.from_secret(b"\x42" * 32).private_key.public_key()
SUITES = [INTERNATIONAL, NATIONAL]


def issued(key: rsa.RSAPrivateKey | None = None) -> bytes:
    return rsa_member(NOW_MS, MEMBER_KEY, "agency:bureau", key=key)


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


def test_keys_too_short_or_of_another_exponent_and_other_digests_are_refused() -> None:
    assert refusal(rsa_authority(NOW_MS)) is None
    assert refusal(rsa_authority(NOW_MS, rsa_key(2_048))) is Reason.KEY
    assert refusal(rsa_authority(NOW_MS, rsa_key(exponent=3))) is Reason.KEY
    assert refusal(rsa_authority(NOW_MS, digest=SHA384())) is Reason.ALGORITHM


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
        assert RSA.read_key(key) == integer[1:]
        return
    with pytest.raises(CertificateRefused) as refused:
        RSA.read_key(key)
    assert refused.value.reason is Reason.KEY


def test_wycheproof_of_pkcs1_v15(read_vectors: Callable[[str], Any]) -> None:
    """All cases: what is acceptable to some, a digest without its NULL, is refused here."""
    vectors = read_vectors("wycheproof/rsa_signature_2048_sha256_test.json")
    seen = 0
    for group in vectors["testGroups"]:
        modulus = bytes.fromhex(group["publicKey"]["modulus"]).lstrip(b"\0")
        rsa_of = replace(RSA, exponent=int(group["publicKey"]["publicExponent"], 16))
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            is_valid = case["result"] == "valid"
            assert rsa_of.verifies(modulus, message, signature) is is_valid, case["tcId"]
            seen += 1
    assert seen == vectors["numberOfTests"]


def test_the_digest_is_of_sha_256() -> None:
    assert RSA.digest_info_start.endswith(bytes((0x04, hashlib.sha256().digest_size)))
