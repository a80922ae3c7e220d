"""Objects of the vault from other nodes: asked where their peers connect, on a channel of its own.

Nothing is believed of what they send: whoever asked checks each object by its id. A node that does
not answer, has nothing or breaks off is passed over, and the next is asked for what is left.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import grpc

from node.crypto.envelope import CHUNKS_MAX, SEALED_CHUNK_BYTES_MAX
from node.rpc.identity import Gatekeeper, TlsSource, channel_credentials
from node.rpc.pb import vault_pb2 as pb
from node.rpc.pb.vault_pb2_grpc import VaultPeerStub
from node.rpc.vault_port import OBJECTS_ASKED_MAX
from node.storage.vault_holdings import CHUNK_LIST_BYTES_MAX

ANSWER_TIMEOUT_S: Final = 60.0
"""For one request: who is slower is left, and asked again later. So long may a node hold us up."""
OBJECTS_AT_ONCE: Final = 16

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", max(CHUNK_LIST_BYTES_MAX, SEALED_CHUNK_BYTES_MAX) + 1_024),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class OtherNode:
    """A node that may hold copies."""

    node_id: str
    organisation: str
    addresses: tuple[str, ...]


class NodeSource:
    """Asks other nodes, one after the other. `nodes` tells who there is now."""

    def __init__(
        self,
        nodes: Callable[[], Sequence[OtherNode]],
        tls: TlsSource,
        gatekeeper: Gatekeeper,
    ) -> None:
        self._nodes, self._tls, self._gatekeeper = nodes, tls, gatekeeper

    async def fetch(
        self, organisations: Sequence[str], document_id: bytes, version: int, ids: Sequence[bytes]
    ) -> AsyncGenerator[bytes]:
        """Yield objects that nodes of these organisations give, the first organisation's first.

        More than what is left may be asked for again at the next node: who keeps what was wanted
        knows, and this does not.
        """
        left = dict.fromkeys(ids)
        places = {organisation: place for place, organisation in enumerate(organisations)}
        able = [node for node in self._nodes() if node.organisation in places]
        for node in sorted(able, key=lambda each: places[each.organisation]):
            for address in node.addresses:
                if not left:
                    return
                async for object_id, data in self._from(node, address, document_id, version, left):
                    left.pop(object_id, None)
                    yield data

    async def _from(
        self,
        node: OtherNode,
        address: str,
        document_id: bytes,
        version: int,
        left: dict[bytes, None],
    ) -> AsyncGenerator[tuple[bytes, bytes]]:
        """Yield what one node gives of what is left, each with the id it was asked for by."""
        roots_pem = self._gatekeeper.root_pem(node.organisation)
        if not roots_pem:
            return
        target = ("grpc.ssl_target_name_override", node.node_id)
        credentials = channel_credentials(self._tls, roots_pem)
        async with grpc.aio.secure_channel(address, credentials, (*_OPTIONS, target)) as channel:
            stub = VaultPeerStub(channel)
            ids = [*left]
            for first in range(0, min(len(ids), 2 * CHUNKS_MAX), OBJECTS_AT_ONCE):
                asked = ids[first : first + min(OBJECTS_AT_ONCE, OBJECTS_ASKED_MAX)]
                request = pb.GetObjectsRequest(
                    document_id=document_id, version=version, object_ids=asked
                )
                try:
                    place = 0
                    async for found in stub.GetObjects(request, timeout=ANSWER_TIMEOUT_S):
                        if place == len(asked):
                            return  # more than was asked for
                        if found.data:
                            yield asked[place], found.data
                        place += 1
                except grpc.aio.AioRpcError:
                    return
