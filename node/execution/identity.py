"""Identities and organisations: what changes their rights, and whether they have them.

Each operation below is part of a governed transaction (governance.py), approved by the rule bound
to it (policy.py). What it writes holds from the next transaction of the block on. The rules:

- I1 who is named is known: an identity, a validator that is or was, an organisation;
- I2 a status leads on to it: active to frozen and back, both to revoked, revoked to nothing;
- I3 who is enrolled or gets a certificate belongs to an organisation with all its rights, and has
  them itself; nobody joins the validators without;
- I4 a certificate, in DER, keeps the profile of node/crypto/certificate_profile.py, names this very
  identity, role and organisation, and was issued by an authority of that organisation, its own or
  an external one; both are valid at T; of who is enrolled, its validity is the certificate's;
- I5 a key for transactions can be read; authorities are certificates that may sign others, and one
  of them at least signs what TLS takes: else nobody of the organisation could connect;
- I6 who is frozen or revoked leaves the validators in the same block, and with an organisation all
  of its own: an epoch change, judged as any other (V5 to V7), so that no freezing costs the quorum.

A validator that left so does not come back by being unfrozen: names and keys of validators are used
once (V3). It joins anew, or is replaced, under new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from node.chain.block import ResultCode
from node.chain.encoding import encode
from node.chain.genesis import Identity, Organisation
from node.chain.identity import (
    EVENT_OF,
    ROLL_IDENTITIES_MAX,
    ROLL_ORGANISATIONS_MAX,
    AcceptedCertificates,
    ChangeStatus,
    EnrolIdentity,
    Event,
    Roll,
    RotateIdentity,
    SetAuthorities,
    Status,
    StatusEntry,
    Subject,
    decode_authorities,
    encode_authorities,
)
from node.chain.policy import APPROVER_ROLES
from node.crypto.certificate_fields import decode_certificate
from node.crypto.certificate_profile import (
    CertificateIdentity,
    check_authority,
    is_for_tls,
    verify_member,
)
from node.crypto.suite import Suite
from node.errors import CryptoError, DecodeError, InvariantViolation
from node.execution.registry import (
    ROLL_KEY,
    authorities_key,
    certificates_key,
    decode_organisation,
    identity_key,
    organisation_key,
    read_identity,
    retired_validator_key,
    status_key,
    trail_key,
)

Read = Callable[[bytes], bytes | None]
"""Gives the state value under a key."""

_LEADS_TO: Final = {
    Status.ACTIVE: (Status.FROZEN, Status.REVOKED),
    Status.FROZEN: (Status.ACTIVE, Status.REVOKED),
    Status.REVOKED: (),
}
_LOST: Final = {
    (Subject.IDENTITY, Status.FROZEN): ResultCode.IDENTITY_FROZEN,
    (Subject.IDENTITY, Status.REVOKED): ResultCode.IDENTITY_REVOKED,
    (Subject.ORGANISATION, Status.FROZEN): ResultCode.ORGANISATION_FROZEN,
    (Subject.ORGANISATION, Status.REVOKED): ResultCode.ORGANISATION_REVOKED,
}
_Value = TypeVar("_Value")


# ---------------------------------------------------------------------- what the state says


def find_status(read: Read, subject: Subject, name: str) -> StatusEntry | None:
    """Return what happened to somebody last; None since genesis, and of strangers."""
    return _decoded(StatusEntry.decode, read(status_key(subject, name)))


def find_trail(read: Read, subject: Subject, name: str) -> list[StatusEntry]:
    """Return all that happened to somebody since genesis, the oldest first."""
    last = find_status(read, subject, name)
    numbers = range(1, 1 + (0 if last is None else last.changes))
    entries = [
        _decoded(StatusEntry.decode, read(trail_key(subject, name, number))) for number in numbers
    ]
    if None in entries:
        raise InvariantViolation(f"state lacks part of the trail of {name!r}")
    return [each for each in entries if each is not None]


def status_of(read: Read, subject: Subject, name: str) -> Status:
    """Return whether somebody has its rights: it has unless the state says otherwise."""
    entry = find_status(read, subject, name)
    return Status.ACTIVE if entry is None else entry.status


def lost_rights(read: Read, identity_id: str, organisation: str) -> ResultCode | None:
    """Return what took an identity its rights, its organisation's first; None where it has them."""
    found = _bar(read, identity_id, organisation)
    return None if found is None else _LOST[found[0], found[2].status]


def has_rights(read: Read, identity_id: str, organisation: str) -> bool:
    """Say whether neither an identity nor its organisation is frozen or revoked."""
    return _bar(read, identity_id, organisation) is None


def why_barred(read: Read, identity_id: str, organisation: str) -> str | None:
    """Return in words, for who is refused, what took its rights; None where it has them."""
    found = _bar(read, identity_id, organisation)
    if found is None:
        return None
    subject, name, entry = found
    said = f": {entry.reason}" if entry.reason else ""
    return (
        f"{subject.name.lower()} {name!r} is {entry.status.name.lower()} since block "
        f"{entry.height}{said}"
    )


