"""The vault on chain: what is kept for whom, by commitments alone, and who ordered it.

Shapes of transactions of kind 3 and of what the state holds for them. Which of them has an effect:
node/execution/vault.py. Content, file names and wrapped keys never go on chain: they lie in the
stores of nodes, where they can be destroyed (proto/VAULT.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final, TypeVar

from node.chain.authorisation import Authorised, Terms
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
from node.chain.membership import PUBLIC_KEY_BYTES_MAX
from node.chain.merkle import merkle_root
from node.chain.record import Record
from node.crypto import domains
from node.crypto.suite import Suite
from node.errors import DecodeError
from node.limits import (
    IDENTITY_ID_BYTES_MAX,
    STATE_VALUE_BYTES_MAX,
    VAULT_DOCUMENT_BYTES_MAX,
    VAULT_KEYS_MAX,
    VAULT_RECIPIENTS_MAX,
)

VAULT_KEYS_KIND: Final = 20
"""The first item of the state keys of encryption keys, by organisation."""
VAULT_DOCUMENT_KIND: Final = 21
"""The first item of the state keys of documents in the vault."""

DOCUMENT_ID_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
VAULT_NAME_BYTES_MAX: Final = 255
_SECRET_BYTES_MAX: Final = 512
_ENVELOPE_MAX: Final = 255

_T = TypeVar("_T")


def vault_keys_key(organisation_id: str) -> bytes:
    """Return the state key of the encryption keys of an organisation's identities."""
    return encode([VAULT_KEYS_KIND, organisation_id])


def vault_document_key(document_id: bytes) -> bytes:
    """Return the state key of a document."""
    return encode([VAULT_DOCUMENT_KIND, document_id])


