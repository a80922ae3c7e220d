"""The vault as a client asks for it, over the connections of a `LedgerClient`.

What a node says is one node's word, but for proofs, which their reader verifies, and objects, which
are checked by their ids. Nodes are named by their ids: whose node keeps what is a matter of
organisations, which the caller knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, Final

import grpc

from node.errors import ClientError, DecodeError
from node.rpc.client import LedgerClient
from node.rpc.connection import LedgerEndpoint, read_failure
from node.rpc.pb import vault_pb2 as pb
from node.rpc.pb.vault_pb2_grpc import VaultStub
from node.rpc.vault_port import DOCUMENTS_PAGE_MAX, OBJECTS_ASKED_MAX
from node.storage.vault_holdings import CheckStep, FaultKind, ObjectRole, Part, PartFault

if TYPE_CHECKING:
    from node.rpc.pb.vault_pb2_grpc import VaultAsyncStub

TIMEOUT_MS: Final = 30_000
CHECK_TIMEOUT_MS: Final = 3_600_000


class VaultClient:
    """Asks the nodes of a chain about the vault. Use it on the event loop of its client."""

    def __init__(self, client: LedgerClient) -> None:
        self._connections = client.connections

    async def proofs(
        self,
        *,
        document_id: bytes | None = None,
        organisation: str | None = None,
        identity: str | None = None,
        timeout_ms: int = TIMEOUT_MS,
    ) -> dict[str, bytes | ClientError]:
        """Return every node's proof of one of these, unverified.

        Of a document, an organisation's keys, or what happened to an identity's rights.
        """
        request = pb.GetProofRequest()
        if document_id is not None:
            request.document_id = document_id
        elif organisation is not None:
            request.organisation = organisation
        elif identity is not None:
            request.identity = identity
        endpoints = self._connections.endpoints

        async def ask(endpoint: LedgerEndpoint) -> bytes | ClientError:
            try:
                return bytes((await self._call(endpoint, "GetProof", request, timeout_ms)).proof)
            except ClientError as error:
                return error

        answers = await asyncio.gather(*map(ask, endpoints))
        return {
            endpoint.validator_id: answer
            for endpoint, answer in zip(endpoints, answers, strict=True)
        }

    async def documents(self, node_id: str, timeout_ms: int = TIMEOUT_MS) -> list[bytes]:
        """Return ids of all documents that concern the caller, by the word of one node."""
        found: list[bytes] = []
        while True:
            request = pb.GetDocumentsRequest(
                after=found[-1] if found else b"", limit=DOCUMENTS_PAGE_MAX
            )
            reply = await self._call(self._endpoint(node_id), "GetDocuments", request, timeout_ms)
            found += reply.document_ids
            if len(reply.document_ids) < DOCUMENTS_PAGE_MAX:
                return found

    async def put(
        self,
        node_id: str,
        document_id: bytes,
        version: int,
        objects: Sequence[bytes],
        *,
        chunk_list: bytes = b"",
        timeout_ms: int = TIMEOUT_MS,
    ) -> list[bytes]:
        """Have one node keep objects; return their ids as it computed them."""
        request = pb.PutObjectsRequest(
            document_id=document_id, version=version, objects=objects, chunk_list=chunk_list
        )
        reply = await self._call(self._endpoint(node_id), "PutObjects", request, timeout_ms)
        return list(reply.object_ids)

    async def held(
        self,
        node_id: str,
        document_id: bytes,
        version: int,
        object_ids: Sequence[bytes],
        timeout_ms: int = TIMEOUT_MS,
    ) -> list[bool]:
        """Return whether one node has each of these objects, by its word."""
        found: list[bool] = []
        for first in range(0, len(object_ids), OBJECTS_ASKED_MAX):
            asked = object_ids[first : first + OBJECTS_ASKED_MAX]
            request = pb.GetHeldRequest(document_id=document_id, version=version, object_ids=asked)
            reply = await self._call(self._endpoint(node_id), "GetHeld", request, timeout_ms)
            if len(reply.held) != len(asked):
                raise ClientError(f"{node_id}: expected {len(asked)} answers")
            found += reply.held
        return found

    async def objects(
        self,
        node_id: str,
        document_id: bytes,
        version: int,
        object_ids: Sequence[bytes],
        timeout_ms: int = TIMEOUT_MS,
    ) -> AsyncGenerator[bytes]:
        """Yield objects as one node gives them, in the order asked for, unchecked."""
        endpoint = self._endpoint(node_id)
        request = pb.GetObjectsRequest(
            document_id=document_id, version=version, object_ids=object_ids
        )
        call = self._stub(endpoint).GetObjects(
            request, timeout=timeout_ms / 1_000, metadata=self._connections.metadata
        )
        try:
            async for found in call:
                yield found.data
        except grpc.aio.AioRpcError as error:
            raise read_failure(endpoint, error) from error
        finally:
            call.cancel()

    async def check(
        self, node_id: str, document_id: bytes, timeout_ms: int = CHECK_TIMEOUT_MS
    ) -> AsyncGenerator[CheckStep]:
        """Have one node read all that it keeps of a document; yield how far it is, and faults."""
        endpoint = self._endpoint(node_id)
        call = self._stub(endpoint).Check(
            pb.CheckRequest(document_id=document_id),
            timeout=timeout_ms / 1_000,
            metadata=self._connections.metadata,
        )
        try:
            async for step in call:
                yield _step_from_pb(step)
        except grpc.aio.AioRpcError as error:
            raise read_failure(endpoint, error) from error
        finally:
            call.cancel()

    async def _call(
        self, endpoint: LedgerEndpoint, method: str, request: object, timeout_ms: int
    ) -> Any:  # noqa: ANN401 - whichever reply the method has
        call = getattr(self._stub(endpoint), method)
        metadata = self._connections.metadata
        try:
            return await call(request, timeout=timeout_ms / 1_000, metadata=metadata)
        except (grpc.aio.AioRpcError, DecodeError) as error:
            raise read_failure(endpoint, error) from error

    def _stub(self, endpoint: LedgerEndpoint) -> VaultAsyncStub:
        return VaultStub(self._connections.channel(endpoint))

    def _endpoint(self, node_id: str) -> LedgerEndpoint:
        for endpoint in self._connections.endpoints:
            if endpoint.validator_id == node_id:
                return endpoint
        raise ClientError(f"{node_id}: no such node in the profile")


def _step_from_pb(message: pb.CheckStep) -> CheckStep:
    fault = None
    if message.HasField("fault"):
        try:
            role, kind = ObjectRole(message.fault.role), FaultKind(message.fault.kind)
        except ValueError as error:
            raise ClientError(f"vault fault: {error}") from error
        part = Part(
            message.fault.object_id, role, message.fault.chunk_index, message.fault.recipient
        )
        fault = PartFault(part, kind)
    return CheckStep(message.objects, message.sound, fault)
