"""Certificate revocation lists (RFC 5280) as time-stamping needs them: read, and made.

Where an authority merely stopped using a key, what it signed before stays good. Where a key was
stolen, or nothing is said (RFC 3161 section 4), only what is known to be older than that stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags

from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import (
    Authority,
    certificate_extension,
    load_certificate,
    milliseconds_of,
)
from node.crypto.library_warnings import ignore_remarks
from node.crypto.signature import P256Signer
from node.errors import CryptoError

_PEM: Final = b"-----BEGIN"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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
class RevokedSerial:
    """An entry of a list that is to be made."""

    serial_number: int
    since_ms: int
    """Ms since 1970 UTC; a list has whole seconds."""
    reason: ReasonFlags | None
    """None says nothing, which is to fear the worst."""

    def is_milder_than(self, others: Sequence[RevokedSerial]) -> bool:
        """Tell whether others say as bad of its certificate, or worse: nothing is taken back."""
        mine = self.reason in _HARMLESS
        return mine and any(each.serial_number == self.serial_number for each in others)


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list as its issuer signed it. Says nothing until `find` has checked that signature."""

    encoded: bytes
    """DER."""
    issuer_name: bytes
    """DER of the Name of who issued it."""
    _list: x509.CertificateRevocationList

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a list (PEM or DER); raises `CryptoError` for anything else."""
        ignore_remarks()
        load = x509.load_pem_x509_crl if data.startswith(_PEM) else x509.load_der_x509_crl
        try:
            loaded = load(data)
            encoded, name = loaded.public_bytes(Encoding.DER), loaded.issuer.public_bytes()
            return cls(encoded, name, loaded)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CryptoError("revocation list: expected one in PEM or DER") from error

    @property
    def issuer(self) -> str:
        """Who issued it, in the text form of RFC 4514."""
        return self._list.issuer.rfc4514_string()

    def entries(self, issuer: AuthorityCertificate) -> list[RevokedSerial]:
        """Return what it revokes, so that the next list can begin with that.

        Raises `CryptoError` unless the issuer signed it.
        """
        if not issuer.has_signed(self._list):
            raise CryptoError(f"revocation list: it is not signed by {issuer.subject}")
        ignore_remarks()
        try:
            return [_entry(each) for each in self._list]
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise CryptoError("revocation list: malformed") from error

    def find(
        self, certificate: AuthorityCertificate, issuer: AuthorityCertificate
    ) -> Revocation | None:
        """Return that a certificate is revoked by its issuer; None where this list does not say so.

        Raises `CryptoError` where it is in the issuer's name but not by its key, or does not say
        all there is to say: lists of differences and of some certificates alone.
        """
        ignore_remarks()
        try:
            if self.issuer_name != issuer.subject_name:
                return None
            if any(extension.critical for extension in self._list.extensions):
                raise CryptoError("revocation list: expected a whole one, got a part")
            if not issuer.has_signed(self._list):
                raise CryptoError(f"revocation list: it is not signed by {issuer.subject}")
            entry = self._list.get_revoked_certificate_by_serial_number(certificate.serial_number)
            return None if entry is None else _read(entry)
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise CryptoError("revocation list: malformed") from error


def build_revocation_list(
    authority: Authority, revoked: Sequence[RevokedSerial], *, made_ms: int, next_ms: int
) -> bytes:
    """Return the whole list (DER) that an authority signs of its certificates, as of `made_ms`.

    The next one is there by `next_ms`; times are ms since 1970 UTC. Raises `CryptoError` unless the
    authority's key is its certificate's.
    """
    own, signer = AuthorityCertificate.read(authority.certificate), authority.signer
    if not isinstance(signer, P256Signer) or not own.is_of(signer.public_key):
        raise CryptoError("authority: its key is not the one its certificate names")
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key.library_key)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(load_certificate(authority.certificate).subject)
        .last_update(_moment(made_ms))
        .next_update(_moment(next_ms))
        .add_extension(key_id, critical=False)
        .add_extension(x509.CRLNumber(made_ms), critical=False)
    )
    for each in revoked:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(each.serial_number)
            .revocation_date(_moment(each.since_ms))
        )
        if each.reason is not None:
            entry = entry.add_extension(x509.CRLReason(each.reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    made = builder.sign(signer.private_key, hashes.SHA256(), ecdsa_deterministic=True)
    return made.public_bytes(Encoding.DER)


def encode_list_pem(encoded: bytes) -> bytes:
    """Return the PEM form of a list (DER)."""
    return x509.load_der_x509_crl(encoded).public_bytes(Encoding.PEM)


def _moment(time_ms: int) -> datetime:
    return _EPOCH + timedelta(seconds=time_ms // 1_000)


def _entry(entry: x509.RevokedCertificate) -> RevokedSerial:
    reason = certificate_extension(entry.extensions, x509.CRLReason)
    since_ms = milliseconds_of(entry.revocation_date_utc)
    return RevokedSerial(entry.serial_number, since_ms, None if reason is None else reason.reason)


def _read(entry: x509.RevokedCertificate) -> Revocation:
    since_ms = milliseconds_of(entry.revocation_date_utc)
    reason = certificate_extension(entry.extensions, x509.CRLReason)
    is_harmless = reason is not None and reason.reason in _HARMLESS
    stolen = None if is_harmless else certificate_extension(entry.extensions, x509.InvalidityDate)
    if stolen is not None:
        since_ms = min(since_ms, milliseconds_of(stolen.invalidity_date_utc))
    return Revocation(since_ms, is_harmless)
