"""Pings of HTTP/2 (RFC 9113, 6.7) at both ports, as frames: a heap is taken, a flood is not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.rpc.peer import PeerTransport
from node.rpc.server import PING_STRIKES_MAX, PeerServer
from tests.unit.rpc.fake_node import DEADLINE_S, running
from tests.unit.rpc.pki import Pki, shared_pki

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ENHANCE_YOUR_CALM = 11
PILED_UP = 32
"""What was sent while a process was kept from running comes to it at once."""


def frame(kind: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, 0]) + bytes(4) + payload


@dataclass
class Answers:
    """What a server said to pings."""

    acknowledged: int = 0
    told_off: tuple[int, bytes] | None = None
    """Error code and words of a GOAWAY."""
    is_closed: bool = False


class NoListener:
    """A peer that hears nothing: no stream is begun here."""

    async def on_messages(self, peer: int, messages: object) -> None:
        raise AssertionError(peer, messages)

    def on_peer(self, peer: int, *, connected: bool) -> None:
        raise AssertionError(peer, connected)

    def on_failure(self, error: Exception) -> None:
        raise error

    def on_refusal(self, reason: str) -> None:
        raise AssertionError(reason)


@asynccontextmanager
async def client_port() -> AsyncIterator[int]:
    async with running(1) as network:
        yield int(network.endpoints[0].address.rpartition(":")[2])


@asynccontextmanager
async def peer_port() -> AsyncIterator[int]:
    pki = shared_pki()
    tls, gatekeeper = pki.validator(1), pki.gatekeeper()
    transport = PeerTransport([], NoListener(), tls=tls, gatekeeper=gatekeeper, jitter=lambda: 0.0)
    server = PeerServer(transport, ["127.0.0.1:0"], tls=tls, gatekeeper=gatekeeper)
    (port,) = await server.start()
    await transport.start()
    try:
        yield port
    finally:
        await transport.stop()
        await server.stop()


PortOf = Callable[[], AbstractAsyncContextManager[int]]
PORTS = pytest.mark.parametrize("port_of", [client_port, peer_port])


def member_context(pki: Pki, folder: Path) -> ssl.SSLContext:
    shown = pki.client()
    certificate, key = folder / "member.pem", folder / "member.key"
    certificate.write_bytes(shown.certificate_pem)
    key.write_bytes(shown.private_key_pem)
    context = ssl.create_default_context(cadata=pki.gatekeeper().roots_pem.decode())
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context


async def ping(port: int, count: int, folder: Path) -> Answers:
    """Send pings at once, on a connection with no call; then see whether it is still served."""
    context = member_context(shared_pki(), folder)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="validator-1"
    )
    answers, settings_taken = Answers(), 0
    try:
        async with asyncio.timeout(DEADLINE_S):
            writer.write(PREFACE + frame(SETTINGS))
            writer.write(b"".join(frame(PING, number.to_bytes(8)) for number in range(count)))
            while settings_taken < 2:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3]))
                kind, is_acknowledgement = head[3], head[4] & 1
                if kind == GOAWAY:
                    answers.told_off = int.from_bytes(payload[4:8]), payload[8:]
                elif kind == SETTINGS:
                    settings_taken += is_acknowledgement
                elif kind == PING and is_acknowledgement:
                    answers.acknowledged += 1
                    if answers.acknowledged == count:
                        writer.write(frame(SETTINGS))
    except (asyncio.IncompleteReadError, ConnectionError):
        answers.is_closed = True
    finally:
        writer.transport.abort()
    return answers


@PORTS
async def test_pings_that_piled_up_cost_nobody_the_connection(
    port_of: PortOf, tmp_path: Path
) -> None:
    """Found by half an hour of tests.outside.gateway_fuzz: four at once were taken for a flood."""
    async with port_of() as port:
        assert await ping(port, PILED_UP, tmp_path) == Answers(acknowledged=PILED_UP)


@PORTS
async def test_a_flood_of_pings_ends_the_connection(port_of: PortOf, tmp_path: Path) -> None:
    async with port_of() as port:
        answers = await ping(port, PING_STRIKES_MAX + 2, tmp_path)  # the first is no strike
    assert answers.told_off == (ENHANCE_YOUR_CALM, b"too_many_pings")
    assert answers.is_closed
