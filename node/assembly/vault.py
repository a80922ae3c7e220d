"""The vault of a node: its API's port, implemented, and the keeper with what it needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

import structlog

from node.assembly.keys import Keys
from node.assembly.peering import Peering
from node.assembly.reader import Reader
from node.chain.genesis import Genesis, Role
from node.chain.identity import Subject
from node.chain.vault import (
    VaultDocument,
    document_id_of,
    vault_document_key,
    vault_keys_key,
)
from node.config import NodeConfig
from node.crypto.certificate_profile import CertificateIdentity
from node.crypto.member_certificate import read_identity
from node.errors import ClientError
from node.execution.registry import StateKind, prefix_of, status_key
from node.execution.vault import decode_document, read_document
from node.rpc.identity import AccessError
from node.rpc.vault_source import NodeSource, OtherNode
from node.service import clock
from node.service.queries import Queries
from node.service.vault.keeper import VaultKeeper, not_kept
from node.storage.ledger import LedgerStore
from node.storage.objects import DirectoryObjects, ObjectStore, ObjectStoreError
from node.storage.url_objects import UrlObjects
from node.storage.vault_holdings import CheckStep, Holdings
from node.timestamp.receipt import iso_time

UNCOMMITTED_DOCUMENTS_MAX: Final = 64
"""Uploads at once of which the chain knows nothing yet."""
USE_MS_MAX: Final = 600_000
"""How long after a use on chain a node gives what is authorised under terms."""
_GIB: Final = 1_073_741_824
_NODE_ROLES: Final = tuple(role.name.lower() for role in (Role.VALIDATOR, Role.OBSERVER))
_AGENCY: Final = Role.AGENCY.name.lower()
_Value = TypeVar("_Value")

log = structlog.get_logger()


class _Allowed(NamedTuple):
    """What somebody may have of a document, as that was after so many changes."""

    changes: int
    object_ids: frozenset[bytes]


class NodeVault:
    """The `VaultNode` of one node. What waits for its store runs on a thread of its own."""

    def __init__(
        self,
        config: NodeConfig,
        genesis: Genesis,
        ledger: LedgerStore,
        *,
        queries: Queries,
        peering: Peering,
        keys: Keys,
        is_abreast: Callable[[], bool],
    ) -> None:
        """Open the store that the settings name; raises `ConfigError` where it cannot be used.

        `is_abreast` says whether the ledger has all that is final.
        """
        self._ledger, self._queries = ledger, queries
        self._organisation = read_identity(keys.tls.now().certificate_pem).organisation
        self._thread = Reader()
        self._holdings = Holdings(_open_store(config), genesis.suite)

        def others() -> Sequence[OtherNode]:
            return [OtherNode(*each) for each in peering.others()]

        self.keeper = VaultKeeper(
            ledger,
            self._holdings,
            self._organisation,
            NodeSource(others, keys.tls, peering.gatekeeper),
            read=self._thread.read,
            now_s=lambda: clock.utc_ms() // 1_000,
            is_abreast=is_abreast,
        )

    def close(self) -> None:
        """End what runs on the thread."""
        self._thread.close()

    async def proof_of_document(self, document_id: bytes) -> bytes | None:
        """Return the proof of what the state holds of a document."""
        return await self._prove(vault_document_key(document_id))

    async def proof_of_keys(self, organisation: str) -> bytes | None:
        """Return the proof of an organisation's encryption keys."""
        return await self._prove(vault_keys_key(organisation))

    async def proof_of_status(self, identity: str) -> bytes | None:
        """Return the proof of what happened to an identity's rights."""
        return await self._prove(status_key(Subject.IDENTITY, identity))

    async def documents(
        self, caller: CertificateIdentity, after: bytes, limit: int
    ) -> Sequence[bytes]:
        """Return ids of documents that concern the caller or its organisation."""
        return await self._thread.read(partial(self._list, caller, after, limit))

    async def put(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        objects: Sequence[bytes],
        chunk_list: bytes,
    ) -> Sequence[bytes]:
        """Keep objects."""
        put = partial(self._put, caller, document_id, version, objects, chunk_list)
        return await self._ask_store(put)

    async def held(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        object_ids: Sequence[bytes],
    ) -> Sequence[bool]:
        """Say what lies here."""
        self._expect_uploader(caller)
        held = await self._ask_store(partial(self._holdings.held, document_id, version))
        return [each in held for each in object_ids]

    async def objects(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        object_ids: Sequence[bytes],
    ) -> AsyncGenerator[bytes]:
        """Yield objects; to a node an empty one in the place of each that is not here.

        Nothing more comes once the state no longer grants it, or terms are over.
        """
        is_node, allowed = caller.role in _NODE_ROLES, None
        for object_id in object_ids:
            give = partial(self._give, caller, document_id, version, allowed, object_id)
            data, allowed = await self._ask_store(give)
            if data is None and not is_node:
                raise ClientError(
                    f"object {object_id.hex()} of document {document_id.hex()}: "
                    "not at this node, or not for this identity",
                    code="GC-2601",
                )
            yield data or b""

    async def check(
        self, caller: CertificateIdentity, document_id: bytes
    ) -> AsyncGenerator[CheckStep]:
        """Read all that is held of a document."""
        document = await self._thread.read(partial(self._document, document_id))
        is_granted = document.grant_of(caller.identity_id) is not None
        if not is_granted and caller.organisation not in (
            document.organisation,
            self._organisation,
        ):
            raise AccessError(f"document {document_id.hex()} is none of {caller.identity_id!r}")
        async for step in self.keeper.check(document_id):
            yield step

    # --- On the thread ---

    def _list(self, caller: CertificateIdentity, after: bytes, limit: int) -> list[bytes]:
        found: list[bytes] = []
        for key, value in self._ledger.entries_under(prefix_of(StateKind.VAULT_DOCUMENT)):
            document_id, document = document_id_of(key), decode_document(value)
            is_theirs = (
                document.organisation == caller.organisation
                or document.grant_of(caller.identity_id) is not None
            )
            if is_theirs and document_id > after:
                found.append(document_id)
            if len(found) == limit:
                break
        return found

    def _put(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        objects: Sequence[bytes],
        chunk_list: bytes,
    ) -> list[bytes]:
        self._expect_uploader(caller)
        document = read_document(self._ledger.get, document_id)
        if document is None:
            self._expect_room(document_id)
            expected = (1, 1)
        elif not document.is_kept:
            raise _shredded(document_id)
        elif document.organisation != self._organisation:
            raise AccessError(f"document {document_id.hex()} is of {document.organisation!r}")
        else:
            expected = (document.version, document.version + 1)
        if version not in expected:
            raise ClientError(
                f"document {document_id.hex()}: expected version {expected[-1]}, got {version}"
            )
        ids = [self._holdings.put(document_id, version, data) for data in objects]
        if chunk_list:
            ids.append(self._holdings.put_list(document_id, version, chunk_list))
        return ids

    def _expect_room(self, document_id: bytes) -> None:
        """Refuse to begin another upload where too many were begun and not committed."""
        held = self._holdings.documents()
        if document_id in held:
            return
        begun = [each for each in held if read_document(self._ledger.get, each) is None]
        if len(begun) >= UNCOMMITTED_DOCUMENTS_MAX:
            raise ClientError(
                f"vault: {len(begun)} documents were begun here and not committed",
                code="GC-2602",
                fix="finish or wait: what nothing commits to is dropped after a day",
            )

    def _give(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        before: _Allowed | None,
        object_id: bytes,
    ) -> tuple[bytes | None, _Allowed]:
        """Return an object if a caller may have it and it is here, and what it may have."""
        allowed = self._allowed(caller, document_id, version, before)
        if object_id not in allowed.object_ids:
            return None, allowed
        return self._holdings.find(document_id, version, object_id), allowed

    def _allowed(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        before: _Allowed | None,
    ) -> _Allowed:
        """Return the objects of a version in force that a caller may have.

        `before` is what it might when it was asked for the object before, None for the first.
        """
        document = self._document(document_id)
        if version != document.version:
            raise not_kept(document_id)
        if caller.role in _NODE_ROLES:
            if not document.is_entitled(caller.organisation):
                raise AccessError(
                    f"document {document_id.hex()} is none of {caller.organisation!r}"
                )
            organisation = caller.organisation
        else:
            self._expect_grant(caller, document_id, document, is_begun=before is not None)
            organisation = self._organisation
        if before is not None and before.changes == document.changes:
            return before
        parts = self._holdings.parts(document_id, document, organisation)
        return _Allowed(
            document.changes,
            frozenset(
                part.object_id
                for part in parts
                if part.recipient in ("", caller.identity_id) or caller.role in _NODE_ROLES
            ),
        )

    def _expect_grant(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        document: VaultDocument,
        *,
        is_begun: bool,
    ) -> None:
        """Refuse who has no grant, or one under terms that are over or without a use just now.

        A use is asked for where giving begins: what takes longer is not broken off for that. What
        time it is, the later of the newest block's and of this node's clock says.
        """
        grant = document.grant_of(caller.identity_id)
        if grant is None:
            raise AccessError(
                f"document {document_id.hex()} is not granted to {caller.identity_id!r}"
            )
        if grant.authorised is None:
            return
        terms, uses = grant.authorised.terms, grant.authorised.uses
        now_ms = max(clock.utc_ms(), self._ledger.header.time_ms)
        if terms.is_over(now_ms):
            raise ClientError(
                f"document {document_id.hex()}: authorised for {terms.purpose!r} until "
                f"{iso_time(terms.not_after_ms)}: that is over",
                code="GC-2613",
            )
        if not is_begun and now_ms - uses.time_ms > USE_MS_MAX:
            raise ClientError(
                f"document {document_id.hex()}: no use of it by {caller.identity_id!r} is on chain "
                f"within the last {USE_MS_MAX // 1_000} s",
                code="GC-2614",
            )

    def _document(self, document_id: bytes) -> VaultDocument:
        document = read_document(self._ledger.get, document_id)
        if document is None:
            raise not_kept(document_id)
        if not document.is_kept:
            raise _shredded(document_id)
        return document

    def _expect_uploader(self, caller: CertificateIdentity) -> None:
        if caller.role != _AGENCY or caller.organisation != self._organisation:
            raise AccessError(
                f"this node keeps what agencies of {self._organisation!r} put in the vault; "
                f"{caller.role} {caller.identity_id!r} is of {caller.organisation!r}"
            )

    async def _ask_store(self, question: Callable[[], _Value]) -> _Value:
        """Ask on the thread; what the store refuses is told the operator, too."""
        try:
            return await self._thread.read(question)
        except ObjectStoreError as error:
            log.warning("vault-store-refused", code=error.code, detail=str(error))
            raise

    async def _prove(self, key: bytes) -> bytes | None:
        return await self._thread.read(partial(self._queries.state_value_proof, key))


def _open_store(config: NodeConfig) -> ObjectStore:
    if config.vault.url is not None:
        return UrlObjects(config.vault.url)
    return DirectoryObjects(config.home / "vault", config.vault.max_gib * _GIB)


def _shredded(document_id: bytes) -> ClientError:
    return ClientError(
        f"document {document_id.hex()} was shredded: nobody can bring it back", code="GC-2604"
    )
