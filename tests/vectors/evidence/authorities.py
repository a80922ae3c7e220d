"""Time-stamping authorities of fixed keys, each with its time and its end, and what they revoke."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from node.crypto.certificate import (
    Authority,
    Issuance,
    build_authority_certificate,
    build_timestamp_certificate,
)
from node.crypto.revocation import RevocationList
from node.timestamp.tokens.issuing import POLICY, Coordinates, Stamp, TokenIssuer
from node.timestamp.tokens.request import Imprint
from tests.vectors.receipt.chain import seed, signer

YEAR_MS: Final = 31_557_600_000


def year(number: float) -> int:
    """Return the beginning of a year, or of a part of one, in ms since 1970 UTC."""
    begun = datetime(int(number), 1, 1, tzinfo=UTC)
    return int(begun.timestamp()) * 1_000 + int(number % 1 * YEAR_MS)


@dataclass(frozen=True, slots=True)
class Tsa:
    """An authority with a root of its own; years are those of its certificate."""

    name: str
    first_year: int
    last_year: int
    root_years: int = 20

    @property
    def root(self) -> bytes:
        """Return the certificate (DER) to believe."""
        return self._authority.certificate

    @property
    def certificate(self) -> bytes:
        """Return that of its time-stamping key, DER."""
        issuance = Issuance(
            serial_number=2,
            not_before_ms=year(self.first_year),
            not_after_ms=year(self.last_year + 1) - 1_000,
        )
        key = signer(self.name).public_key.encoded
        return build_timestamp_certificate(self._authority, f"{self.name} tsa", key, issuance)

    @property
    def issuer(self) -> TokenIssuer:
        """Return what issues its tokens."""
        return TokenIssuer([self.certificate], signer(self.name), policy=POLICY, accuracy_ms=1_000)

    def stamp(
        self,
        imprint: Imprint,
        time_ms: int,
        *,
        has_certificates: bool = True,
    ) -> bytes:
        """Return a token."""
        return self.issuer.issue(
            Stamp(
                imprint=imprint,
                coordinates=Coordinates(bytes(7), height=1, log_index=1),
                time_ms=time_ms,
                has_certificates=has_certificates,
            )
        )

    def revoke(
        self,
        since_ms: int,
        reason: x509.ReasonFlags | None = None,
        *,
        stolen_ms: int | None = None,
        signed_by: str | None = None,
    ) -> RevocationList:
        """Return the list that revokes its key, as its root signs it."""
        entry = x509.RevokedCertificateBuilder().serial_number(2).revocation_date(_time(since_ms))
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        if stolen_ms is not None:
            entry = entry.add_extension(x509.InvalidityDate(_time(stolen_ms)), critical=False)
        secret = int.from_bytes(seed(signed_by or f"{self.name} root"), "big")
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(x509.load_der_x509_certificate(self.root).subject)
            .last_update(_time(since_ms))
            .next_update(_time(since_ms + YEAR_MS))
            .add_revoked_certificate(entry.build())
            .sign(
                ec.derive_private_key(secret, ec.SECP256R1()),
                hashes.SHA256(),
                ecdsa_deterministic=True,
            )
        )
        return RevocationList.read(made.public_bytes(Encoding.DER))

    @property
    def _authority(self) -> Authority:
        begun, end = year(self.first_year), year(self.first_year + self.root_years)
        key = signer(f"{self.name} root")
        issuance = Issuance(serial_number=1, not_before_ms=begun, not_after_ms=end)
        return Authority(build_authority_certificate(key, self.name, issuance), key)


FIRST: Final = Tsa("first", 2025, 2029)
SECOND: Final = Tsa("second", 2028, 2033)
THIRD: Final = Tsa("third", 2032, 2040)
STRANGER: Final = Tsa("stranger", 2025, 2040)


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms // 1_000, UTC)
