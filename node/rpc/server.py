"""The two servers of a node: one for its peers, one for clients. Starting and stopping, no more."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from node.errors import ConfigError
from node.limits import PEER_FRAME_BYTES_MAX
from node.rpc.api import LedgerApi
from node.rpc.guard import Guard
from node.rpc.identity import Gatekeeper, TlsSource, server_credentials
from node.rpc.pb import ledger_pb2, vault_pb2
from node.rpc.pb.ledger_pb2_grpc import add_LedgerServicer_to_server
from node.rpc.pb.peer_pb2_grpc import add_PeerServicer_to_server
from node.rpc.pb.vault_pb2_grpc import (
    add_VaultPeerServicer_to_server,
    add_VaultServicer_to_server,
)
from node.rpc.peer import KEEPALIVE_OPTIONS, PeerTransport
from node.rpc.port import (
    REPLY_BYTES_MAX,
    REQUEST_BYTES_MAX,
    NodeApi,
    NoteRefusal,
    ignore_refusal,
)
from node.rpc.strict import Tolerant
from node.rpc.vault import VaultApi, VaultPeerApi
from node.rpc.vault_port import VaultNode

LEDGER_SERVICE: Final = ledger_pb2.DESCRIPTOR.services_by_name["Ledger"].full_name
VAULT_SERVICE: Final = vault_pb2.DESCRIPTOR.services_by_name["Vault"].full_name

CALLS_MAX: Final = 1_024
"""Calls of clients served at once; more are refused with RESOURCE_EXHAUSTED."""

CLIENT_CONNECTIONS_MAX: Final = 1_024
PEER_CONNECTIONS_MAX: Final = 512
"""Held at once on each address, of validators (`VALIDATORS_MAX`), followers and those who fetch
objects; one more is closed as it comes. A connection takes a file, and a node that can open no more
files ends: strangers need no certificate to connect."""
HANDSHAKE_MS_MAX: Final = 10_000
"""Within which who connects must have shown who it is. gRPC's own limit is two minutes."""
PEER_IDLE_MS_MAX: Final = 60_000
"""How long a connection of a peer may go without any call."""

PING_STRIKES_MAX: Final = 100
"""Pings that come too soon after another before the connection is ended; what is sent to the
client forgives those before. gRPC's own limit is 2 (GRPC_ARG_HTTP2_MAX_PING_STRIKES in its
doc/keepalive.md). Our clients and peers ping every 10 s (`KEEPALIVE_OPTIONS`), and once after data
they got, to measure the link. But who is kept from running hears at once what was sent meanwhile;
and on streams of peers, where nothing is ever sent back, strikes add up as long as they last."""

_OPTIONS: Final = (
    *KEEPALIVE_OPTIONS,
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", PING_STRIKES_MAX),
    ("grpc.so_reuseport", 0),  # else a second process would silently share the port
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS_MAX),
)
_PEER_OPTIONS: Final = (
    *_OPTIONS,
    ("grpc.max_receive_message_length", PEER_FRAME_BYTES_MAX),
    ("grpc.max_concurrent_streams", 2),  # per connection; one is used
    ("grpc.max_allowed_incoming_connections", PEER_CONNECTIONS_MAX),
    ("grpc.max_connection_idle_ms", PEER_IDLE_MS_MAX),
)
_CLIENT_OPTIONS: Final = (
    *_OPTIONS,
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", REPLY_BYTES_MAX),
    ("grpc.max_concurrent_streams", 128),
    ("grpc.max_allowed_incoming_connections", CLIENT_CONNECTIONS_MAX),
    ("grpc.max_connection_age_ms", 3_600_000),  # certificates are shown again at least hourly
    ("grpc.max_connection_age_grace_ms", 60_000),
)


