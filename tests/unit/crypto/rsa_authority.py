"""An external authority with a key of RSA, as a commercial one has, and what it issues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

EXTERNAL = "Trust Services Ltd"
EXPONENT = 65_537


@cache
def rsa_key(bits: int = 3_072, exponent: int = EXPONENT) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


def name_of(organisation: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])


def rsa_authority(
    at_ms: int, key: rsa.RSAPrivateKey | None = None, digest: SHA256 | SHA384 | None = None
) -> bytes:
    """Return the self-signed certificate of the external authority, DER, valid for a year."""
    key = key or rsa_key()
    builder = _begun(at_ms, EXTERNAL, 1).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(is_authority=True), critical=True)
    return builder.sign(key, digest or SHA256()).public_bytes(Encoding.DER)


def rsa_member(
    at_ms: int,
    public_key: ec.EllipticCurvePublicKey,
    identity: str,
    organisation: str = "org-1",
    key: rsa.RSAPrivateKey | None = None,
) -> bytes:
    """Return what it issued to a member, `role:id`, DER."""
    builder = _begun(at_ms, organisation, 2).public_key(public_key)
    builder = builder.add_extension(_usage(is_authority=False), critical=True)
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(purposes, critical=False)
    names = [x509.UniformResourceIdentifier(f"govchain:{identity}")]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key or rsa_key(), SHA256()).public_bytes(Encoding.DER)


def _begun(at_ms: int, organisation: str, serial_number: int) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(at_ms // 1_000, UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(name_of(EXTERNAL))
        .subject_name(name_of(organisation))
        .serial_number(serial_number)
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + timedelta(days=365))
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