def document_id_of(key: bytes) -> bytes:
    """Return the document that a state key is of, which `vault_document_key` made."""
    return key[-DOCUMENT_ID_BYTES:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is kept of a document off chain: enough to know it again, not to guess it."""

    envelope: int
    """How it is sealed: the number of the algorithms, see node/crypto/envelope.py."""
    size_bytes: int
    """Of the content in the clear."""
    root: bytes
    """Root of the RFC 9162 tree over the sealed chunks, in their order. 32 bytes."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `vault-content`."""
        return [self.envelope, self.size_bytes, self.root]

    @classmethod
    def from_value(cls, value: object) -> Content:
        """Read the CBOR array `vault-content`; raises `DecodeError`."""
        envelope, size_bytes, root = expect_array(value, 3, "vault content")
        return cls(
            envelope=expect_uint(envelope, "vault envelope", _ENVELOPE_MAX),
            size_bytes=expect_uint(size_bytes, "vault content size", VAULT_DOCUMENT_BYTES_MAX),
            root=expect_bytes(root, "vault content root", size=_DIGEST_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Wrap:
    """For whom the content key was wrapped, and the digest of that; itself it lies off chain."""

    recipient: str
    """Identity id."""
    key_number: int
    """Which of the recipient's encryption keys opens it, from 1 on."""
    digest: bytes
    """Of the wrapped key, 32 bytes."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `vault-wrap`."""
        return [self.recipient, self.key_number, self.digest]

    @classmethod
    def from_value(cls, value: object) -> Wrap:
        """Read the CBOR array `vault-wrap`; raises `DecodeError`."""
        recipient, key_number, digest = expect_array(value, 3, "vault wrap")
        return cls(
            _read_id(recipient, "vault recipient"),
            expect_uint(key_number, "vault key number"),
            expect_bytes(digest, "vault wrap digest", size=_DIGEST_BYTES),
        )


def content_context(chain_id: bytes, document_id: bytes, version: int) -> bytes:
    """Return the associated data of every chunk of a content: what it is the content of."""
    return domains.tagged(domains.VAULT_CONTENT, encode([chain_id, document_id, version]))


def wrap_context(
    chain_id: bytes, document_id: bytes, version: int, recipient: str, key_number: int
) -> bytes:
    """Return the HPKE `info` of a wrapped key: what it opens, and who opens it with which key."""
    subject = [chain_id, document_id, version, recipient, key_number]
    return domains.tagged(domains.VAULT_WRAP, encode(subject))


@dataclass(frozen=True, slots=True)
class Secret:
    """What is wrapped for each recipient: destroyed with it, so that no name outlives a shred."""

    content_key: bytes = field(repr=False)
    name: str = field(repr=False)
    """Of the file; empty where none was given."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `vault-secret`."""
        return encode([1, self.content_key, self.name or None])

    @classmethod
    def decode(cls, data: bytes, key_bytes: int) -> Secret:
        """Read what was wrapped, with a content key of this size; raises `DecodeError`."""
        version, content_key, name = expect_array(
            decode(data, what="vault secret", size_max=_SECRET_BYTES_MAX), 3, "vault secret"
        )
        expect_version(version, "vault secret")
        return cls(
            expect_bytes(content_key, "vault content key", size=key_bytes),
            "" if name is None else expect_text(name, "vault name", size_max=VAULT_NAME_BYTES_MAX),
        )


def chunk_list_root(chunk_ids: bytes, suite: Suite) -> bytes:
    """Return the root that a content's commitment holds, of its list of chunks.

    `chunk_ids` are the 32-byte leaf hashes of the sealed chunks, joined in their order.
    """
    size = _DIGEST_BYTES
    leaves = [chunk_ids[at : at + size] for at in range(0, len(chunk_ids), size)]
    return merkle_root(leaves, suite.hash)


class VaultKind(IntEnum):
    """What a transaction of the vault does. Numbers are consensus and never reused."""

    REGISTER_KEY = 1
    KEEP = 2
    GRANT = 3
    REVOKE = 4
    ROTATE = 5
    SHRED = 6
    AUTHORISE = 7
    USE = 8


@dataclass(frozen=True, slots=True)
class RegisterKey:
    """Say under which key others are to wrap for the sender from now on."""

    number: int
    """1 for the first key of an identity, one more for each that replaces it."""
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Keep:
    """Commit to a new document, of version 1, for these recipients."""

    document_id: bytes
    """16 random bytes."""
    content: Content
    wraps: tuple[Wrap, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """Let more recipients open a document."""

    document_id: bytes
    version: int
    """The one in force: a wrapped key opens one version."""
    wraps: tuple[Wrap, ...]


@dataclass(frozen=True, slots=True)
class Revoke:
    """Give the document to these recipients no more. What they have opened, they have."""

    document_id: bytes
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rotate:
    """Replace content and content key; only those named can open it from now on."""

    document_id: bytes
    version: int
    """The new one."""
    content: Content
    wraps: tuple[Wrap, ...]


@dataclass(frozen=True, slots=True)
class Shred:
    """Have every node destroy what it holds of a document, for good."""

    document_id: bytes
    reason: bytes | None
    """Digest of the decision that orders it, 32 bytes; the decision itself stays off chain."""


@dataclass(frozen=True, slots=True)
class Authorise:
    """Let one recipient read a document under terms, at the owner's nodes, each use on chain."""

    document_id: bytes
    version: int
    """The one in force, as with `Grant`."""
    wrap: Wrap
    terms: Terms


@dataclass(frozen=True, slots=True)
class Use:
    """Say, as who was authorised, that the document is read now: nodes give it after that alone."""

    document_id: bytes
    previous_height: int
    """Of the block of the sender's use before this, 0 for the first: so that none can be left out
    of a list of them."""


VaultOperation = RegisterKey | Keep | Grant | Revoke | Rotate | Shred | Authorise | Use


@dataclass(frozen=True, slots=True)
class Vault:
    """The payload of a transaction of the vault: one operation. It writes no records."""

    operation: VaultOperation

    @property
    def count(self) -> int:
        """Return the number of records: none."""
        return 0

    def records(self) -> Iterator[Record]:
        """Yield the records: none."""
        return iter(())

    def to_value(self) -> list[Any]:
        """Return the CBOR array `vault`."""
        return [1, *_operation_value(self.operation)]

    @classmethod
    def from_value(cls, value: object) -> Vault:
        """Read the CBOR array `vault`; raises `DecodeError`."""
        version, kind, body = expect_array(value, 3, "vault")
        expect_version(version, "vault")
        return cls(_read_operation(expect_uint(kind, "vault operation kind"), body))


# --- What the state holds ---


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """Under which key to wrap for an identity."""

    identity_id: str
    number: int
    public_key: bytes
    height: int
    """Of the block that registered it."""


@dataclass(frozen=True, slots=True)
class VaultKeys:
    """The encryption keys of an organisation's identities, the newest of each, by identity id."""

    keys: tuple[EncryptionKey, ...] = ()

    def find(self, identity_id: str) -> EncryptionKey | None:
        """Return the key of an identity, or None."""
        return next((each for each in self.keys if each.identity_id == identity_id), None)

    def replaced(self, key: EncryptionKey) -> VaultKeys:
        """Return these with one more, or one newer."""
        others = [each for each in self.keys if each.identity_id != key.identity_id]
        return VaultKeys(tuple(sorted([*others, key], key=lambda each: each.identity_id)))

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `vault-keys`."""
        rows = [[each.identity_id, each.number, each.public_key, each.height] for each in self.keys]
        return encode([1, rows])

    @classmethod
    def decode(cls, data: bytes) -> VaultKeys:
        """Read the keys of an organisation; raises `DecodeError`."""
        version, rows = expect_array(
            decode(data, what="vault keys", size_max=STATE_VALUE_BYTES_MAX), 2, "vault keys"
        )
        expect_version(version, "vault keys")
        return cls(tuple(_read_key(row) for row in expect_list(rows, VAULT_KEYS_MAX, "vault keys")))


class VaultStanding(IntEnum):
    """Whether a document is kept. Numbers are consensus."""

    KEPT = 1
    SHREDDED = 2


@dataclass(frozen=True, slots=True)
class VaultGrant:
    """A recipient who may have a document."""

    wrap: Wrap
    organisation: str
    """The recipient's, whose nodes keep a copy."""
    height: int
    """Of the block that granted it."""
    authorised: Authorised | None = None
    """Under which terms, where there are any: then the recipient's nodes keep no copy."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `vault-grant`."""
        terms = [] if self.authorised is None else [self.authorised.to_value()]
        return [self.wrap.to_value(), self.organisation, self.height, *terms]

    @classmethod
    def from_value(cls, value: object) -> VaultGrant:
        """Read the CBOR array `vault-grant`; raises `DecodeError`."""
        is_plain = isinstance(value, list) and len(value) == 3  # noqa: PLR2004 - items
        wrap, organisation, height, *terms = expect_array(
            value, 3 if is_plain else 4, "vault grant"
        )
        return cls(
            Wrap.from_value(wrap),
            _read_id(organisation, "vault grant organisation"),
            expect_uint(height, "vault grant height"),
            Authorised.from_value(terms[0]) if terms else None,
        )

    def is_over(self, time_ms: int) -> bool:
        """Tell whether its terms give nothing any more at a time."""
        return self.authorised is not None and self.authorised.terms.is_over(time_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultDocument:
    """A document as the state knows it; a tombstone once it is shredded. Never removed."""

    standing: VaultStanding
    owner: str
    """Identity that first had it kept."""
    organisation: str
    """Whose agencies may grant, revoke, rotate and shred: the owner's, when it was first kept."""
    version: int
    """Of the content, from 1 on."""
    content: Content | None
    """None once shredded."""
    changes: int
    """Transactions that had an effect on it, from 1 on: so a history can show that none lacks."""
    height: int
    """Of the newest of them."""
    time_ms: int
    """T of its block, milliseconds since 1970 UTC."""
    ordered_by: str
    """Who signed it: of a tombstone, who ordered the destruction."""
    grants: tuple[VaultGrant, ...]
    """By recipient; none once shredded."""
    reason: bytes | None = None
    """Of a tombstone: digest of the decision, where one was named."""

    @property
    def is_kept(self) -> bool:
        """Tell whether it was not shredded."""
        return self.standing is VaultStanding.KEPT

    def grant_of(self, identity_id: str) -> VaultGrant | None:
        """Return the grant of a recipient, or None."""
        return next((each for each in self.grants if each.wrap.recipient == identity_id), None)

    def is_entitled(self, organisation: str) -> bool:
        """Tell whether the nodes of an organisation keep a copy: the owner's, and recipients'.

        Those of recipients under terms keep none: they could be read without a trace.
        """
        return self.is_kept and (
            organisation == self.organisation
            or any(
                each.organisation == organisation and each.authorised is None
                for each in self.grants
            )
        )

    def at(self, time_ms: int) -> VaultDocument:
        """Return it without the grants whose terms are over at a time."""
        return replace(self, grants=tuple(g for g in self.grants if not g.is_over(time_ms)))

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `vault-document`."""
        return encode(
            [
                1,
                self.standing.value,
                self.owner,
                self.organisation,
                self.version,
                None if self.content is None else self.content.to_value(),
                self.changes,
                self.height,
                self.time_ms,
                self.ordered_by,
                [grant.to_value() for grant in self.grants],
                self.reason,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> VaultDocument:
        """Read a document; raises `DecodeError`."""
        items = expect_array(
            decode(data, what="vault document", size_max=STATE_VALUE_BYTES_MAX),
            12,
            "vault document",
        )
        version, standing, owner, organisation, content_version, content = items[:6]
        changes, height, time_ms, ordered_by, grants, reason = items[6:]
        expect_version(version, "vault document")
        known = {each.value: each for each in VaultStanding}
        if type(standing) is not int or standing not in known:
            raise DecodeError(f"vault standing: expected 1 or 2, got {standing!r:.40}")
        document = cls(
            standing=known[standing],
            owner=_read_id(owner, "vault owner"),
            organisation=_read_id(organisation, "vault organisation"),
            version=expect_uint(content_version, "vault version"),
            content=None if content is None else Content.from_value(content),
            changes=expect_uint(changes, "vault changes"),
            height=expect_uint(height, "vault height"),
            time_ms=expect_uint(time_ms, "vault time"),
            ordered_by=_read_id(ordered_by, "vault order"),
            grants=tuple(
                VaultGrant.from_value(item)
                for item in expect_list(grants, VAULT_RECIPIENTS_MAX, "vault grants")
            ),
            reason=None if reason is None else _read_digest(reason, "vault reason"),
        )
        if document.is_kept != (document.content is not None):
            raise DecodeError("vault content: expected it of a kept document, and of no other")
        return document


# --- Reading ---


def _operation_value(operation: VaultOperation) -> list[Any]:
    match operation:
        case RegisterKey():
            return [VaultKind.REGISTER_KEY.value, [operation.number, operation.public_key]]
        case Keep():
            kept = [operation.content.to_value(), _wrap_values(operation.wraps)]
            return [VaultKind.KEEP.value, [operation.document_id, *kept]]
        case Grant():
            granted = [operation.version, _wrap_values(operation.wraps)]
            return [VaultKind.GRANT.value, [operation.document_id, *granted]]
        case Revoke():
            return [VaultKind.REVOKE.value, [operation.document_id, list(operation.recipients)]]
        case Rotate():
            rotated = [operation.version, operation.content.to_value()]
            wraps = _wrap_values(operation.wraps)
            return [VaultKind.ROTATE.value, [operation.document_id, *rotated, wraps]]
        case Shred():
            return [VaultKind.SHRED.value, [operation.document_id, operation.reason]]
        case Authorise():
            wrap, terms = operation.wrap.to_value(), operation.terms.to_value()
            body = [operation.document_id, operation.version, wrap, terms]
            return [VaultKind.AUTHORISE.value, body]
        case Use():
            return [VaultKind.USE.value, [operation.document_id, operation.previous_height]]


def _read_operation(kind: int, body: object) -> VaultOperation:
    match kind:
        case VaultKind.REGISTER_KEY:
            number, public_key = expect_array(body, 2, "vault key")
            return RegisterKey(
                expect_uint(number, "vault key number"),
                expect_blob(public_key, "vault key", size_max=PUBLIC_KEY_BYTES_MAX),
            )
        case VaultKind.KEEP:
            document_id, content, wraps = expect_array(body, 3, "vault keep")
            return Keep(_read_document_id(document_id), Content.from_value(content), _wraps(wraps))
        case VaultKind.GRANT:
            document_id, version, wraps = expect_array(body, 3, "vault grant")
            return Grant(_read_document_id(document_id), _version(version), _wraps(wraps))
        case VaultKind.REVOKE:
            document_id, recipients = expect_array(body, 2, "vault revocation")
            names = _some(recipients, lambda item: _read_id(item, "vault recipient"))
            return Revoke(_read_document_id(document_id), names)
        case VaultKind.ROTATE:
            document_id, version, content, wraps = expect_array(body, 4, "vault rotation")
            return Rotate(
                _read_document_id(document_id),
                _version(version),
                Content.from_value(content),
                _wraps(wraps),
            )
        case VaultKind.SHRED:
            document_id, reason = expect_array(body, 2, "vault shred")
            return Shred(
                _read_document_id(document_id),
                None if reason is None else _read_digest(reason, "vault reason"),
            )
        case VaultKind.AUTHORISE:
            document_id, version, wrap, terms = expect_array(body, 4, "vault authorisation")
            return Authorise(
                _read_document_id(document_id),
                _version(version),
                Wrap.from_value(wrap),
                Terms.from_value(terms),
            )
        case VaultKind.USE:
            document_id, height = expect_array(body, 2, "vault use")
            return Use(_read_document_id(document_id), expect_uint(height, "vault use height"))
        case _:
            raise DecodeError(f"vault operation kind: {kind} is unknown")


def _wrap_values(wraps: Sequence[Wrap]) -> list[list[Any]]:
    return [wrap.to_value() for wrap in wraps]


def _wraps(value: object) -> tuple[Wrap, ...]:
    return _some(value, Wrap.from_value)


def _some(value: object, read: Callable[[object], _T]) -> tuple[_T, ...]:
    listed = expect_list(value, VAULT_RECIPIENTS_MAX, "vault recipients")
    if not listed:
        raise DecodeError(f"vault recipients: expected 1..{VAULT_RECIPIENTS_MAX}, got none")
    return tuple(read(item) for item in listed)


def _read_key(value: object) -> EncryptionKey:
    identity_id, number, public_key, height = expect_array(value, 4, "vault key")
    return EncryptionKey(
        _read_id(identity_id, "vault key identity"),
        expect_uint(number, "vault key number"),
        expect_blob(public_key, "vault key", size_max=PUBLIC_KEY_BYTES_MAX),
        expect_uint(height, "vault key height"),
    )


def _version(value: object) -> int:
    return expect_uint(value, "vault version")


def _read_document_id(value: object) -> bytes:
    return expect_bytes(value, "vault document id", size=DOCUMENT_ID_BYTES)


def _read_id(value: object, what: str) -> str:
    return expect_text(value, what, size_max=IDENTITY_ID_BYTES_MAX)


def _read_digest(value: object, what: str) -> bytes:
    return expect_bytes(value, what, size=_DIGEST_BYTES)
