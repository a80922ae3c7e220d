"""Who may do what, by the state: the rules in force, and whether somebody or so many meet them.

Two questions are asked, and both are answered from the state and T alone, so alike on every node:

- `why_not`: may one identity do an operation that it signs alone? Its certificate is valid at T,
  neither it nor its organisation is frozen or revoked, and the rule counts its organisation and
  role. A service asks this of the sender of a transaction before anything else.
- `missing_approval`: do so many approve a governed operation as its rule wants? Organisations that
  are revoked are not counted, neither among those that approve nor among all; frozen ones are,
  so that freezing some makes nobody else's approval weigh more.

A rule bound to `OPERATION:DETAIL` goes before the one bound to `OPERATION`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from node.chain.block import ResultCode
from node.chain.genesis import Genesis, Identity, Parameters, Role
from node.chain.governance import (
    AddOrganisation,
    AddValidator,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
)
from node.chain.identity import (
    ChangeStatus,
    EnrolIdentity,
    RotateIdentity,
    SetAuthorities,
    Status,
    Subject,
)
from node.chain.policy import (
    APPROVER_ROLES,
    OPERATIONS,
    PARAMETER_NAMES,
    SET_PARAMETERS,
    SET_RULE,
    VITAL,
    Rule,
    Scope,
    SetRule,
)
from node.chain.quota import SetQuota
from node.errors import DecodeError, InvariantViolation
from node.execution.identity import find_organisation, find_roll, lost_rights, status_of
from node.execution.registry import read_identity, rule_key

Read = Callable[[bytes], bytes | None]
"""Gives the state value under a key."""

_VERBS = {Status.FROZEN: "freeze", Status.ACTIVE: "unfreeze", Status.REVOKED: "revoke"}
_NOUNS = {Subject.IDENTITY: "identity", Subject.ORGANISATION: "organisation"}


@dataclass(frozen=True, slots=True)
class Founding:
    """What rules take from genesis."""

    organisations: tuple[str, ...]
    approvers: tuple[str, ...]
    """Identities of a role that may approve."""

    @classmethod
    def of(cls, genesis: Genesis) -> Founding:
        """Return it for a chain."""
        return cls(
            tuple(each.organisation_id for each in genesis.organisations),
            tuple(each.identity_id for each in genesis.identities if each.role in APPROVER_ROLES),
        )


def find_rule(read: Read, operation: str) -> Rule | None:
    """Return the rule that the state binds to just this name, or None."""
    value = read(rule_key(operation))
    if value is None:
        return None
    try:
        return Rule.decode(value)
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed rule: {error}") from error


def rule_of(read: Read, operation: str) -> Rule:
    """Return the rule in force for an operation, by its name with or without a detail."""
    base, colon, _detail = operation.partition(":")
    found = find_rule(read, operation) if colon else None
    return found or find_rule(read, base) or OPERATIONS[base].default


def deciding_rule(read: Read, operation: str) -> str:
    """Return the name that the rule in force for an operation is bound to: its own, or the base."""
    base, colon, _detail = operation.partition(":")
    return operation if colon and find_rule(read, operation) is not None else base


def names_of(  # noqa: PLR0911 - one per operation
    operation: Operation, parameters: Parameters
) -> tuple[str, ...]:
    """Return the names of what a governed operation does; `parameters` are those in force."""
    match operation:
        case AddOrganisation():
            return ("add-organisation",)
        case RegisterIdentity() | EnrolIdentity():
            return ("register-identity",)
        case AddValidator():
            return ("add-validator",)
        case RemoveValidator():
            return ("remove-validator",)
        case SetEndpoint():
            return ("set-endpoint",)
        case ChangeStatus(subject, _name, status):
            return (f"{_VERBS[status]}-{_NOUNS[subject]}",)
        case RotateIdentity():
            return ("rotate-identity",)
        case SetAuthorities():
            return ("set-authorities",)
        case SetQuota():
            return ("set-quota",)
        case SetRule():
            return (SET_RULE,)
        case SetParameters(wanted):
            changed = tuple(
                f"{SET_PARAMETERS}:{name}"
                for name in PARAMETER_NAMES
                if getattr(wanted, name) != getattr(parameters, name)
            )
            return changed or (SET_PARAMETERS,)
        case _:
            assert_never(operation)


def why_not(
    read: Read, sender: Identity, operation: str, at_ms: int, founding: Founding
) -> ResultCode | None:
    """Return why an identity may not do what it signs alone, None where it may.

    `at_ms` is T; `sender` is the identity as it stands in the state that `read` reads.
    """
    unusable = why_unusable(read, sender, at_ms)
    if unusable is not None:
        return unusable
    rule = rule_of(read, operation)
    if sender.role in rule.roles and rule.counts(sender.organisation, founding.organisations):
        return None
    return ResultCode.NOT_PERMITTED


def why_unusable(read: Read, identity: Identity, at_ms: int) -> ResultCode | None:
    """Return why an identity may do nothing at all at T, None where it may.

    It is valid at T, both ends included, and neither it nor its organisation is frozen or revoked.
    """
    if not identity.not_before_ms <= at_ms <= identity.not_after_ms:
        return ResultCode.IDENTITY_NOT_VALID
    return lost_rights(read, identity.identity_id, identity.organisation)


def is_usable(read: Read, identity: Identity, at_ms: int) -> bool:
    """Say whether an identity is valid at T, both ends included, and it and its own have rights."""
    return why_unusable(read, identity, at_ms) is None


def is_approver_role(read: Read, role: Role, operations: Iterable[str]) -> bool:
    """Say whether an approval of this role can count for any of some operations."""
    return any(role in rule_of(read, operation).roles for operation in operations)


def missing_approval(
    read: Read, operation: str, approvers: Sequence[Identity], founding: Founding
) -> bool:
    """Say whether too few approve of an operation. The approvers are usable, each named once."""
    rule = rule_of(read, operation)
    counted = _counted(read, rule, founding)
    approving = {
        each.organisation: None
        for each in approvers
        if each.role in rule.roles and each.organisation in counted
    }
    return not rule.is_met(len(approving), len(counted))


def stuck(read: Read, at_ms: int, founding: Founding) -> list[str]:
    """Return the vital operations that nobody could have approved at T, whoever tried."""
    names = (*founding.approvers, *find_roll(read).approvers)
    found = [read_identity(read, name) for name in names]
    usable = [each for each in found if each is not None and is_usable(read, each, at_ms)]
    return [name for name in VITAL if missing_approval(read, name, usable, founding)]


def _counted(read: Read, rule: Rule, founding: Founding) -> dict[str, None]:
    """Return the organisations that a rule counts."""
    match rule.scope:
        case Scope.FOUNDERS:
            named: Sequence[str] = founding.organisations
        case Scope.MEMBERS:
            named = (*founding.organisations, *find_roll(read).organisations)
        case Scope.NAMED:
            named = [each for each in rule.organisations if find_organisation(read, each)]
    return {
        each: None
        for each in named
        if status_of(read, Subject.ORGANISATION, each) is not Status.REVOKED
    }
