"""The X.509 certificates that a chain accepts, judged by this code alone: bytes in, fields out.

Every validator has to judge a certificate alike, today and when the block is replayed in twenty
years. Libraries for X.509 change what they take from version to version, so none is asked. What is
read here is a profile of RFC 5280 so narrow that every library takes what it takes, which tests
hold against two of them: version 3; keys of P-256, and the keys and signatures of authorities that
certificate_algorithms.py lists; names of one attribute per level; the extensions listed in
certificate_extensions.py, each in the one form of DER. Anything else is refused, with a `Reason`.

Lengths, counts and numbers are bounded; times are in ms (UTC) and arguments. A signature is checked
by the key types of this room, as those of transactions are. node/adr/0030 says why it is so.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.crypto.certificate_algorithms import P256, SM2
from node.crypto.certificate_extensions import (
    BASIC_CONSTRAINTS,
    CERTIFICATES,
    CLIENT_AUTH,
    LISTS,
    SIGNATURES,
    CertificateRefused,
    Reason,
)
from node.crypto.certificate_fields import AcceptedCertificate
from node.crypto.identity_name import URI_SCHEME, decode_identity_name
from node.crypto.suite import Suite
from node.errors import CryptoError


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateIdentity:
    """What a member's certificate says. Validity includes both times."""

    identity_id: str
    role: str
    organisation: str
    public_key_encoded: bytes  # a point of P-256, compressed, 33 bytes
    not_before_ms: int
    not_after_ms: int
    fingerprint: bytes  # SHA-256 of the DER form, as openssl and browsers show it


def read_member(certificate: AcceptedCertificate) -> CertificateIdentity:
    """Return whose certificate it is, whoever issued it and whenever it is valid.

    Raises `CertificateRefused` unless it is a member's: (1) of a key of P-256; (2) not an
    authority's; (3) for digital signatures, not for signing certificates or lists, and for TLS
    clients; (4) naming exactly one organisation and one identity.
    """
    extensions = certificate.extensions
    if certificate.key_algorithm != P256.name:  # (1)
        got = certificate.key_algorithm
        raise CertificateRefused(Reason.KEY, f"certificate: expected a key of P-256, got {got}")
    if extensions.is_authority:  # (2)
        raise CertificateRefused(
            Reason.ROLE, "certificate: expected a member's, got an authority's"
        )
    usage = extensions.key_usage
    if SIGNATURES not in usage or usage & {CERTIFICATES, LISTS}:  # (3)
        raise CertificateRefused(
            Reason.KEY_USAGE,
            "certificate: expected the key usage digital signature, and no issuing",
        )
    if CLIENT_AUTH not in extensions.purposes:  # (3)
        raise CertificateRefused(
            Reason.EXTENDED_KEY_USAGE,
            "certificate: expected the extended key usage client authentication",
        )
    ours = [each for each in extensions.uris if each.startswith(f"{URI_SCHEME}:")]
    try:
        role, identity_id = decode_identity_name(ours[0] if len(ours) == 1 else "")  # (4)
    except CryptoError as error:
        raise CertificateRefused(Reason.IDENTITY, str(error)) from error
    return CertificateIdentity(
        identity_id=identity_id,
        role=role,
        organisation=certificate.organisation,
        public_key_encoded=certificate.public_key,
        not_before_ms=certificate.not_before_ms,
        not_after_ms=certificate.not_after_ms,
        fingerprint=certificate.fingerprint,
    )


def check_authority(certificate: AcceptedCertificate, suite: Suite) -> None:
    """Raise `CertificateRefused` unless it is one that may sign certificates on such a chain."""
    extensions = certificate.extensions
    if not extensions.is_authority or CERTIFICATES not in extensions.key_usage:
        raise CertificateRefused(
            Reason.ROLE, "authority certificate: expected one that may sign certificates"
        )
    if BASIC_CONSTRAINTS not in extensions.critical:  # RFC 5280 section 4.2.1.9
        raise CertificateRefused(
            Reason.BASIC_CONSTRAINTS, "authority certificate: expected critical basic constraints"
        )
    if extensions.purposes:
        raise CertificateRefused(
            Reason.EXTENDED_KEY_USAGE, "authority certificate: expected no extended key usage"
        )
    if certificate.key_algorithm not in suite.authority_keys:
        known, got = ", ".join(suite.authority_keys), certificate.key_algorithm
        raise CertificateRefused(
            Reason.ALGORITHM, f"authority certificate: expected a key of one of {known}, got {got}"
        )


def is_for_tls(authority: AcceptedCertificate) -> bool:
    """Say whether TLS takes what it signs: the libraries of peers and browsers know no SM2."""
    return authority.key_algorithm != SM2.name


def verify_member(
    certificate: AcceptedCertificate,
    authority: AcceptedCertificate,
    at_ms: int,
    suite: Suite,
    organisation: str | None = None,
) -> CertificateIdentity:
    """Check that `authority` issued a member's `certificate` and that both are valid at `at_ms`.

    Raises `CertificateRefused` unless: (1) it is a member's (`read_member`); (2) the authority's is
    one (`check_authority`); (3) it names the authority as issuer, in the same bytes, and its key,
    where both say which, and bears its signature, by an algorithm of its key; (4) it names the
    organisation whose authority that is: `organisation` by the word of who asks, as an external
    authority names itself there, else the one that the authority names; (5) both are valid at that
    time.
    """
    identity = read_member(certificate)  # (1)
    check_authority(authority, suite)  # (2)
    what = f"certificate of {identity.identity_id!r}"
    _check_issuer(certificate, authority, what)  # (3)
    expected = organisation or authority.organisation
    if identity.organisation != expected:  # (4)
        got = f"{identity.organisation!r}, its authority {expected!r}"
        raise CertificateRefused(Reason.ORGANISATION, f"{what}: names organisation {got}")
    _check_valid(certificate, at_ms, what)  # (5)
    _check_valid(authority, at_ms, f"authority certificate of {identity.organisation!r}")
    return identity


def _check_issuer(
    certificate: AcceptedCertificate, authority: AcceptedCertificate, what: str
) -> None:
    named = certificate.extensions.authority_key_identifier
    own = authority.extensions.subject_key_identifier
    by, kind = certificate.signed_by, authority.key_algorithm
    is_named = certificate.issuer == authority.subject and not (named and own and named != own)
    if is_named and by.key_algorithm.name != kind:
        raise CertificateRefused(
            Reason.ISSUER,
            f"{what}: not issued by the authority of its organisation, whose key is of {kind}: "
            f"signed by {by.name}",
        )
    if not is_named or not by.verifies(
        authority.public_key, certificate.signed_part, certificate.signature
    ):
        raise CertificateRefused(
            Reason.ISSUER, f"{what}: not issued by the authority of its organisation"
        )


def _check_valid(certificate: AcceptedCertificate, at_ms: int, what: str) -> None:
    if not certificate.not_before_ms <= at_ms <= certificate.not_after_ms:
        valid = f"{certificate.not_before_ms}..{certificate.not_after_ms} ms"
        raise CertificateRefused(Reason.TIME, f"{what}: valid in {valid}, got {at_ms} ms")
