"""What the state holds of who has its rights, and what changes it: one form of each, in bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.chain.encoding import decode, encode
from node.chain.genesis import Identity, Role
from node.chain.identity import (
    CERTIFICATES_MAX,
    AcceptedCertificate,
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
from node.errors import DecodeError

ENTRY = StatusEntry(
    status=Status.FROZEN,
    event=Event.FROZEN,
    reason="seal lost",
    height=7,
    time_ms=1_760_000_000_000,
    tx_id=bytes(range(32)),
    changes=2,
)
ACCEPTED = AcceptedCertificates(
    (AcceptedCertificate(b"\x02" * 32, 2_000), AcceptedCertificate(b"\x01" * 32, 1_000)), 500
)
ROLL = Roll(("org-5", "org-6"), ("admin-5",))
AUTHORITIES = (b"first", b"second")

_IDENTITY = Identity(
    identity_id="agency-9",
    organisation="org-1",
    role=Role.AGENCY,
    public_key=b"key",
    not_before_ms=1,
    not_after_ms=2,
)
STATUS_CHANGE = ChangeStatus(Subject.ORGANISATION, "org-1", Status.REVOKED, "")
ROTATION = RotateIdentity("agency-1", b"certificate", b"key", 60_000, "yearly")


def test_what_the_state_holds_is_read_as_it_was_written() -> None:
    assert StatusEntry.decode(ENTRY.encode()) == ENTRY
    assert AcceptedCertificates.decode(ACCEPTED.encode()) == ACCEPTED
    assert Roll.decode(ROLL.encode()) == ROLL
    assert decode_authorities(encode_authorities(AUTHORITIES)) == AUTHORITIES


@pytest.mark.parametrize(
    "operation",
    [
        STATUS_CHANGE,
        ROTATION,
        RotateIdentity("agency-1", b"certificate", None, 0, ""),
        EnrolIdentity(_IDENTITY, b"certificate"),
        SetAuthorities("org-1", AUTHORITIES, "renewed"),
    ],
)
def test_an_operation_is_read_as_it_was_written(
    operation: ChangeStatus | RotateIdentity | EnrolIdentity | SetAuthorities,
) -> None:
    assert type(operation).from_value(operation.to_value()) == operation


@pytest.mark.parametrize(
    ("read", "written"),
    [
        (StatusEntry.decode, ENTRY.encode()),
        (AcceptedCertificates.decode, ACCEPTED.encode()),
        (Roll.decode, ROLL.encode()),
        (decode_authorities, encode_authorities(AUTHORITIES)),
    ],
)
def test_another_version_is_not_read(read: Callable[[bytes], object], written: bytes) -> None:
    value = decode(written, what="value", size_max=10_000)
    with pytest.raises(DecodeError, match="expected version 1, got 2"):
        read(encode([2, *value[1:]]))


@pytest.mark.parametrize(
    ("operation", "at", "value", "why"),
    [
        (STATUS_CHANGE, 0, 0, "expected 1..2, got 0"),
        (STATUS_CHANGE, 0, 3, "expected an integer in 0..2, got 3"),
        (STATUS_CHANGE, 2, 0, "status: expected 1..3, got 0"),
        (STATUS_CHANGE, 1, "", "changed status"),
        (ROTATION, 2, "", "rotated identity key"),
        (SetAuthorities("org-1", AUTHORITIES, ""), 1, [], "expected 1..6, got none"),
        (SetAuthorities("org-1", AUTHORITIES, ""), 1, [b"same", b"same"], "one occurs twice"),
    ],
)
def test_what_says_nothing_or_the_same_twice_is_refused(
    operation: ChangeStatus | RotateIdentity | SetAuthorities, at: int, value: object, why: str
) -> None:
    fields = operation.to_value()
    fields[at] = value
    with pytest.raises(DecodeError, match=why):
        type(operation).from_value(fields)


def test_a_certificate_goes_to_its_last_millisecond_and_any_other_as_long_as_said() -> None:
    for fingerprint, until_ms in ((b"\x02" * 32, 2_000), (b"\x01" * 32, 1_000), (bytes(32), 500)):
        assert ACCEPTED.accepts(fingerprint, until_ms)
        assert not ACCEPTED.accepts(fingerprint, until_ms + 1)


def test_the_newest_certificate_shortens_the_others_and_pushes_out_the_oldest() -> None:
    newer = ACCEPTED.with_newest(b"\x03" * 32, 3_000, others_until_ms=1_500)
    assert newer == AcceptedCertificates(
        (
            AcceptedCertificate(b"\x03" * 32, 3_000),
            AcceptedCertificate(b"\x02" * 32, 1_500),
            AcceptedCertificate(b"\x01" * 32, 1_000),
        ),
        500,
    )
    again = newer.with_newest(b"\x01" * 32, 4_000, others_until_ms=100)
    assert [each.fingerprint[0] for each in again.certificates] == [1, 3, 2]
    assert [each.until_ms for each in again.certificates] == [4_000, 100, 100]
    assert again.any_until_ms == 100
    for number in range(CERTIFICATES_MAX):
        again = again.with_newest(bytes((number,)) * 32, 9_000, others_until_ms=9_000)
    assert [each.fingerprint[0] for each in again.certificates] == [
        *reversed(range(CERTIFICATES_MAX))
    ]
