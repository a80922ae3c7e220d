"""Rules: who may do what. Organisations x roles x how many of them, bound to an operation by name.

Shapes, the names that rules are bound to, and the rules of a chain that has set none. What a state
makes of them: node/execution/policy.py. A new service adds its operations to `OPERATIONS`, and asks
`node.execution.policy.may` (node/adr/0026).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_list,
    expect_text,
    expect_uint,
    expect_version,
)
from node.chain.genesis import Parameters, Role
from node.errors import DecodeError
from node.limits import IDENTITY_ID_BYTES_MAX, RECORD_TYPE_BYTES_MAX, STATE_VALUE_BYTES_MAX

RULE_ORGANISATIONS_MAX: Final = 64
COUNT_MAX: Final = 1_024
OPERATION_BYTES_MAX: Final = 64 + RECORD_TYPE_BYTES_MAX

APPROVER_ROLES: Final = (Role.AUDITOR, Role.ADMIN)
"""Who can approve or hand in what is governed, if a rule says so."""


class Scope(IntEnum):
    """Which organisations a rule counts. Numbers are consensus."""

    FOUNDERS = 1
    """Those of genesis."""
    MEMBERS = 2
    """All that the chain ever admitted."""
    NAMED = 3


class Measure(IntEnum):
    """How many of the organisations counted. Numbers are consensus."""

    ANY = 1
    ALL = 2
    MAJORITY = 3
    """More than half."""
    COUNT = 4
    FRACTION = 5
    """At least so large a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """So many of these organisations, each by one identity of one of these roles."""

    scope: Scope
    organisations: tuple[str, ...] = ()
    """Where they are named, in order of their ids; none otherwise."""
    roles: tuple[Role, ...]
    """In order of their numbers."""
    measure: Measure
    numerator: int = 0
    """How many, or the part's numerator; 0 with other measures."""
    denominator: int = 0
    """The part's denominator; 0 with other measures."""

    def counts(self, organisation: str, founders: Collection[str]) -> bool:
        """Say whether an organisation of the chain is one of those counted."""
        match self.scope:
            case Scope.FOUNDERS:
                return organisation in founders
            case Scope.MEMBERS:
                return True
            case Scope.NAMED:
                return organisation in self.organisations

    def is_met(self, approving: int, counted: int) -> bool:
        """Say whether so many of the organisations counted are enough; none never are."""
        if not 0 < approving <= counted:
            return False
        match self.measure:
            case Measure.ANY:
                return True
            case Measure.ALL:
                return approving == counted
            case Measure.MAJORITY:
                return 2 * approving > counted
            case Measure.COUNT:
                return approving >= self.numerator
            case Measure.FRACTION:
                return approving * self.denominator >= self.numerator * counted

    def to_value(self) -> list[Any]:
        """Return the CBOR array `rule`."""
        return [
            1,
            self.scope.value,
            list(self.organisations),
            [role.value for role in self.roles],
            self.measure.value,
            self.numerator,
            self.denominator,
        ]

    @classmethod
    def from_value(cls, value: object) -> Rule:
        """Read a rule; raises `DecodeError`. There is one form of each."""
        version, scope, organisations, roles, measure, numerator, denominator = expect_array(
            value, 7, "rule"
        )
        expect_version(version, "rule")
        listed = [
            expect_text(each, "organisation of a rule", size_max=IDENTITY_ID_BYTES_MAX)
            for each in expect_list(organisations, RULE_ORGANISATIONS_MAX, "rule organisations")
        ]
        numbers = [
            expect_uint(each, "role of a rule", Role.ADMIN.value)
            for each in expect_list(roles, len(Role), "rule roles")
        ]
        if not numbers or numbers != sorted(frozenset(numbers)) or not numbers[0]:
            raise DecodeError("rule roles: expected 1..5, one at least, each once, in order")
        rule = cls(
            scope=Scope(_one_of(scope, Scope.NAMED.value, "rule scope")),
            organisations=tuple(listed),
            roles=tuple(Role(number) for number in numbers),
            measure=Measure(_one_of(measure, Measure.FRACTION.value, "rule measure")),
            numerator=expect_uint(numerator, "rule number", COUNT_MAX),
            denominator=expect_uint(denominator, "rule denominator", COUNT_MAX),
        )
        rule.check()
        return rule

    def check(self) -> None:
        """Check what spans fields; raises `DecodeError`."""
        if bool(self.organisations) != (self.scope is Scope.NAMED):
            raise DecodeError("rule organisations: expected some where they are named, else none")
        if list(self.organisations) != sorted(frozenset(self.organisations)):
            raise DecodeError("rule organisations: expected each once, in order")
        match self.measure:
            case Measure.COUNT:
                sound = self.numerator > 0 and not self.denominator
            case Measure.FRACTION:
                sound = 0 < self.numerator <= self.denominator
            case _:
                sound = not self.numerator and not self.denominator
        if not sound:
            raise DecodeError(
                "rule: expected n from 1 on, a fraction above 0 and at most 1, or no number, got "
                f"{self.numerator}/{self.denominator}"
            )
        if self.measure is Measure.COUNT and self.scope is Scope.NAMED:
            most = len(self.organisations)
            if self.numerator > most:
                raise DecodeError(f"rule: expected at most {most} of those named")

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_value())

    @classmethod
    def decode(cls, data: bytes) -> Rule:
        """Read a rule from its canonical bytes; raises `DecodeError`."""
        return cls.from_value(decode(data, what="rule", size_max=STATE_VALUE_BYTES_MAX))


