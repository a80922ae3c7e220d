"""Whether identities and organisations still have their rights, and the operations that change it.

Shapes alone. What an operation does, and when it may: node/execution/identity.py. What an identity
*is* (role, key, validity) is in genesis.py; that never changes but by `RotateIdentity`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_text,
    expect_uint,
    expect_version,
)
from node.chain.genesis import Identity
from node.chain.membership import PUBLIC_KEY_BYTES_MAX
from node.errors import DecodeError
from node.limits import CERTIFICATE_BYTES_MAX, DURATION_MS_MAX, IDENTITY_ID_BYTES_MAX

REASON_BYTES_MAX: Final = 256
AUTHORITIES_MAX: Final = 6
"""Per organisation: so that all of them fit into one value of the state."""
CERTIFICATES_MAX: Final = 4
"""Of one identity that are accepted at a time: the newest, and those it takes over from."""
FINGERPRINT_BYTES: Final = 32
OVERLAP_MS_MAX: Final = 30 * DURATION_MS_MAX
ROLL_ORGANISATIONS_MAX: Final = 256
ROLL_IDENTITIES_MAX: Final = 512
_TX_ID_BYTES: Final = 32
_CHANGES_MAX: Final = 1 << 32
_VALUE_BYTES_MAX: Final = 65_536


class Subject(IntEnum):
    """Whose rights they are. Numbers are consensus."""

    IDENTITY = 1
    """An identity, or a validator by its id, which need not be one."""
    ORGANISATION = 2


class Status(IntEnum):
    """Whether the rights are there. Numbers are consensus and never reused."""

    ACTIVE = 1
    FROZEN = 2
    """None for now."""
    REVOKED = 3
    """None, for good."""


class Event(IntEnum):
    """What happened to a subject. Numbers are consensus and never reused."""

    REGISTERED = 1
    FROZEN = 2
    UNFROZEN = 3
    REVOKED = 4
    ROTATED = 5
    """It has another certificate, or key; an organisation, other authorities."""


EVENT_OF: Final = {
    Status.ACTIVE: Event.UNFROZEN,
    Status.FROZEN: Event.FROZEN,
    Status.REVOKED: Event.REVOKED,
}
"""What brings about a status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEntry:
    """What happened to a subject last: the value under its state key, and one entry of its trail.

    Of whom there is none, genesis speaks: active since then.
    """

    status: Status
    event: Event
    reason: str
    """What its administrators say, at most 256 bytes; empty where they say nothing."""
    height: int
    time_ms: int
    """T of that block."""
    tx_id: bytes
    """The governed transaction that did it; it names who approved."""
    changes: int
    """How many entries the trail has, this one included."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `status-entry`."""
        return encode(
            [
                1,
                self.status.value,
                self.event.value,
                self.reason,
                self.height,
                self.time_ms,
                self.tx_id,
                self.changes,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> StatusEntry:
        """Read an entry; raises `DecodeError`."""
        version, status, event, reason, height, time_ms, tx_id, changes = expect_array(
            decode(data, what="status entry", size_max=_VALUE_BYTES_MAX), 8, "status entry"
        )
        expect_version(version, "status entry")
        return cls(
            status=read_status(status),
            event=Event(_one_of(event, Event.ROTATED.value, "status entry event")),
            reason=read_reason(reason),
            height=expect_uint(height, "status entry height"),
            time_ms=expect_uint(time_ms, "status entry time"),
            tx_id=expect_bytes(tx_id, "status entry transaction", size=_TX_ID_BYTES),
            changes=_one_of(changes, _CHANGES_MAX, "status entry changes"),
        )


@dataclass(frozen=True, slots=True)
class AcceptedCertificate:
    """A certificate that an identity may show, by its SHA-256, until a time (ms, UTC) inclusive."""

    fingerprint: bytes
    until_ms: int


@dataclass(frozen=True, slots=True)
class AcceptedCertificates:
    """All certificates that an identity may show. Of whom there are none, any of its authority."""

    certificates: tuple[AcceptedCertificate, ...] = ()
    """The newest first."""
    any_until_ms: int = 0
    """Until then (UTC, inclusive) any other that an authority of its organisation issued goes, too:
    what it had before the first was registered."""

    def accepts(self, fingerprint: bytes, at_ms: int) -> bool:
        """Say whether a certificate may be shown at a time (ms, UTC)."""
        return at_ms <= self.any_until_ms or any(
            each.fingerprint == fingerprint and at_ms <= each.until_ms for each in self.certificates
        )

    def with_newest(
        self, fingerprint: bytes, until_ms: int, *, others_until_ms: int
    ) -> AcceptedCertificates:
        """Return them with one more, the others no longer than until a time, and the newest few."""
        kept = tuple(
            AcceptedCertificate(each.fingerprint, min(each.until_ms, others_until_ms))
            for each in self.certificates
            if each.fingerprint != fingerprint
        )
        newest = AcceptedCertificate(fingerprint, until_ms)
        return AcceptedCertificates(
            (newest, *kept)[:CERTIFICATES_MAX], min(self.any_until_ms, others_until_ms)
        )

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `accepted-certificates`."""
        listed = [[each.fingerprint, each.until_ms] for each in self.certificates]
        return encode([1, listed, self.any_until_ms])

    @classmethod
    def decode(cls, data: bytes) -> AcceptedCertificates:
        """Read them; raises `DecodeError`."""
        version, listed, any_until_ms = expect_array(
            decode(data, what="certificates", size_max=_VALUE_BYTES_MAX), 3, "certificates"
        )
        expect_version(version, "certificates")
        pairs = [
            expect_array(each, 2, "accepted certificate")
            for each in expect_list(listed, CERTIFICATES_MAX, "certificates")
        ]
        return cls(
            tuple(
                AcceptedCertificate(
                    expect_bytes(fingerprint, "certificate digest", size=FINGERPRINT_BYTES),
                    expect_uint(until_ms, "certificate end"),
                )
                for fingerprint, until_ms in pairs
            ),
            expect_uint(any_until_ms, "end of other certificates"),
        )


@dataclass(frozen=True, slots=True)
class Roll:
    """Whom the chain admitted after genesis, as far as rules count them, in order of admission."""

    organisations: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    """Identities of a role that may approve (`node.chain.policy.APPROVER_ROLES`)."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `roll`."""
        return encode([1, list(self.organisations), list(self.approvers)])

    @classmethod
    def decode(cls, data: bytes) -> Roll:
        """Read a roll; raises `DecodeError`."""
        version, organisations, approvers = expect_array(
            decode(data, what="roll", size_max=_VALUE_BYTES_MAX), 3, "roll"
        )
        expect_version(version, "roll")
        return cls(
            tuple(
                read_name(each, "organisation of the roll")
                for each in expect_list(organisations, ROLL_ORGANISATIONS_MAX, "roll")
            ),
            tuple(
                read_name(each, "identity of the roll")
                for each in expect_list(approvers, ROLL_IDENTITIES_MAX, "roll")
            ),
        )


def encode_authorities(certificates: tuple[bytes, ...]) -> bytes:
    """Return the canonical bytes of the CBOR array `authorities`, of certificates in DER."""
    return encode([1, list(certificates)])


def decode_authorities(data: bytes) -> tuple[bytes, ...]:
    """Read them; raises `DecodeError`."""
    version, listed = expect_array(
        decode(data, what="authorities", size_max=_VALUE_BYTES_MAX), 2, "authorities"
    )
    expect_version(version, "authorities")
    return _read_authorities(listed)


# ---------------------------------------------------------------------- operations


@dataclass(frozen=True, slots=True)
class ChangeStatus:
    """Freeze (FROZEN), unfreeze (ACTIVE) or revoke (REVOKED) an identity or an organisation."""

    subject: Subject
    name: str
    status: Status
    reason: str

    def to_value(self) -> list[Any]:
        """Return the CBOR array `changed-status`."""
        return [self.subject.value, self.name, self.status.value, self.reason]

    @classmethod
    def from_value(cls, value: object) -> ChangeStatus:
        """Read it; raises `DecodeError`."""
        subject, name, status, reason = expect_array(value, 4, "changed status")
        return cls(
            Subject(_one_of(subject, Subject.ORGANISATION.value, "changed status subject")),
            read_name(name, "changed status name"),
            read_status(status),
            read_reason(reason),
        )


@dataclass(frozen=True, slots=True)
class EnrolIdentity:
    """Register an identity by a certificate that an authority of its organisation issued."""

    identity: Identity
    """Its validity is the certificate's."""
    certificate: bytes
    """DER: what it shows of itself, alone, from now on."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `enrolled-identity`."""
        return [self.identity.to_value(), self.certificate]

    @classmethod
    def from_value(cls, value: object) -> EnrolIdentity:
        """Read it; raises `DecodeError`."""
        identity, certificate = expect_array(value, 2, "enrolled identity")
        return cls(Identity.from_value(identity), _read_certificate(certificate))


@dataclass(frozen=True, slots=True)
class RotateIdentity:
    """Give an identity another certificate, and another key for transactions if one is named."""

    identity_id: str
    certificate: bytes
    """DER. The identity is valid as long as it is."""
    public_key: bytes | None
    """Of its transactions from the next block on; None: as it was."""
    overlap_ms: int
    """How long after T of the block the certificate before is accepted still; 0: not at all."""
    reason: str

    def to_value(self) -> list[Any]:
        """Return the CBOR array `rotated-identity`."""
        return [
            self.identity_id,
            self.certificate,
            self.public_key,
            self.overlap_ms,
            self.reason,
        ]

    @classmethod
    def from_value(cls, value: object) -> RotateIdentity:
        """Read it; raises `DecodeError`."""
        identity_id, certificate, public_key, overlap_ms, reason = expect_array(
            value, 5, "rotated identity"
        )
        return cls(
            read_name(identity_id, "rotated identity"),
            _read_certificate(certificate),
            None
            if public_key is None
            else expect_blob(public_key, "rotated identity key", size_max=PUBLIC_KEY_BYTES_MAX),
            expect_uint(overlap_ms, "rotated identity overlap", OVERLAP_MS_MAX),
            read_reason(reason),
        )


@dataclass(frozen=True, slots=True)
class SetAuthorities:
    """Say which authorities, its own or external ones, certify the members of an organisation."""

    organisation_id: str
    authorities: tuple[bytes, ...]
    """1..6 certificates, DER. Those that are not among them certify nobody from now on."""
    reason: str

    def to_value(self) -> list[Any]:
        """Return the CBOR array `set-authorities-of`."""
        return [self.organisation_id, list(self.authorities), self.reason]

    @classmethod
    def from_value(cls, value: object) -> SetAuthorities:
        """Read it; raises `DecodeError`."""
        organisation_id, authorities, reason = expect_array(value, 3, "authorities")
        return cls(
            read_name(organisation_id, "authorities' organisation"),
            _read_authorities(authorities),
            read_reason(reason),
        )


def read_name(value: object, what: str) -> str:
    """Read the id of an identity or an organisation; raises `DecodeError`."""
    return expect_text(value, what, size_max=IDENTITY_ID_BYTES_MAX)


def read_reason(value: object) -> str:
    """Read what administrators say; raises `DecodeError`. It may be empty."""
    return expect_text(value, "reason", size_max=REASON_BYTES_MAX, empty=True)


def read_status(value: object) -> Status:
    """Read a status; raises `DecodeError`."""
    return Status(_one_of(value, Status.REVOKED.value, "status"))


def _one_of(value: object, most: int, what: str) -> int:
    number = expect_uint(value, what, most)
    if not number:
        raise DecodeError(f"{what}: expected 1..{most}, got 0")
    return number


def _read_certificate(value: object) -> bytes:
    return expect_blob(value, "certificate", size_max=CERTIFICATE_BYTES_MAX)


def _read_authorities(value: object) -> tuple[bytes, ...]:
    listed = expect_list(value, AUTHORITIES_MAX, "authorities")
    if not listed:
        raise DecodeError(f"authorities: expected 1..{AUTHORITIES_MAX}, got none")
    found = tuple(_read_certificate(each) for each in listed)
    if len(frozenset(found)) != len(found):
        raise DecodeError("authorities: one occurs twice")
    return found
