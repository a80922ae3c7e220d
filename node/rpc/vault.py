"""The vault as gRPC serves it, to clients and to nodes: requests bounded, passed on, answered.

Nothing is decided here. Who calls was judged by the guard, or is by the gatekeeper where peers
connect; what a caller may have is judged by the node behind the port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final

import grpc

from node.chain.vault import DOCUMENT_ID_BYTES
from node.crypto.certificate_profile import CertificateIdentity
from node.errors import ClientError, NodeError
from node.limits import IDENTITY_ID_BYTES_MAX
from node.rpc.guard import NotFound, caller, status_of
from node.rpc.identity import Gatekeeper
from node.rpc.pb import vault_pb2 as pb
from node.rpc.pb.vault_pb2_grpc import VaultPeerServicer, VaultServicer
from node.rpc.strict import refuse_malformed
from node.rpc.vault_port import (
    DOCUMENTS_PAGE_MAX,
    OBJECTS_ASKED_MAX,
    PUT_BYTES_MAX,
    VaultNode,
)
from node.storage.vault_holdings import CHUNK_LIST_BYTES_MAX, ID_BYTES, CheckStep

_VERSION_MAX: Final = 2**32
_Context = grpc.aio.ServicerContext[Any, Any]


class VaultApi(VaultServicer):
    """Serves clients. Every method of it is described in vault.proto."""

    def __init__(self, node: VaultNode) -> None:
        self._node = node

    async def GetProof(self, request: pb.GetProofRequest, context: object) -> pb.Proof:
        """Prove what the state holds of a document, an organisation's keys or a status."""
        match request.WhichOneof("subject"):
            case "document_id":
                proof = await self._node.proof_of_document(_document_id(request.document_id))
            case "identity":
                proof = await self._node.proof_of_status(_name(request.identity, "identity"))
            case _:
                organisation = _name(request.organisation, "organisation")
                proof = await self._node.proof_of_keys(organisation)
        if proof is None:
            raise NotFound("no certified state here")
        return pb.Proof(proof=proof)

    async def GetDocuments(
        self, request: pb.GetDocumentsRequest, context: object
    ) -> pb.GetDocumentsReply:
        """List documents that the caller has to do with."""
        if request.after:
            _document_id(request.after)
        if not 0 < request.limit <= DOCUMENTS_PAGE_MAX:
            raise ClientError(f"limit: expected 1..{DOCUMENTS_PAGE_MAX}, got {request.limit}")
        found = await self._node.documents(caller.get(), request.after, request.limit)
        return pb.GetDocumentsReply(document_ids=found)

    async def PutObjects(
        self, request: pb.PutObjectsRequest, context: object
    ) -> pb.PutObjectsReply:
        """Keep objects of a version."""
        size_bytes = sum(map(len, request.objects))
        if size_bytes > PUT_BYTES_MAX or len(request.chunk_list) > CHUNK_LIST_BYTES_MAX:
            raise ClientError(
                f"vault objects: expected at most {PUT_BYTES_MAX} bytes of objects and "
                f"{CHUNK_LIST_BYTES_MAX} of a list, got {size_bytes} and {len(request.chunk_list)}"
            )
        _check_version(request.version)
        document_id = _document_id(request.document_id)
        found = await self._node.put(
            caller.get(), document_id, request.version, request.objects, request.chunk_list
        )
        return pb.PutObjectsReply(object_ids=found)

    async def GetHeld(self, request: pb.GetHeldRequest, context: object) -> pb.GetHeldReply:
        """Say what is held of a version."""
        document_id, object_ids = _document_id(request.document_id), _object_ids(request.object_ids)
        _check_version(request.version)
        found = await self._node.held(caller.get(), document_id, request.version, object_ids)
        return pb.GetHeldReply(held=found)

    async def GetObjects(
        self, request: pb.GetObjectsRequest, context: object
    ) -> AsyncIterator[pb.Object]:
        """Give objects to a client."""
        async for data in _objects(self._node, caller.get(), request):
            yield data

    async def Check(self, request: pb.CheckRequest, context: object) -> AsyncIterator[pb.CheckStep]:
        """Read all that is held of a document."""
        steps = self._node.check(caller.get(), _document_id(request.document_id))
        async with aclosing(steps):
            async for step in steps:
                yield _step_to_pb(step)


class VaultPeerApi(VaultPeerServicer):
    """Serves other nodes, where they connect."""

    def __init__(
        self, node: VaultNode, gatekeeper: Gatekeeper, on_failure: Callable[[Exception], None]
    ) -> None:
        self._node, self._gatekeeper, self._on_failure = node, gatekeeper, on_failure

    async def GetObjects(
        self, request: pb.GetObjectsRequest, context: _Context
    ) -> AsyncIterator[pb.Object]:
        """Give objects to a node."""
        try:
            refuse_malformed(request)
            shown = self._gatekeeper.identify(context.auth_context())
            async for data in _objects(self._node, shown, request):
                self._gatekeeper.identify(context.auth_context())  # it may have been frozen since
                yield data
        except NodeError as error:
            status = status_of(error)
            if status is grpc.StatusCode.INTERNAL:
                self._on_failure(error)
            await context.abort(status, str(error))


async def _objects(
    node: VaultNode, shown: CertificateIdentity, request: pb.GetObjectsRequest
) -> AsyncIterator[pb.Object]:
    document_id, object_ids = _document_id(request.document_id), _object_ids(request.object_ids)
    _check_version(request.version)
    async with aclosing(node.objects(shown, document_id, request.version, object_ids)) as found:
        async for data in found:
            yield pb.Object(data=data)


def _step_to_pb(step: CheckStep) -> pb.CheckStep:
    message = pb.CheckStep(objects=step.objects, sound=step.sound)
    if step.fault is not None:
        part = step.fault.part
        message.fault.CopyFrom(
            pb.Fault(
                object_id=part.object_id,
                kind=pb.Fault.Kind.ValueType(step.fault.kind.value),
                role=pb.Fault.Role.ValueType(part.role.value),
                chunk_index=part.chunk_index,
                recipient=part.recipient,
            )
        )
    return message


def _document_id(value: bytes) -> bytes:
    if len(value) != DOCUMENT_ID_BYTES:
        raise ClientError(f"document id: expected {DOCUMENT_ID_BYTES} bytes, got {len(value)}")
    return value


def _name(value: str, what: str) -> str:
    if not 0 < len(value.encode()) <= IDENTITY_ID_BYTES_MAX:
        raise ClientError(f"{what}: expected 1..{IDENTITY_ID_BYTES_MAX} bytes")
    return value


def _object_ids(values: Sequence[bytes]) -> Sequence[bytes]:
    if not 0 < len(values) <= OBJECTS_ASKED_MAX or any(len(each) != ID_BYTES for each in values):
        raise ClientError(f"object ids: expected 1..{OBJECTS_ASKED_MAX} of {ID_BYTES} bytes")
    return values


def _check_version(value: int) -> None:
    if not 0 < value < _VERSION_MAX:
        raise ClientError(f"version: expected 1..{_VERSION_MAX - 1}, got {value}")
