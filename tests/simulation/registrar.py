"""What administrators change of clients: keys, by certificates of their authority, and rights.

Certificates are real ones, of P-256, as execution reads nothing else; the keys that transactions
are signed under are of the ring. A client has few keys, so that an earlier one comes back at times.
"""

from __future__ import annotations

import hashlib
from functools import cache
from random import Random

from node.chain.governance import Operation
from node.chain.identity import ChangeStatus, RotateIdentity, Status, Subject
from node.crypto.certificate import (
    Authority,
    Issuance,
    Member,
    build_authority_certificate,
    build_identity_certificate,
)
from node.crypto.signature import P256Signer
from tests.simulation.keys import KeyRing, RingSigner
from tests.simulation.world import UTC_AT_START_MS

KEYS_EACH = 3
YEAR_MS = 31_536_000_000


@cache
def authority_of(organisation: str) -> Authority:
    """Return who certifies the members of an organisation."""
    signer = _certifier(f"authority of {organisation}")
    return Authority(build_authority_certificate(signer, organisation, _issuance(1)), signer)


@cache
def certificate_of(name: str, organisation: str) -> bytes:
    """Return the certificate of an agency, DER."""
    key = _certifier(name).public_key.encoded
    member = Member(identity_id=name, role="agency", public_key=key)
    return build_identity_certificate(authority_of(organisation), member, _issuance(2))


def key_of(ring: KeyRing, name: str, number: int) -> RingSigner:
    """Return one of the keys of a client; the first is that of genesis."""
    return ring.signer(f"{name} key {number}" if number else name)


def rotation(name: str, organisation: str, signer: RingSigner) -> Operation:
    """Return what puts a key of a client in force."""
    certificate = certificate_of(name, organisation)
    return RotateIdentity(name, certificate, signer.public_key.encoded, 0, "")


def draw_key(random: Random, ring: KeyRing, name: str) -> RingSigner:
    """Return a key that a client may get, or has."""
    return key_of(ring, name, random.randrange(KEYS_EACH))


def standing(name: str, status: Status) -> Operation:
    """Return what freezes a client, or gives it back its rights."""
    return ChangeStatus(Subject.IDENTITY, name, status, "")


def _certifier(name: str) -> P256Signer:
    return P256Signer.from_secret(hashlib.sha256(name.encode()).digest())


def _issuance(serial_number: int) -> Issuance:
    return Issuance(
        serial_number=serial_number,
        not_before_ms=UTC_AT_START_MS - YEAR_MS,
        not_after_ms=UTC_AT_START_MS + YEAR_MS,
    )
