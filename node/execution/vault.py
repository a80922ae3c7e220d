"""The vault service: what a transaction of kind 3 does to the state, and when it may.

What the state holds of a document is one value: its commitment, and who may open it. The rules, in
this order; the first that is broken fails the transaction:

- X1 the sender may do it: an agency, an auditor or an administrator registers an encryption key,
  an agency has something kept; a document's owner organisation alone changes it, by an agency, or
  has it shredded, by an agency or an administrator;
- X2 an encryption key's number follows the one before, and the key is one of the chain's suite;
- X3 a new document's id was never used;
- X4 the document exists and was not shredded;
- X5 what is granted is of the version in force, what is rotated of the one after;
- X6 content is sealed by algorithms of the chain's suite;
- X7 every recipient is named once, has its rights (identity.py), and holds the encryption key
  named; who is revoked has a grant;
- X8 a document has at most 128 recipients, an organisation at most 64 encryption keys, and what the
  state holds of either fits a value of it;
- X9 terms end after this block; a use is of who was authorised, under terms that are not over, and
  names the block of that sender's use before it. A rotation keeps terms and uses as they are.

Whether the recipients' nodes hold the content, and whether a wrapped key opens, no rule can know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from node.chain.authorisation import Authorised, Uses
from node.chain.block import ResultCode
from node.chain.genesis import Identity, Role
from node.chain.vault import (
    Authorise,
    Content,
    EncryptionKey,
    Grant,
    Keep,
    RegisterKey,
    Revoke,
    Rotate,
    Shred,
    Use,
    Vault,
    VaultDocument,
    VaultGrant,
    VaultKeys,
    VaultStanding,
    Wrap,
    vault_document_key,
    vault_keys_key,
)
from node.crypto.suite import Suite
from node.errors import CryptoError, DecodeError, InvariantViolation
from node.execution.identity import has_rights
from node.execution.notary import Failure, Position
from node.execution.registry import read_identity
from node.limits import STATE_VALUE_BYTES_MAX, VAULT_KEYS_MAX, VAULT_RECIPIENTS_MAX

_Read = Callable[[bytes], bytes | None]
_Writes = Mapping[bytes, bytes]

_REGISTERING: Final = (Role.AGENCY, Role.AUDITOR, Role.ADMIN)
_SHREDDING: Final = (Role.AGENCY, Role.ADMIN)


def keep_vault(
    payload: Vault, sender: Identity, at: Position, read: _Read, suite: Suite
) -> _Writes | Failure:
    """Return what the operation of `payload` writes, or why it fails.

    `read` gives the state as the transactions before this one left it.
    """
    operation = payload.operation
    case = _Case(sender, at, read, suite)
    match operation:
        case RegisterKey():
            outcome = case.register(operation)
        case Keep():
            outcome = case.keep(operation)
        case Grant():
            outcome = case.grant(operation)
        case Revoke():
            outcome = case.revoke(operation)
        case Rotate():
            outcome = case.rotate(operation)
        case Shred():
            outcome = case.shred(operation)
        case Authorise():
            outcome = case.authorise(operation)
        case Use():
            outcome = case.use(operation)
        case _:
            assert_never(operation)
    return Failure(outcome) if isinstance(outcome, ResultCode) else outcome


def read_document(read: _Read, document_id: bytes) -> VaultDocument | None:
    """Return a document by what `read` gives under its state key, or None."""
    value = read(vault_document_key(document_id))
    return None if value is None else decode_document(value)


def decode_document(value: bytes) -> VaultDocument:
    """Read the state value of a document."""
    try:
        return VaultDocument.decode(value)
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed vault document: {error}") from error


def read_keys(read: _Read, organisation_id: str) -> VaultKeys:
    """Return the encryption keys of an organisation's identities."""
    value = read(vault_keys_key(organisation_id))
    if value is None:
        return VaultKeys()
    try:
        return VaultKeys.decode(value)
    except DecodeError as error:
        raise InvariantViolation(f"state holds malformed vault keys: {error}") from error


