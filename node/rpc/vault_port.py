"""What the vault's API asks of the node that serves it, and the values both sides speak.

Only the port `VaultNode`, its values and its bounds live here: no protobuf, no gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

from node.crypto.certificate_profile import CertificateIdentity
from node.storage.vault_holdings import CheckStep

OBJECTS_ASKED_MAX: Final = 4_096
PUT_BYTES_MAX: Final = 3_145_728
"""Of objects in one request; a list of chunks may come besides where there is none of them."""
DOCUMENTS_PAGE_MAX: Final = 1_000


class VaultNode(Protocol):
    """The node as its vault API sees it. Arguments are bounded and well formed when they arrive.

    `caller` is who the connection's certificate says; what it may do is judged by the state.
    Methods raise `ClientError` for what cannot be served as asked.
    """

    async def proof_of_document(self, document_id: bytes) -> bytes | None:
        """Return the canonical proof of what the state holds of a document; None at height 0."""

    async def proof_of_keys(self, organisation: str) -> bytes | None:
        """Return the canonical proof of an organisation's encryption keys; None at height 0."""

    async def proof_of_status(self, identity: str) -> bytes | None:
        """Return the canonical proof of what happened to an identity's rights; None at height 0."""

    async def documents(
        self, caller: CertificateIdentity, after: bytes, limit: int
    ) -> Sequence[bytes]:
        """Return ids above `after` of documents that concern the caller or its organisation."""

    async def put(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        objects: Sequence[bytes],
        chunk_list: bytes,
    ) -> Sequence[bytes]:
        """Keep objects, and a list of chunks if it is not empty; return their ids."""

    async def held(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        object_ids: Sequence[bytes],
    ) -> Sequence[bool]:
        """Say of each object whether it lies here, unread."""

    def objects(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        object_ids: Sequence[bytes],
    ) -> AsyncGenerator[bytes]:
        """Yield objects in the order asked for, to a client or to a node."""

    def check(self, caller: CertificateIdentity, document_id: bytes) -> AsyncGenerator[CheckStep]:
        """Read all that is held of a document, and tell how far it is and what is wrong."""
