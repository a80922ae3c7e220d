"""Who may do what: every operation, by every role, in every condition. No cell is left out.

Rows and columns come from the code's own lists: an operation that rules can be bound to, and that
has no row here, fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum, auto
from functools import cache

import pytest

from node.chain.authorisation import Terms
from node.chain.block import ResultCode
from node.chain.genesis import Genesis, Organisation, Role
from node.chain.governance import (
    AddOrganisation,
    Approval,
    CheckpointStatement,
    Endpoint,
    Governance,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
    possession_bytes,
)
from node.chain.identity import ChangeStatus, RotateIdentity, SetAuthorities, Status, Subject
from node.chain.policy import GOVERN, NOTARIZE, OPERATIONS, Measure, Rule, Scope, SetRule
from node.chain.quota import Quota, SetQuota
from node.chain.record import Notarization
from node.chain.transaction import (
    Payload,
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
    verify_transaction,
)
from node.chain.vault import (
    Authorise,
    Content,
    Grant,
    Keep,
    RegisterKey,
    Rotate,
    Shred,
    Use,
    Vault,
    VaultOperation,
    Wrap,
)
from node.chain.vault import Revoke as VaultRevoke
from node.errors import PeerError
from node.execution.apply import Executor
from node.execution.governance import Ground
from node.execution.notary import Position
from node.execution.policy import Founding
from node.execution.registry import epoch_in_force, find_identity
from node.execution.trial import try_payload
from tests.unit.execution.governed_chain import (
    ADMINS,
    GOVERNED,
    adding,
    fresh_nonce,
    statement,
)
from tests.unit.execution.small_chain import (
    CREATED_MS,
    YEAR_MS,
    DictState,
    identity,
    next_inputs,
    payload,
    signer,
)
from tests.unit.execution.test_identity import OWN, certificate

OK = ResultCode.OK


class Condition(Enum):
    """What an identity can be like."""

    VALID = auto()
    FROZEN = auto()
    REVOKED = auto()
    EXPIRED = auto()
    OTHER_ORGANISATION = auto()
    """Valid, of an organisation that the rule does not count."""
    OTHER_CHAIN = auto()
    """Valid, its signature made for another chain."""


LATER, OTHER_ID = "org-5", bytes(32)


def name_of(role: Role, condition: Condition) -> str:
    return f"{role.name}-{condition.name}".lower()


def _genesis() -> Genesis:
    people = []
    for role in Role:
        for condition in Condition:
            ends_ms = CREATED_MS + (1 if condition is Condition.EXPIRED else YEAR_MS)
            people.append(identity(name_of(role, condition), role, ends_ms))
    organisations = tuple(
        replace(each, ca_certificate=OWN.certificate) if each.organisation_id == "org-1" else each
        for each in GOVERNED.organisations
    )
    return replace(
        GOVERNED, organisations=organisations, identities=(*GOVERNED.identities, *people)
    )


GENESIS = _genesis()
CHAIN_ID = GENESIS.chain_id


def governed_tx(
    governance: Governance, sender: str, chain_id: bytes = CHAIN_ID, nonce: int = 0
) -> VerifiedTransaction:
    return _signed(TransactionKind.GOVERN, governance, sender, chain_id, nonce)


def _signed(
    kind: TransactionKind, wanted: Payload, sender: str, chain_id: bytes, nonce: int = 0
) -> VerifiedTransaction:
    body = TransactionBody(
        chain_id=chain_id,
        sender=sender,
        nonce=nonce.to_bytes(16, "big"),
        not_after_ms=CREATED_MS + 300_000,
        kind=kind,
        payload=wanted,
    )
    key = signer(sender)
    return verify_transaction(sign_transaction(body, key, GENESIS.suite), key.public_key)


def _in_vault(sender: str, operation: VaultOperation, nonce: int = 0) -> VerifiedTransaction:
    return _signed(TransactionKind.VAULT, Vault(operation), sender, CHAIN_ID, nonce)


def approved(governance: Governance, approvers: tuple[str, ...], elsewhere: str = "") -> Governance:
    """Return it approved; `elsewhere` approves the same on another chain."""
    approvals = tuple(
        Approval(
            name,
            signer(name).sign(
                governance.approval_bytes(OTHER_ID if name == elsewhere else CHAIN_ID)
            ),
        )
        for name in approvers
    )
    return replace(governance, approvals=approvals)


class Prepared:
    """A chain on which everybody is in the condition its name says."""

    def __init__(self) -> None:
        self.executor = Executor(GENESIS)
        self.state = DictState(self.executor.genesis_block())
        later = AddOrganisation(
            Organisation(organisation_id=LATER, name="5", ca_certificate=OWN.certificate)
        )
        here = Rule(
            scope=Scope.NAMED, organisations=("org-1",), roles=(Role.AGENCY,), measure=Measure.ANY
        )
        alone = {name: roles for name, (_, roles) in SENT_ALONE.items()}
        self._govern(later, *(SetRule(name, replace(here, roles=alone[name])) for name in alone))
        handing_in = replace(here, organisations=("org-1", "org-2", "org-3"), roles=(Role.ADMIN,))
        self._govern(SetRule(GOVERN, handing_in))
        for name in ("agency-1", "agency-2", *_READERS):
            key = signer(f"key {name}").public_key.encoded
            self._commit(_in_vault(name, RegisterKey(1, key)))
        self._commit(
            _in_vault("agency-1", Keep(_DOCUMENT, _CONTENT, _wraps("agency-1")), nonce=1),
            *(
                _in_vault("agency-1", Authorise(_DOCUMENT, 1, _wraps(name)[0], _TERMS), nonce)
                for nonce, name in enumerate(_READERS, 2)
            ),
        )
        for role in Role:
            self._govern(
                *(
                    RegisterIdentity(
                        replace(identity(self.outsider(role), role), organisation=LATER)
                    ),
                    _change(name_of(role, Condition.FROZEN), Status.FROZEN),
                    _change(name_of(role, Condition.REVOKED), Status.REVOKED),
                )
            )

    @staticmethod
    def outsider(role: Role) -> str:
        return f"{role.name.lower()}-of-org-5"

    def who(self, role: Role, condition: Condition) -> str:
        if condition is Condition.OTHER_ORGANISATION:
            return self.outsider(role)
        return name_of(role, condition)

    def _govern(self, *operations: Operation) -> None:
        nonce = self.state.header.height
        governance = Governance(
            epoch=0, not_after_ms=CREATED_MS + 1_000_000, nonce=fresh_nonce(), operations=operations
        )
        payload_ = approved(governance, ADMINS[:3])
        asked = governed_tx(payload_, "admin-1", nonce=nonce)
        self._commit(asked)

    def _commit(self, *asked: VerifiedTransaction) -> None:
        block = self.executor.execute(self.state, next_inputs(self.state), asked)
        assert [result.code for result in block.results] == [OK] * len(asked)
        self.state.commit(block)

    def outcome(self, asked: VerifiedTransaction) -> ResultCode | str:
        """Return what becomes of a transaction, without committing it; of a void block the rule."""
        try:
            block = self.executor.execute(self.state, next_inputs(self.state), [asked])
        except PeerError as error:
            return error.rule
        code = block.results[0].code
        assert self.tried(asked) == (code, block.results[0].operation_index)
        return code

    def tried(self, asked: VerifiedTransaction) -> tuple[ResultCode, int]:
        """Return what a trial says of it."""
        body, state = asked.transaction.body, self.state
        sender = find_identity(state, body.sender)
        assert sender is not None
        ground = Ground(
            epoch=epoch_in_force(state, GENESIS.suite),
            tx_id=asked.transaction.tx_id,
            founding=Founding.of(GENESIS),
            next_epoch=None,
            digest_at=state.digest_at,
        )
        inputs = next_inputs(state)
        at = Position(inputs.height, inputs.time_ms, state.log_frontier.size + 1)
        trial = try_payload(body.payload, sender, at, state.get, ground)
        return trial.code, trial.operation_index

    def evidence(self, *names: str) -> tuple[CheckpointStatement, ...]:
        return tuple(statement(name, self.state.header) for name in names)


def _change(name: str, status: Status, subject: Subject = Subject.IDENTITY) -> ChangeStatus:
    return ChangeStatus(subject, name, status, "")


@cache
def prepared() -> Prepared:
    return Prepared()


def _add_validator() -> Operation:
    added = adding("validator-5").validator
    proof = signer("validator-5").sign(possession_bytes(CHAIN_ID, added))
    return replace(adding("validator-5"), possession=proof)


_ENDPOINT = Endpoint("127.0.0.1", 7_000)
_FOUR = ("validator-1", "validator-2", "validator-3", "validator-4")

GOVERNED_SAMPLES: Mapping[str, tuple[Callable[[], Operation], tuple[str, ...]]] = {
    "add-organisation": (
        lambda: AddOrganisation(
            Organisation(organisation_id="org-6", name="6", ca_certificate=OWN.certificate)
        ),
        (),
    ),
    "freeze-organisation": (
        lambda: _change(LATER, Status.FROZEN, Subject.ORGANISATION),
        (),
    ),
    "unfreeze-organisation": (
        lambda: _change(LATER, Status.ACTIVE, Subject.ORGANISATION),
        (),
    ),
    "revoke-organisation": (
        lambda: _change(LATER, Status.REVOKED, Subject.ORGANISATION),
        (),
    ),
    "set-quota": (lambda: SetQuota("org-1", Quota(2, 100)), ()),
    "set-authorities": (lambda: SetAuthorities("org-1", (OWN.certificate,), ""), ()),
    "register-identity": (lambda: RegisterIdentity(identity("agency-9", Role.AGENCY)), ()),
    "freeze-identity": (lambda: _change("agency-1", Status.FROZEN), ()),
    "unfreeze-identity": (lambda: _change("agency-frozen", Status.ACTIVE), ()),
    "revoke-identity": (lambda: _change("agency-1", Status.REVOKED), ()),
    "rotate-identity": (
        lambda: RotateIdentity("agency-1", certificate(OWN, "agency-1"), None, 0, ""),
        (),
    ),
    "add-validator": (_add_validator, _FOUR),
    "remove-validator": (lambda: RemoveValidator("validator-4"), _FOUR[:3]),
    "set-endpoint": (lambda: SetEndpoint("validator-1", _ENDPOINT), ()),
    "set-parameters": (
        lambda: SetParameters(replace(GENESIS.parameters, window_slots=3)),
        _FOUR[:3],
    ),
    "set-rule": (lambda: SetRule("set-endpoint", None), ()),
}
"""What is asked for, and who has to state that it holds the chain."""

NEEDS_FROZEN = {"unfreeze-organisation": _change(LATER, Status.FROZEN, Subject.ORGANISATION)}
"""What has to be so before, in the same transaction, for an operation to make sense."""

_DOCUMENT = bytes(15) + b"\1"
_READERS = tuple(name_of(role, Condition.VALID) for role in (Role.AGENCY, Role.AUDITOR, Role.ADMIN))
"""They have an encryption key, and are authorised to read the document."""
_TERMS = Terms(purpose="audit", fields=(), not_after_ms=CREATED_MS + YEAR_MS, basis=None)
_CONTENT = Content(envelope=GENESIS.suite.suite_id, size_bytes=1, root=bytes(32))


def _wraps(*names: str) -> tuple[Wrap, ...]:
    return tuple(Wrap(name, 1, bytes(32)) for name in names)


def _vault(name: str) -> VaultOperation:
    """Return what is asked for; agencies 1, 2 and `_READERS` hold keys, agency-1 a document."""
    asked: dict[str, VaultOperation] = {
        "vault-register-key": RegisterKey(2, signer("any").public_key.encoded),
        "vault-keep": Keep(bytes(16), _CONTENT, _wraps("agency-1")),
        "vault-grant": Grant(_DOCUMENT, 1, _wraps("agency-2")),
        "vault-revoke": VaultRevoke(_DOCUMENT, ("agency-1",)),
        "vault-rotate": Rotate(_DOCUMENT, 2, _CONTENT, _wraps("agency-2")),
        "vault-shred": Shred(_DOCUMENT, None),
        "vault-authorise": Authorise(_DOCUMENT, 1, _wraps("agency-2")[0], _TERMS),
        "vault-use": Use(_DOCUMENT, 0),
    }
    return asked[name]


def _harmless() -> Governance:
    operation = SetEndpoint("validator-1", _ENDPOINT)
    governance = Governance(
        epoch=0, not_after_ms=CREATED_MS + 1_000_000, nonce=fresh_nonce(), operations=(operation,)
    )
    return approved(governance, ("admin-1", "admin-2", "admin-3"))


SENT_ALONE: Mapping[str, tuple[Callable[[], Payload], tuple[Role, ...]]] = {
    NOTARIZE: (lambda: payload("x"), (Role.AGENCY,)),
    GOVERN: (_harmless, (Role.ADMIN,)),
    "vault-register-key": (
        lambda: Vault(_vault("vault-register-key")),
        (Role.AGENCY, Role.AUDITOR, Role.ADMIN),
    ),
    "vault-keep": (lambda: Vault(_vault("vault-keep")), (Role.AGENCY,)),
    "vault-grant": (lambda: Vault(_vault("vault-grant")), (Role.AGENCY,)),
    "vault-revoke": (lambda: Vault(_vault("vault-revoke")), (Role.AGENCY,)),
    "vault-rotate": (lambda: Vault(_vault("vault-rotate")), (Role.AGENCY,)),
    "vault-shred": (lambda: Vault(_vault("vault-shred")), (Role.AGENCY, Role.ADMIN)),
    "vault-authorise": (lambda: Vault(_vault("vault-authorise")), (Role.AGENCY,)),
    "vault-use": (
        lambda: Vault(_vault("vault-use")),
        (Role.AGENCY, Role.AUDITOR, Role.ADMIN),
    ),
}
"""What is asked for, and the roles that may."""

KINDS = {
    Notarization: TransactionKind.NOTARIZE,
    Governance: TransactionKind.GOVERN,
    Vault: TransactionKind.VAULT,
}


def test_every_operation_has_its_row() -> None:
    governed_ = {name for name, bound in OPERATIONS.items() if bound.is_governed}
    assert governed_ == GOVERNED_SAMPLES.keys()
    assert {*OPERATIONS} - governed_ == SENT_ALONE.keys()


def cells(
    names: tuple[str, ...],
) -> list[tuple[str, Role, Condition]]:
    return [(name, role, condition) for name in names for role in Role for condition in Condition]


@pytest.mark.parametrize(("name", "role", "condition"), cells(tuple(GOVERNED_SAMPLES)))
def test_who_approves(name: str, role: Role, condition: Condition) -> None:
    chain = prepared()
    build, evidence = GOVERNED_SAMPLES[name]
    operations: tuple[Operation, ...] = (build(),)
    if name in NEEDS_FROZEN:
        operations = (NEEDS_FROZEN[name], *operations)
    who = chain.who(role, condition)
    elsewhere = who if condition is Condition.OTHER_CHAIN else ""
    unapproved = Governance(
        epoch=0,
        not_after_ms=CREATED_MS + 1_000_000,
        nonce=fresh_nonce(),
        operations=operations,
        evidence=chain.evidence(*evidence),
    )
    asked = approved(unapproved, ("admin-2", "admin-3", who), elsewhere)
    is_counted = condition is Condition.VALID and role is Role.ADMIN
    is_sound = condition in (Condition.VALID, Condition.OTHER_ORGANISATION) and role is Role.ADMIN
    expected = (
        OK
        if is_counted
        else (ResultCode.APPROVALS_MISSING if is_sound else ResultCode.APPROVAL_INVALID)
    )
    assert chain.outcome(governed_tx(asked, "admin-2")) == expected
    with_third = approved(unapproved, ("admin-1", "admin-2", "admin-3"))
    assert chain.outcome(governed_tx(with_third, "admin-2")) == OK  # nothing else stood in its way


def expected_of(role: Role, condition: Condition, wanted: tuple[Role, ...]) -> ResultCode | str:
    match condition:
        case Condition.OTHER_CHAIN:
            return "tx-chain"
        case Condition.EXPIRED:
            return ResultCode.IDENTITY_NOT_VALID
        case Condition.FROZEN:
            return ResultCode.IDENTITY_FROZEN
        case Condition.REVOKED:
            return ResultCode.IDENTITY_REVOKED
        case Condition.OTHER_ORGANISATION:
            return ResultCode.NOT_PERMITTED
        case Condition.VALID:
            return OK if role in wanted else ResultCode.NOT_PERMITTED


@pytest.mark.parametrize(("name", "role", "condition"), cells(tuple(SENT_ALONE)))
def test_who_acts_alone(name: str, role: Role, condition: Condition) -> None:
    chain = prepared()
    who = chain.who(role, condition)
    chain_id = OTHER_ID if condition is Condition.OTHER_CHAIN else CHAIN_ID
    build, wanted = SENT_ALONE[name]
    asked = build()
    outcome = chain.outcome(_signed(KINDS[type(asked)], asked, who, chain_id))
    assert outcome == expected_of(role, condition, wanted)