@dataclass(frozen=True, slots=True)
class _Case:
    """One operation, and all it is judged on."""

    _sender: Identity
    _at: Position
    _read: _Read
    _suite: Suite

    def register(self, operation: RegisterKey) -> _Writes | ResultCode:
        sender = self._sender
        if sender.role not in _REGISTERING:
            return ResultCode.VAULT_ROLE  # X1
        keys = read_keys(self._read, sender.organisation)
        before = keys.find(sender.identity_id)
        if operation.number != (1 if before is None else before.number + 1):
            return ResultCode.VAULT_KEY_NUMBER  # X2
        try:
            self._suite.load_public_key(operation.public_key)
        except CryptoError:
            return ResultCode.VAULT_KEY_INVALID  # X2
        if before is None and len(keys.keys) >= VAULT_KEYS_MAX:
            return ResultCode.VAULT_KEYS_FULL  # X8
        key = EncryptionKey(
            sender.identity_id, operation.number, operation.public_key, self._at.height
        )
        return {vault_keys_key(sender.organisation): keys.replaced(key).encode()}

    def keep(self, operation: Keep) -> _Writes | ResultCode:
        if self._sender.role is not Role.AGENCY:
            return ResultCode.VAULT_ROLE  # X1
        if read_document(self._read, operation.document_id) is not None:
            return ResultCode.VAULT_DOCUMENT_TAKEN  # X3
        grants = self._grants_of(operation.wraps, operation.content)
        if isinstance(grants, ResultCode):
            return grants
        document = VaultDocument(
            standing=VaultStanding.KEPT,
            owner=self._sender.identity_id,
            organisation=self._sender.organisation,
            version=1,
            content=operation.content,
            changes=1,
            height=self._at.height,
            time_ms=self._at.time_ms,
            ordered_by=self._sender.identity_id,
            grants=grants,
        )
        return {vault_document_key(operation.document_id): document.encode()}

    def grant(self, operation: Grant) -> _Writes | ResultCode:
        before = self._document(operation.document_id, (Role.AGENCY,))
        if isinstance(before, ResultCode):
            return before
        if operation.version != before.version:
            return ResultCode.VAULT_VERSION  # X5
        added = self._grants_of(operation.wraps)
        if isinstance(added, ResultCode):
            return added
        return self._granted(operation.document_id, before, added)

    def authorise(self, operation: Authorise) -> _Writes | ResultCode:
        before = self._document(operation.document_id, (Role.AGENCY,))
        if isinstance(before, ResultCode):
            return before
        if operation.version != before.version:
            return ResultCode.VAULT_VERSION  # X5
        added = self._grants_of((operation.wrap,))
        if isinstance(added, ResultCode):
            return added
        if operation.terms.is_over(self._at.time_ms):
            return ResultCode.VAULT_TERMS_OVER  # X9
        earlier = before.grant_of(operation.wrap.recipient)
        had = None if earlier is None else earlier.authorised
        authorised = Authorised(operation.terms, Uses() if had is None else had.uses)
        renewed = [replace(grant, authorised=authorised) for grant in added]
        return self._granted(operation.document_id, before, renewed)

    def use(self, operation: Use) -> _Writes | ResultCode:
        if self._sender.role not in _REGISTERING:
            return ResultCode.VAULT_ROLE  # X1
        before = read_document(self._read, operation.document_id)
        if before is None:
            return ResultCode.VAULT_DOCUMENT_UNKNOWN  # X4
        if not before.is_kept:
            return ResultCode.VAULT_DOCUMENT_SHREDDED  # X4
        grant = before.grant_of(self._sender.identity_id)
        if grant is None or grant.authorised is None:
            return ResultCode.VAULT_NOT_AUTHORISED  # X9
        if grant.is_over(self._at.time_ms):
            return ResultCode.VAULT_TERMS_OVER  # X9
        uses = grant.authorised.uses
        if operation.previous_height != uses.height:
            return ResultCode.VAULT_USED_MEANWHILE  # X9
        newer = uses.and_one(self._at.height, self._at.time_ms)
        used = replace(grant, authorised=replace(grant.authorised, uses=newer))
        return self._granted(operation.document_id, before, (used,))

    def revoke(self, operation: Revoke) -> _Writes | ResultCode:
        before = self._document(operation.document_id, (Role.AGENCY,))
        if isinstance(before, ResultCode):
            return before
        left = {grant.wrap.recipient: grant for grant in before.grants}
        for recipient in operation.recipients:
            if left.pop(recipient, None) is None:
                is_twice = before.grant_of(recipient) is not None
                return (  # X7
                    ResultCode.VAULT_RECIPIENT_TWICE if is_twice else ResultCode.VAULT_GRANT_UNKNOWN
                )
        return self._changed(operation.document_id, replace(before, grants=tuple(left.values())))

    def rotate(self, operation: Rotate) -> _Writes | ResultCode:
        before = self._document(operation.document_id, (Role.AGENCY,))
        if isinstance(before, ResultCode):
            return before
        if operation.version != before.version + 1:
            return ResultCode.VAULT_VERSION  # X5
        grants = self._grants_of(operation.wraps, operation.content)
        if isinstance(grants, ResultCode):
            return grants
        terms = {grant.wrap.recipient: grant.authorised for grant in before.grants}
        after = replace(
            before,
            version=operation.version,
            content=operation.content,
            grants=tuple(
                replace(grant, authorised=terms.get(grant.wrap.recipient))  # X9
                for grant in grants
            ),
        )
        return self._changed(operation.document_id, after)

    def shred(self, operation: Shred) -> _Writes | ResultCode:
        before = self._document(operation.document_id, _SHREDDING)
        if isinstance(before, ResultCode):
            return before
        tombstone = replace(
            before,
            standing=VaultStanding.SHREDDED,
            content=None,
            grants=(),
            reason=operation.reason,
        )
        return self._changed(operation.document_id, tombstone)

    def _document(self, document_id: bytes, roles: Sequence[Role]) -> VaultDocument | ResultCode:
        """Return the document to be changed: X4, and X1 for what needs the document to judge."""
        if self._sender.role not in roles:
            return ResultCode.VAULT_ROLE  # X1
        document = read_document(self._read, document_id)
        if document is None:
            return ResultCode.VAULT_DOCUMENT_UNKNOWN  # X4
        if document.organisation != self._sender.organisation:
            return ResultCode.VAULT_DOCUMENT_FOREIGN  # X1
        return document if document.is_kept else ResultCode.VAULT_DOCUMENT_SHREDDED  # X4

    def _grants_of(
        self, wraps: Sequence[Wrap], content: Content | None = None
    ) -> tuple[VaultGrant, ...] | ResultCode:
        """Return what wraps grant: X6 and X7."""
        if content is not None and content.envelope != self._suite.suite_id:
            return ResultCode.VAULT_ENVELOPE_UNKNOWN  # X6
        found: dict[str, VaultGrant] = {}
        for wrap in wraps:
            if wrap.recipient in found:
                return ResultCode.VAULT_RECIPIENT_TWICE  # X7
            granted = self._grant_of(wrap)
            if isinstance(granted, ResultCode):
                return granted
            found[wrap.recipient] = granted
        return _in_order([*found.values()])

    def _grant_of(self, wrap: Wrap) -> VaultGrant | ResultCode:
        """Return what one wrap grants: X7."""
        recipient = read_identity(self._read, wrap.recipient)
        if recipient is None:
            return ResultCode.VAULT_RECIPIENT_UNKNOWN
        if not has_rights(self._read, wrap.recipient, recipient.organisation):
            return ResultCode.VAULT_RECIPIENT_BARRED
        key = read_keys(self._read, recipient.organisation).find(wrap.recipient)
        if key is None:
            return ResultCode.VAULT_KEY_UNKNOWN
        if key.number != wrap.key_number:
            return ResultCode.VAULT_KEY_NOT_IN_FORCE
        return VaultGrant(wrap, recipient.organisation, self._at.height)

    def _granted(
        self, document_id: bytes, before: VaultDocument, added: Sequence[VaultGrant]
    ) -> _Writes | ResultCode:
        """Return the document with these grants, in place of those of their recipients."""
        renewed = [grant.wrap.recipient for grant in added]
        kept = [grant for grant in before.grants if grant.wrap.recipient not in renewed]
        grants = _in_order([*kept, *added])
        if len(grants) > VAULT_RECIPIENTS_MAX:
            return ResultCode.VAULT_RECIPIENTS_FULL  # X8
        return self._changed(document_id, replace(before, grants=grants))

    def _changed(self, document_id: bytes, document: VaultDocument) -> _Writes | ResultCode:
        after = replace(
            document,
            changes=document.changes + 1,
            height=self._at.height,
            time_ms=self._at.time_ms,
            ordered_by=self._sender.identity_id,
        )
        encoded = after.encode()
        if len(encoded) > STATE_VALUE_BYTES_MAX:
            return ResultCode.VAULT_DOCUMENT_TOO_LARGE  # X8
        return {vault_document_key(document_id): encoded}


def _in_order(grants: Sequence[VaultGrant]) -> tuple[VaultGrant, ...]:
    return tuple(sorted(grants, key=lambda grant: grant.wrap.recipient))