class PeerServer:
    """Listens for the streams of other validators. `addresses` are `host:port`, port 0 for any."""

    def __init__(
        self,
        transport: PeerTransport,
        addresses: Sequence[str],
        *,
        tls: TlsSource,
        gatekeeper: Gatekeeper,
        vault: VaultPeerApi | None = None,
    ) -> None:
        self._transport, self._vault = transport, vault
        self._addresses = addresses
        self._credentials = partial(server_credentials, tls, gatekeeper)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> tuple[int, ...]:
        """Listen; return the port of each address. Raises `ConfigError` if one is not to be had."""
        server = grpc.aio.server(interceptors=[Tolerant()], options=_PEER_OPTIONS)
        add_PeerServicer_to_server(self._transport, server)
        if self._vault is not None:
            add_VaultPeerServicer_to_server(self._vault, server)
        ports = _bind(server, self._addresses, self._credentials)
        await server.start()
        self._server = server
        return ports

    async def stop(self) -> None:
        """Stop listening and end the streams of the peers."""
        if self._server is not None:
            await self._server.stop(None)


class ClientServer:
    """Listens for clients: the client API, the standard health service and reflection.

    It reports NOT_SERVING until `set_ready` says otherwise. `on_failure` learns of every error of
    a call that is not the caller's fault, `note_refusal` of who was not let in or admitted.
    """

    def __init__(
        self,
        node: NodeApi,
        addresses: Sequence[str],
        *,
        tls: TlsSource,
        gatekeeper: Gatekeeper,
        chain_id: bytes,
        on_failure: Callable[[Exception], None],
        vault: VaultNode | None = None,
        note_refusal: NoteRefusal = ignore_refusal,
    ) -> None:
        self._node, self._vault, self._note_refusal = node, vault, note_refusal
        self._addresses = addresses
        self._credentials = partial(server_credentials, tls, gatekeeper)
        self._guard = Guard(gatekeeper, chain_id, on_failure, note_refusal)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> tuple[int, ...]:
        """Listen; return the port of each address. Raises `ConfigError` if one is not to be had."""
        await self.set_ready(ready=False)
        server = grpc.aio.server(
            interceptors=[Tolerant(), self._guard],
            options=_CLIENT_OPTIONS,
            maximum_concurrent_rpcs=CALLS_MAX,
        )
        add_LedgerServicer_to_server(LedgerApi(self._node, self._note_refusal), server)
        if self._vault is not None:
            add_VaultServicer_to_server(VaultApi(self._vault), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        served = [LEDGER_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(
            (*served, *([VAULT_SERVICE] if self._vault is not None else [])), server
        )
        ports = _bind(server, self._addresses, self._credentials)
        await server.start()
        self._server = server
        return ports

    async def set_ready(self, *, ready: bool) -> None:
        """Report through the health service whether this node serves."""
        status = health_pb2.HealthCheckResponse
        for service in (health.OVERALL_HEALTH, LEDGER_SERVICE):
            await self._health.set(service, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace_ms: int) -> None:
        """Refuse new calls, give those under way `grace_ms` to end, then end them."""
        await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(grace_ms / 1_000)


def _bind(
    server: grpc.aio.Server,
    addresses: Sequence[str],
    credentials: Callable[[], grpc.ServerCredentials],
) -> tuple[int, ...]:
    ports = []
    for address in addresses:
        try:
            ports.append(server.add_secure_port(address, credentials()))
        except RuntimeError as error:  # whose message tells nothing
            raise ConfigError(
                f"cannot listen on {address}: {_why_not(address)}",
                code="GC-2204",
                fix="free the port or configure another one; see that tls.pem is of the TLS key",
            ) from error
    return tuple(ports)


def _why_not(address: str) -> str:
    """Say why nothing can listen on an address, by trying to, without TLS."""
    parts = urlsplit(f"//{address}")
    family = socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET
    try:
        with socket.create_server((parts.hostname or "", parts.port or 0), family=family):
            return "its certificate and its key do not fit together"
    except OSError as error:
        return error.strerror or str(error)
