"""What is governed: one form of each operation, and which validators decide after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from node.chain.genesis import Identity, Organisation, Parameters, Role
from node.chain.governance import (
    AddOrganisation,
    AddValidator,
    Approval,
    CheckpointStatement,
    Endpoint,
    Governance,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
    ends_epoch,
    members_after,
)
from node.chain.identity import (
    ChangeStatus,
    EnrolIdentity,
    RotateIdentity,
    SetAuthorities,
    Status,
    Subject,
)
from node.chain.membership import Validator
from node.chain.policy import Measure, Rule, Scope, SetRule
from node.chain.quota import Quota, SetQuota
from node.errors import DecodeError


def validator(number: int, organisation: str = "") -> Validator:
    return Validator(
        validator_id=f"validator-{number}",
        organisation=organisation or f"org-{number}",
        vote_key=bytes((number,)) * 33,
        cosignature_key=bytes((number,)) * 32,
    )


def names(members: Sequence[Validator]) -> list[str]:
    return [each.validator_id for each in members]


MEMBERS = tuple(validator(number) for number in range(1, 5))
IDENTITY = Identity(
    identity_id="agency-9",
    organisation="org-1",
    role=Role.AGENCY,
    public_key=b"key",
    not_before_ms=1,
    not_after_ms=2,
)
FREEZING = ChangeStatus(Subject.IDENTITY, "validator-2", Status.FROZEN, "seal lost")
FREEZING_ALL = ChangeStatus(Subject.ORGANISATION, "org-2", Status.FROZEN, "")
OPERATIONS: tuple[Operation, ...] = (
    AddOrganisation(Organisation(organisation_id="org-5", name="5", ca_certificate=b"\x30\x00")),
    RegisterIdentity(IDENTITY),
    AddValidator(validator(5), b"possession"),
    RemoveValidator("validator-1"),
    SetParameters(Parameters(view_timeout_ms=2_000)),
    SetEndpoint("validator-1", Endpoint("node.example", 65_535)),
    FREEZING,
    EnrolIdentity(IDENTITY, b"certificate"),
    RotateIdentity("agency-1", b"certificate", None, 0, ""),
    SetAuthorities("org-1", (b"authority",), ""),
    SetQuota("org-1", Quota(2, 100)),
    SetQuota("org-1", None),
    SetRule("notarize", Rule(scope=Scope.MEMBERS, roles=(Role.AGENCY,), measure=Measure.ANY)),
)
GOVERNANCE = Governance(
    epoch=3,
    not_after_ms=1_800_000_000_000,
    nonce=bytes(range(16)),
    operations=OPERATIONS,
    evidence=(CheckpointStatement("validator-1", b"header", b"cosignature"),),
    approvals=(Approval("admin-1", b"signature"),),
)


def test_every_operation_is_read_as_it_was_written() -> None:
    assert Governance.from_value(GOVERNANCE.to_value()) == GOVERNANCE


def test_an_approval_is_of_the_chain_the_epoch_the_nonce_and_each_operation_in_order() -> None:
    chain_id = bytes(32)
    asked = GOVERNANCE.approval_bytes(chain_id)
    assert replace(GOVERNANCE, evidence=(), approvals=()).approval_bytes(chain_id) == asked
    others = (
        GOVERNANCE.approval_bytes(b"\x01" * 32),
        replace(GOVERNANCE, epoch=4).approval_bytes(chain_id),
        replace(GOVERNANCE, nonce=bytes(16)).approval_bytes(chain_id),
        replace(GOVERNANCE, operations=OPERATIONS[::-1]).approval_bytes(chain_id),
        replace(GOVERNANCE, operations=OPERATIONS[1:]).approval_bytes(chain_id),
    )
    assert len({asked, *others}) == 6


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, 2, "governance: expected version 1, got 2"),
        (2, -1, "governance not-after"),
        (3, bytes(15), "governance nonce: expected 16 bytes, got 15"),
        (4, [], "expected 1..16, got none"),
        (4, [[4, "validator-1"]] * 17, "governance operations"),
        (4, [[13, "x"]], "kind: 13 is unknown"),
        (4, [[6, ["validator-1", ["node.example", 0]]]], "endpoint port: expected 1..65535, got 0"),
        (4, [[6, ["validator-1", ["node.example", 65_536]]]], "endpoint port"),
        (4, [[4, ""]], "removed validator"),
    ],
)
def test_another_version_and_what_says_nothing_are_refused(
    at: int, value: object, why: str
) -> None:
    fields = GOVERNANCE.to_value()
    fields[at] = value
    with pytest.raises(DecodeError, match=why):
        Governance.from_value(fields)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([AddValidator(validator(5), b"")], [1, 2, 3, 4, 5]),
        ([RemoveValidator("validator-2")], [1, 3, 4]),
        ([RemoveValidator("validator-2"), AddValidator(validator(6), b"")], [1, 3, 4, 6]),
        ([FREEZING], [1, 3, 4]),
        ([FREEZING_ALL], [1, 3, 4]),
        ([replace(FREEZING, status=Status.REVOKED)], [1, 3, 4]),
        ([replace(FREEZING, status=Status.ACTIVE)], [1, 2, 3, 4]),
        ([replace(FREEZING, name="agency-1")], [1, 2, 3, 4]),
        ([replace(FREEZING_ALL, name="validator-2")], [1, 2, 3, 4]),
        ([RegisterIdentity(IDENTITY)], [1, 2, 3, 4]),
        ([AddValidator(validator(5, "org-2"), b""), FREEZING_ALL], [1, 3, 4]),
    ],
)
def test_who_decides_after_operations_in_their_order(
    operations: list[Operation], expected: list[int]
) -> None:
    after = members_after(MEMBERS, operations)
    assert names(after) == [f"validator-{number}" for number in expected]


@pytest.mark.parametrize(
    ("operations", "ends"),
    [
        ([AddValidator(validator(5), b"")], True),
        ([RemoveValidator("validator-2")], True),
        ([SetParameters(Parameters())], True),
        ([FREEZING], True),
        ([FREEZING_ALL], True),
        ([RegisterIdentity(IDENTITY), RemoveValidator("validator-2")], True),
        ([replace(FREEZING, status=Status.ACTIVE)], False),
        ([replace(FREEZING, name="agency-1")], False),
        ([RegisterIdentity(IDENTITY), SetEndpoint("validator-1", Endpoint("h", 1))], False),
    ],
)
def test_what_touches_a_validator_or_the_parameters_ends_the_epoch(
    operations: list[Operation],
    ends: bool,  # noqa: FBT001 - what is expected
) -> None:
    assert ends_epoch(operations, MEMBERS) is ends