def _bar(
    read: Read, identity_id: str, organisation: str
) -> tuple[Subject, str, StatusEntry] | None:
    """Return what took an identity its rights; of both, what happened to its organisation."""
    for subject, name in ((Subject.ORGANISATION, organisation), (Subject.IDENTITY, identity_id)):
        entry = find_status(read, subject, name)
        if entry is not None and entry.status is not Status.ACTIVE:
            return subject, name, entry
    return None


def find_certificates(read: Read, identity_id: str) -> AcceptedCertificates | None:
    """Return what an identity may show; None where any of an authority of its organisation goes."""
    return _decoded(AcceptedCertificates.decode, read(certificates_key(identity_id)))


def find_organisation(read: Read, organisation_id: str) -> Organisation | None:
    """Return an organisation, or None."""
    value = read(organisation_key(organisation_id))
    return None if value is None else decode_organisation(value)


def authorities_of(read: Read, organisation: Organisation) -> tuple[bytes, ...]:
    """Return the certificates of who certifies an organisation's members, DER."""
    found = _decoded(decode_authorities, read(authorities_key(organisation.organisation_id)))
    return (organisation.ca_certificate,) if found is None else found


def find_roll(read: Read) -> Roll:
    """Return whom the chain admitted after genesis."""
    return _decoded(Roll.decode, read(ROLL_KEY)) or Roll()


def _decoded(decode: Callable[[bytes], _Value], value: bytes | None) -> _Value | None:
    if value is None:
        return None
    try:
        return decode(value)
    except DecodeError as error:
        raise InvariantViolation(f"state holds what cannot be read: {error}") from error


# ---------------------------------------------------------------------- what changes it


@dataclass(frozen=True, slots=True)
class Occasion:
    """The governed transaction that changes something."""

    height: int
    time_ms: int
    """T of its block."""
    tx_id: bytes


