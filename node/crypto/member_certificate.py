"""Certificates of members and of their authorities as files and TLS have them, PEM or DER.

What they have to be like is said by certificate_profile.py alone, so that nobody is let in by a
certificate that the chain would not register, nor the other way round.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from node.crypto.certificate_extensions import SERVER_AUTH, CertificateRefused, Reason
from node.crypto.certificate_fields import AcceptedCertificate, decode_certificate
from node.crypto.certificate_profile import (
    CertificateIdentity,
    check_authority,
    read_member,
    verify_member,
)
from node.crypto.suite import INTERNATIONAL, Suite
from node.limits import CERTIFICATE_BYTES_MAX

_PEM: Final = re.compile(
    rb"\s*-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*"
)
_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_PEM_BYTES_MAX: Final = 2 * CERTIFICATE_BYTES_MAX
_PEM_LINE: Final = 64


def read_identity(certificate: bytes) -> CertificateIdentity:
    """Return whose certificate it is, whoever issued it and whenever it is valid.

    Raises `CertificateRefused` unless it keeps the profile and is a member's (`read_member`).
    """
    return read_member(_decode(certificate))


def verify_identity(
    certificate: bytes,
    authority: bytes,
    at_ms: int,
    suite: Suite = INTERNATIONAL,
    organisation: str | None = None,
) -> CertificateIdentity:
    """Check that `authority` issued the member's `certificate` and that both are valid at `at_ms`.

    `suite` is the chain's, where it is known; TLS knows no authorities of SM2. `organisation`, and
    why `CertificateRefused` is raised, are as `verify_member` has them.
    """
    return verify_member(_decode(certificate), _decode(authority), at_ms, suite, organisation)


def verify_node(certificate: bytes, authority: bytes, at_ms: int) -> CertificateIdentity:
    """Check a certificate that a node is to show: `verify_identity`, and what servers need.

    Raises `CertificateRefused` unless it is for TLS servers, too, and bears the node's id as a DNS
    name, which is what everybody who dials the node looks for.
    """
    identity = verify_identity(certificate, authority, at_ms)
    extensions = _decode(certificate).extensions
    what = f"certificate of {identity.identity_id!r}"
    if SERVER_AUTH not in extensions.purposes:
        raise CertificateRefused(
            Reason.EXTENDED_KEY_USAGE,
            f"{what}: expected the extended key usage server authentication",
        )
    if identity.identity_id not in extensions.dns_names:
        raise CertificateRefused(
            Reason.ALTERNATIVE_NAMES,
            f"{what}: expected {identity.identity_id!r} among its DNS names",
        )
    return identity


def encode_authority_pem(authority: bytes, suite: Suite = INTERNATIONAL) -> bytes:
    """Return the PEM form of an authority's certificate (PEM or DER).

    Raises `CertificateRefused` unless it is one that may sign certificates: a library that is given
    one it cannot read may believe nobody any more.
    """
    decoded = _decode(authority)
    check_authority(decoded, suite)
    return _encode_pem(decoded.encoded)


def _decode(certificate: bytes) -> AcceptedCertificate:
    if not certificate.lstrip().startswith(b"-----"):
        return decode_certificate(certificate)
    if len(certificate) > _PEM_BYTES_MAX:
        got = f"at most {_PEM_BYTES_MAX} bytes, got {len(certificate)}"
        raise CertificateRefused(Reason.SIZE, f"certificate: expected {got}")
    if certificate.count(_PEM_BEGIN) > 1:
        raise CertificateRefused(Reason.ENCODING, "certificate: expected one, got a chain")
    found = _PEM.fullmatch(certificate)
    try:
        encoded = (
            binascii.a2b_base64(b"".join(found[1].split()), strict_mode=True) if found else b""
        )
    except binascii.Error:
        encoded = b""
    if not encoded:
        raise CertificateRefused(Reason.ENCODING, "certificate: expected X.509 in PEM or DER form")
    return decode_certificate(encoded)


def _encode_pem(encoded: bytes) -> bytes:
    text = binascii.b2a_base64(encoded, newline=False)
    lines = [text[at : at + _PEM_LINE] for at in range(0, len(text), _PEM_LINE)]
    return b"\n".join((_PEM_BEGIN, *lines, b"-----END CERTIFICATE-----", b""))
