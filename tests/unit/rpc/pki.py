"""Organisations, validators and clients with real certificates, made from fixed keys."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node.crypto.certificate import (
    LOOPBACK_HOSTS,
    Authority,
    Issuance,
    Member,
    build_authority_certificate,
    build_identity_certificate,
    build_node_certificate,
    encode_pem,
)
from node.crypto.signature import P256Signer
from node.rpc.identity import Gatekeeper, TlsIdentity

HOUR_MS = 3_600_000
CHAIN_ID = bytes(range(32))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Pki:
    """Organisations `org-1..n`. A number names a key, so no two members may share one."""

    organisations: int
    made_ms: int = field(default_factory=now_ms)

    def __post_init__(self) -> None:
        self.authorities = {f"org-{n}": self.authority(n) for n in range(1, self.organisations + 1)}

    def authority(self, number: int, name: str | None = None) -> Authority:
        signer = P256Signer.from_secret(number.to_bytes(32, "big"))
        organisation = name or f"org-{number}"
        return Authority(
            build_authority_certificate(signer, organisation, self.issuance(number)), signer
        )

    def gatekeeper(self) -> Gatekeeper:
        certificates = {name: (a.certificate,) for name, a in self.authorities.items()}
        return Gatekeeper(certificates, now_ms)

    def validator(self, number: int, *, authority: Authority | None = None) -> TlsIdentity:
        """Return what `validator-<number>` of `org-<number>` shows, unless `authority` issues."""
        member, key = self.member(1_000 + number, f"validator-{number}", "validator")
        certificate = build_node_certificate(
            authority or self.authorities[f"org-{number}"],
            member,
            self.issuance(1_000 + number),
            hosts=(*LOOPBACK_HOSTS, f"validator-{number}"),
        )
        return TlsIdentity(encode_pem(certificate), key)

    def client(
        self,
        identity_id: str = "agency-1",
        *,
        authority: Authority | None = None,
        not_after_ms: int | None = None,
    ) -> TlsIdentity:
        member, key = self.member(2_000, identity_id, "agency")
        certificate = build_identity_certificate(
            authority or self.authorities["org-1"], member, self.issuance(2_000, not_after_ms)
        )
        return TlsIdentity(encode_pem(certificate), key)

    def member(self, number: int, identity_id: str, role: str) -> tuple[Member, bytes]:
        signer = P256Signer.from_secret(number.to_bytes(32, "big"))
        key = signer.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public_key = signer.public_key.encoded
        return Member(identity_id=identity_id, role=role, public_key=public_key), key

    def issuance(self, serial_number: int, not_after_ms: int | None = None) -> Issuance:
        return Issuance(
            serial_number=serial_number,
            not_before_ms=self.made_ms - HOUR_MS,
            not_after_ms=not_after_ms or self.made_ms + 24 * HOUR_MS,
        )


@cache
def shared_pki() -> Pki:
    return Pki(4)