@dataclass(frozen=True, slots=True)
class BoundOperation:
    """What rules can be bound to under one name."""

    default: Rule
    """In force where the state has no other."""
    is_governed: bool
    """Whether many approve it; else its sender alone acts, and the measure is ANY."""
    details: tuple[str, ...] | None = ()
    """What a rule may besides be narrowed to, as `NAME:DETAIL`; None: any text of 1..32 bytes."""


_BY_FOUNDERS: Final = Rule(scope=Scope.FOUNDERS, roles=(Role.ADMIN,), measure=Measure.MAJORITY)


def _by_any(*roles: Role) -> Rule:
    return Rule(scope=Scope.MEMBERS, roles=roles, measure=Measure.ANY)


NOTARIZE: Final = "notarize"
GOVERN: Final = "govern"
SET_PARAMETERS: Final = "set-parameters"
SET_RULE: Final = "set-rule"

PARAMETER_NAMES: Final = tuple(field.name for field in fields(Parameters))

OPERATIONS: Final[Mapping[str, BoundOperation]] = {
    NOTARIZE: BoundOperation(_by_any(Role.AGENCY), is_governed=False, details=None),
    GOVERN: BoundOperation(_by_any(Role.ADMIN), is_governed=False),
    "vault-register-key": BoundOperation(
        _by_any(Role.AGENCY, Role.AUDITOR, Role.ADMIN), is_governed=False
    ),
    "vault-keep": BoundOperation(_by_any(Role.AGENCY), is_governed=False),
    "vault-grant": BoundOperation(_by_any(Role.AGENCY), is_governed=False),
    "vault-revoke": BoundOperation(_by_any(Role.AGENCY), is_governed=False),
    "vault-rotate": BoundOperation(_by_any(Role.AGENCY), is_governed=False),
    "vault-shred": BoundOperation(_by_any(Role.AGENCY, Role.ADMIN), is_governed=False),
    "vault-authorise": BoundOperation(_by_any(Role.AGENCY), is_governed=False),
    "vault-use": BoundOperation(_by_any(Role.AGENCY, Role.AUDITOR, Role.ADMIN), is_governed=False),
    "add-organisation": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "freeze-organisation": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "unfreeze-organisation": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "revoke-organisation": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "set-authorities": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "set-quota": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "register-identity": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "freeze-identity": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "unfreeze-identity": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "revoke-identity": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "rotate-identity": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "add-validator": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "remove-validator": BoundOperation(_BY_FOUNDERS, is_governed=True),
    "set-endpoint": BoundOperation(_BY_FOUNDERS, is_governed=True),
    SET_PARAMETERS: BoundOperation(_BY_FOUNDERS, is_governed=True, details=PARAMETER_NAMES),
    SET_RULE: BoundOperation(_BY_FOUNDERS, is_governed=True),
}
"""By name. `notarize:TYPE` is of records of a type, `set-parameters:NAME` of a parameter.

What is done in the vault is bounded by its own rule X1 besides.
"""

VITAL: Final = (
    GOVERN,
    SET_RULE,
    "unfreeze-organisation",
    "unfreeze-identity",
    "register-identity",
    "rotate-identity",
)
"""What it must always be possible to approve: else nobody could undo what went wrong."""


def read_operation(value: object) -> str:
    """Read the name a rule is bound to; raises `DecodeError` naming those there are."""
    name = expect_text(value, "operation of a rule", size_max=OPERATION_BYTES_MAX)
    base, colon, detail = name.partition(":")
    bound = OPERATIONS.get(base)
    if bound is None:
        raise DecodeError(
            f"operation of a rule: {name!r} is unknown; known: {', '.join(OPERATIONS)}"
        )
    if not colon:
        return name
    if bound.details is None:
        expect_text(detail, "type of a rule", size_max=RECORD_TYPE_BYTES_MAX)
    elif detail not in bound.details:
        known = ", ".join(bound.details) or "none"
        raise DecodeError(f"operation of a rule: {name!r}: expected one of {known} after the colon")
    return name


@dataclass(frozen=True, slots=True)
class SetRule:
    """Bind another rule to an operation."""

    operation: str
    rule: Rule | None
    """None: the one of a chain that has set none; of a detail, none of its own."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `set-rule-of`."""
        return [self.operation, None if self.rule is None else self.rule.to_value()]

    @classmethod
    def from_value(cls, value: object) -> SetRule:
        """Read it; raises `DecodeError` where such a rule cannot be bound to that operation."""
        name, rule = expect_array(value, 2, "rule to be set")
        found = cls(read_operation(name), None if rule is None else Rule.from_value(rule))
        found.check()
        return found

    def check(self) -> None:
        """Check that the rule suits the operation; raises `DecodeError`."""
        rule = self.rule
        if rule is None:
            return
        bound = OPERATIONS[self.operation.partition(":")[0]]
        if not bound.is_governed and rule.measure is not Measure.ANY:
            raise DecodeError(f"rule of {self.operation}: expected 'any': its sender acts alone")
        if bound.is_governed or self.operation == GOVERN:
            others = [role.name.lower() for role in rule.roles if role not in APPROVER_ROLES]
            if others:
                raise DecodeError(
                    f"rule of {self.operation}: expected the roles auditor and admin alone, got "
                    f"{', '.join(others)}"
                )


def _one_of(value: object, most: int, what: str) -> int:
    number = expect_uint(value, what, most)
    if not number:
        raise DecodeError(f"{what}: expected 1..{most}, got 0")
    return number
