"""What keys of time-stamping authorities sign: Wycheproof's RSA and ECDSA, in DER, by our check.

`AuthorityCertificate.check_signature` judges the signature of every token, ours and others'.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import NameOID

from node.crypto.authority import AuthorityCertificate
from node.errors import CryptoError

SHA_256 = "2.16.840.1.101.3.4.2.1"
RSA = "1.2.840.113549.1.1.1"
SHA_256_WITH_RSA = "1.2.840.113549.1.1.11"
ECDSA_WITH_SHA_256 = "1.2.840.10045.4.3.2"
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
ISSUER = ec.derive_private_key(7, ec.SECP256R1())


def authority_with(public_key: str) -> AuthorityCertificate:
    """Return a certificate of the key (SubjectPublicKeyInfo, hex)."""
    key = load_der_public_key(bytes.fromhex(public_key))
    assert isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key)
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
    )
    signed = builder.sign(ISSUER, hashes.SHA256())
    return AuthorityCertificate.read(signed.public_bytes(Encoding.DER))


def verdicts(vectors: Any, algorithm: str) -> dict[int, tuple[str, bool]]:  # noqa: ANN401 - JSON
    """Return, by number of the case, its published result and whether we take the signature."""
    found = {}
    for group in vectors["testGroups"]:
        authority = authority_with(group["publicKeyDer"])
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            try:
                authority.check_signature(message, signature, algorithm=algorithm, digest=SHA_256)
                is_taken = True
            except CryptoError:
                is_taken = False
            found[case["tcId"]] = (case["result"], is_taken)
    assert len(found) == vectors["numberOfTests"]
    return found


@pytest.mark.parametrize("algorithm", [RSA, SHA_256_WITH_RSA])
def test_rsa_of_2048_bits(read_vectors: Callable[[str], Any], algorithm: str) -> None:
    """All 259; the one that may be taken or not lacks the NULL of RFC 8017 section 9.2: refused."""
    found = verdicts(read_vectors("wycheproof/rsa_signature_2048_sha256_test.json"), algorithm)
    assert {is_taken for result, is_taken in found.values() if result == "valid"} == {True}
    assert {is_taken for result, is_taken in found.values() if result == "invalid"} == {False}
    assert [each for each in found.values() if each[0] == "acceptable"] == [("acceptable", False)]


def test_ecdsa_on_p_256(read_vectors: Callable[[str], Any]) -> None:
    """All 484, with high s too: that only tokens of this chain have the low one, step 9 sees to."""
    vectors = read_vectors("wycheproof/ecdsa_secp256r1_sha256_test.json")
    found = verdicts(vectors, ECDSA_WITH_SHA_256)
    assert {number for number, (result, is_taken) in found.items() if is_taken} == {
        number for number, (result, _) in found.items() if result == "valid"
    }
    assert {result for result, _ in found.values()} == {"valid", "invalid"}
