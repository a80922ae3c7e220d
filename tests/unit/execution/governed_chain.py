"""The small chain with an administrator in each of its four organisations, and what they govern."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import count

from node.chain.block import Header, ResultCode, checkpoint_of
from node.chain.genesis import Genesis, Role
from node.chain.governance import (
    AddValidator,
    Approval,
    CheckpointStatement,
    Governance,
    Operation,
    possession_bytes,
)
from node.chain.membership import Validator, ValidatorSet
from node.chain.transaction import (
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
    verify_transaction,
)
from node.crypto.signature import Ed25519Signer
from node.limits import TX_NONCE_BYTES
from tests.unit.execution.small_chain import (
    CREATED_MS,
    SmallChain,
    build_genesis,
    identity,
    signer,
)

ADMINS = ("admin-1", "admin-2", "admin-3", "admin-4")
MAJORITY = ADMINS[:3]
_NONCES = count()


@cache
def cosigner(name: str) -> Ed25519Signer:
    """Return the fixed cosignature key of a validator."""
    return Ed25519Signer.from_secret(hashlib.sha256(b"cosignature " + name.encode()).digest())


def validator(name: str, organisation: str = "org-1") -> Validator:
    """Return a validator with the keys of its name."""
    return Validator(
        validator_id=name,
        organisation=organisation,
        vote_key=signer(name).public_key.encoded,
        cosignature_key=cosigner(name).public_key.encoded,
    )


def _genesis_with_admins() -> Genesis:
    genesis = build_genesis()
    members = tuple(
        validator(each.validator_id, each.organisation) for each in genesis.validators.validators
    )
    admins = tuple(
        replace(identity(name, Role.ADMIN), organisation=f"org-{number}")
        for number, name in enumerate(ADMINS, 1)
    )
    others = tuple(each for each in genesis.identities if each.identity_id not in ADMINS)
    return replace(
        genesis,
        validators=ValidatorSet(0, members, genesis.suite),
        identities=(*others, *admins),
    )


GOVERNED = _genesis_with_admins()
DAY_MS = 86_400_000


def adding(name: str, organisation: str = "org-1") -> AddValidator:
    """Return the operation that adds a validator, its vote key shown to be held."""
    joining = validator(name, organisation)
    proof = signer(name).sign(possession_bytes(GOVERNED.chain_id, joining))
    return AddValidator(joining, proof)


def statement(name: str, header: Header) -> CheckpointStatement:
    """Return a validator's statement that it holds the chain up to a header."""
    message = checkpoint_of(header, header.digest(GOVERNED.suite))
    return CheckpointStatement(name, header.encode(), cosigner(name).sign(message))


def approval(name: str, governance: Governance) -> Approval:
    """Return an administrator's approval."""
    return Approval(name, signer(name).sign(governance.approval_bytes(GOVERNED.chain_id)))


def fresh_nonce() -> bytes:
    """Return a nonce of no change before."""
    return next(_NONCES).to_bytes(TX_NONCE_BYTES, "big")


def governed(
    *operations: Operation,
    epoch: int = 0,
    evidence: Sequence[CheckpointStatement] = (),
    approvers: Sequence[str] = MAJORITY,
    not_after_ms: int = CREATED_MS + DAY_MS,
) -> Governance:
    """Return a payload approved by administrators."""
    unapproved = Governance(
        epoch=epoch,
        not_after_ms=not_after_ms,
        nonce=fresh_nonce(),
        operations=operations,
        evidence=tuple(evidence),
    )
    return replace(unapproved, approvals=tuple(approval(name, unapproved) for name in approvers))


def governed_tx(
    payload: Governance, *, sender: str = "admin-1", nonce: int = 0
) -> VerifiedTransaction:
    """Return the signed transaction of a payload."""
    body = TransactionBody(
        chain_id=GOVERNED.chain_id,
        sender=sender,
        nonce=nonce.to_bytes(16, "big"),
        not_after_ms=CREATED_MS + 300_000,
        kind=TransactionKind.GOVERN,
        payload=payload,
    )
    key = signer(sender)
    return verify_transaction(sign_transaction(body, key, GOVERNED.suite), key.public_key)


class GovernedChain(SmallChain):
    """A committed state that is governed."""

    def __init__(self) -> None:
        super().__init__(GOVERNED)
        self._nonce = 0

    def statements(self, *names: str) -> list[CheckpointStatement]:
        """Return statements about the tip."""
        return [statement(name, self.state.header) for name in names]

    def govern(self, payload: Governance, *, sender: str = "admin-1") -> ResultCode:
        """Commit a block of one governed transaction and return its outcome."""
        self._nonce += 1
        block = self.commit(governed_tx(payload, sender=sender, nonce=self._nonce))
        return block.results[0].code