@dataclass(slots=True)
class People:
    """Identities and organisations as the operations of one governed transaction leave them."""

    read: Read
    """The state, with `writes` over it."""
    writes: dict[bytes, bytes | None]
    suite: Suite
    occasion: Occasion
    validator_ids: Callable[[], Collection[str]]
    """Gives the ids of who decides, as the operations so far leave them."""

    def change(self, operation: ChangeStatus) -> ResultCode | None:
        """Freeze, unfreeze or revoke somebody, or say why not."""
        if not self._is_known(operation.subject, operation.name):  # I1
            return _UNKNOWN[operation.subject]
        now = status_of(self.read, operation.subject, operation.name)
        if operation.status not in _LEADS_TO[now]:  # I2
            return ResultCode.STATUS_NOT_NEXT
        self._note(
            operation.subject,
            operation.name,
            EVENT_OF[operation.status],
            operation.reason,
            operation.status,
        )
        return None

    def enrol(self, operation: EnrolIdentity) -> ResultCode | None:
        """Register an identity by its certificate, or say why not."""
        identity = operation.identity
        shown = self._judge(identity, operation.certificate)  # I3, I4
        if isinstance(shown, ResultCode):
            return shown
        validity = (shown.not_before_ms, shown.not_after_ms)
        if validity != (identity.not_before_ms, identity.not_after_ms):  # I4
            return ResultCode.CERTIFICATE_INVALID
        code = self.register(identity)
        if code is None:
            self._accept(identity.identity_id, shown, overlap_ms=0)
        return code

    def register(self, identity: Identity) -> ResultCode | None:
        """Register an identity by the word of the administrators alone, or say why not."""
        key = identity_key(identity.identity_id)
        if self.read(organisation_key(identity.organisation)) is None:
            return ResultCode.ORGANISATION_UNKNOWN
        if self.read(key) is not None:
            return ResultCode.NAME_TAKEN
        lost = lost_rights(self.read, identity.identity_id, identity.organisation)  # I3
        if lost is not None:
            return lost
        if not self._is_key(identity.public_key):  # I5
            return ResultCode.KEY_INVALID
        if identity.role in APPROVER_ROLES:
            roll = find_roll(self.read)
            if len(roll.approvers) == ROLL_IDENTITIES_MAX:
                return ResultCode.ROLL_FULL
            entered = replace(roll, approvers=(*roll.approvers, identity.identity_id))
            self.writes[ROLL_KEY] = entered.encode()
        self.writes[key] = encode(identity.to_value())
        self._note(Subject.IDENTITY, identity.identity_id, Event.REGISTERED, "", Status.ACTIVE)
        return None

    def admit(self, organisation: Organisation) -> ResultCode | None:
        """Admit an organisation, or say why not."""
        name = organisation.organisation_id
        key = organisation_key(name)
        if self.read(key) is not None:
            return ResultCode.NAME_TAKEN
        roll = find_roll(self.read)
        if len(roll.organisations) == ROLL_ORGANISATIONS_MAX:
            return ResultCode.ROLL_FULL
        unfit = self._why_unfit((organisation.ca_certificate,))  # I5
        if unfit is not None:
            return unfit
        entered = replace(roll, organisations=(*roll.organisations, name))
        self.writes[ROLL_KEY] = entered.encode()
        self.writes[key] = encode(organisation.to_value())
        self._note(Subject.ORGANISATION, name, Event.REGISTERED, "", Status.ACTIVE)
        return None

    def rotate(self, operation: RotateIdentity) -> ResultCode | None:
        """Give an identity another certificate and key, or say why not."""
        identity = read_identity(self.read, operation.identity_id)
        if identity is None:  # I1
            return ResultCode.IDENTITY_UNKNOWN
        shown = self._judge(identity, operation.certificate)  # I3, I4
        if isinstance(shown, ResultCode):
            return shown
        wanted = operation.public_key
        public_key = identity.public_key if wanted is None else wanted
        if not self._is_key(public_key):  # I5
            return ResultCode.KEY_INVALID
        rotated = replace(
            identity,
            public_key=public_key,
            not_before_ms=min(identity.not_before_ms, shown.not_before_ms),
            not_after_ms=shown.not_after_ms,
        )
        self.writes[identity_key(identity.identity_id)] = encode(rotated.to_value())
        self._accept(identity.identity_id, shown, overlap_ms=operation.overlap_ms)
        self._note(
            Subject.IDENTITY,
            identity.identity_id,
            Event.ROTATED,
            operation.reason,
            Status.ACTIVE,
        )
        return None

    def set_authorities(self, operation: SetAuthorities) -> ResultCode | None:
        """Say who certifies the members of an organisation, or why not."""
        name = operation.organisation_id
        if self.read(organisation_key(name)) is None:  # I1
            return ResultCode.ORGANISATION_UNKNOWN
        status = status_of(self.read, Subject.ORGANISATION, name)
        if status is Status.REVOKED:  # I3
            return ResultCode.ORGANISATION_REVOKED
        unfit = self._why_unfit(operation.authorities)  # I5
        if unfit is not None:
            return unfit
        self.writes[authorities_key(name)] = encode_authorities(operation.authorities)
        self._note(Subject.ORGANISATION, name, Event.ROTATED, operation.reason, status)
        return None

    def _is_known(self, subject: Subject, name: str) -> bool:
        if subject is Subject.ORGANISATION:
            return self.read(organisation_key(name)) is not None
        return (
            self.read(identity_key(name)) is not None
            or name in self.validator_ids()
            or self.read(retired_validator_key(name)) is not None
        )

    def _why_unfit(self, authorities: Collection[bytes]) -> ResultCode | None:
        """I5: return why these cannot be an organisation's authorities, None where they can."""
        try:
            found = [decode_certificate(each) for each in authorities]
            for each in found:
                check_authority(each, self.suite)
        except CryptoError:
            return ResultCode.AUTHORITY_INVALID
        if not any(is_for_tls(each) for each in found):
            return ResultCode.AUTHORITY_NOT_FOR_TLS
        return None

    def _is_key(self, encoded: bytes) -> bool:
        try:
            self.suite.load_public_key(encoded)
        except CryptoError:
            return False
        return True

    def _judge(self, identity: Identity, certificate: bytes) -> CertificateIdentity | ResultCode:
        """Return what a certificate of an identity says, or why it is none."""
        organisation = find_organisation(self.read, identity.organisation)
        if organisation is None:
            return ResultCode.ORGANISATION_UNKNOWN
        lost = lost_rights(self.read, identity.identity_id, identity.organisation)  # I3
        if lost is not None:
            return lost
        expected = (identity.identity_id, identity.role.name.lower(), identity.organisation)
        for authority in authorities_of(self.read, organisation):
            try:
                shown = verify_member(
                    decode_certificate(certificate),
                    decode_certificate(authority),
                    self.occasion.time_ms,
                    self.suite,
                    identity.organisation,
                )
            except CryptoError:
                continue
            if (shown.identity_id, shown.role, shown.organisation) == expected:
                return shown
        return ResultCode.CERTIFICATE_INVALID  # I4

    def _accept(self, identity_id: str, shown: CertificateIdentity, *, overlap_ms: int) -> None:
        others_until_ms = self.occasion.time_ms + overlap_ms if overlap_ms else 0
        before = find_certificates(self.read, identity_id)
        if before is None:
            before = AcceptedCertificates(any_until_ms=others_until_ms)
        accepted = before.with_newest(
            shown.fingerprint, shown.not_after_ms, others_until_ms=others_until_ms
        )
        self.writes[certificates_key(identity_id)] = accepted.encode()

    def _note(self, subject: Subject, name: str, event: Event, reason: str, status: Status) -> None:
        last = find_status(self.read, subject, name)
        number = 1 + (0 if last is None else last.changes)
        entry = StatusEntry(
            status=status,
            event=event,
            reason=reason,
            height=self.occasion.height,
            time_ms=self.occasion.time_ms,
            tx_id=self.occasion.tx_id,
            changes=number,
        ).encode()
        self.writes[status_key(subject, name)] = entry
        self.writes[trail_key(subject, name, number)] = entry


_UNKNOWN: Final = {
    Subject.IDENTITY: ResultCode.IDENTITY_UNKNOWN,
    Subject.ORGANISATION: ResultCode.ORGANISATION_UNKNOWN,
}
