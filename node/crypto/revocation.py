"""Certificate revocation lists (RFC 5280) as time-stamping needs them: since when, and how badly.

Where an authority merely stopped using a key, what it signed before stays good. Where a key was
stolen, or nothing is said (RFC 3161 section 4), only what is known to be older than that stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags

from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import certificate_extension, milliseconds_of
from node.errors import CryptoError

_PEM: Final = b"-----BEGIN"
_HARMLESS: Final = (
    ReasonFlags.unspecified,
    ReasonFlags.affiliation_changed,
    ReasonFlags.superseded,
    ReasonFlags.cessation_of_operation,
)


@dataclass(frozen=True, slots=True)
class Revocation:
    """That a certificate is no longer believed."""

    since_ms: int
    """Ms since 1970 UTC; of a stolen key when that is said to have happened, if it is."""
    is_harmless: bool
    """The key was merely retired: what it signed before is good."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list as its issuer signed it. Says nothing until `find` has checked that signature."""

    encoded: bytes
    """DER."""
    _list: x509.CertificateRevocationList

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a list (PEM or DER); raises `CryptoError` for anything else."""
        load = x509.load_pem_x509_crl if data.startswith(_PEM) else x509.load_der_x509_crl
        try:
            loaded = load(data)
            return cls(loaded.public_bytes(Encoding.DER), loaded)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CryptoError("revocation list: expected one in PEM or DER") from error

    def find(
        self, certificate: AuthorityCertificate, issuer: AuthorityCertificate
    ) -> Revocation | None:
        """Return that a certificate is revoked by its issuer; None where this list does not say so.

        Raises `CryptoError` where it is in the issuer's name but not by its key, or does not say
        all there is to say: lists of differences and of some certificates alone.
        """
        try:
            if self._list.issuer.public_bytes() != issuer.subject_name:
                return None
            if any(extension.critical for extension in self._list.extensions):
                raise CryptoError("revocation list: expected a whole one, got a part")
            if not issuer.has_signed(self._list):
                raise CryptoError(f"revocation list: it is not signed by {issuer.subject}")
            entry = self._list.get_revoked_certificate_by_serial_number(certificate.serial_number)
            return None if entry is None else _read(entry)
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise CryptoError("revocation list: malformed") from error


def _read(entry: x509.RevokedCertificate) -> Revocation:
    since_ms = milliseconds_of(entry.revocation_date_utc)
    reason = certificate_extension(entry.extensions, x509.CRLReason)
    is_harmless = reason is not None and reason.reason in _HARMLESS
    stolen = None if is_harmless else certificate_extension(entry.extensions, x509.InvalidityDate)
    if stolen is not None:
        since_ms = min(since_ms, milliseconds_of(stolen.invalidity_date_utc))
    return Revocation(since_ms, is_harmless)
