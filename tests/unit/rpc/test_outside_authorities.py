"""Authorities of others at TLS: gRPC's library believes whoever the profile lets certify."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from node.crypto.certificate_algorithms import SIGNATURE_ALGORITHMS, SM2
from node.crypto.certificate_profile import CertificateIdentity
from node.rpc.identity import Gatekeeper, TlsIdentity, channel_credentials, server_credentials
from tests.unit.crypto.openssl_authority import NOT_TAKEN, TAKEN, Issued, issue
from tests.unit.rpc.fake_node import DEADLINE_S
from tests.unit.rpc.pki import now_ms, shared_pki

SERVICE: Final = "test.Identity"
METHOD: Final = "Who"
SCHEMES: Final = {
    "P-256 with SHA-256": 0x0403,
    "P-384 with SHA-384": 0x0503,
    "RSA with SHA-256": 0x0401,
    "RSA with SHA-384": 0x0501,
    "RSA with SHA-512": 0x0601,
    "RSA-PSS with SHA-256": 0x0804,
    "RSA-PSS with SHA-384": 0x0805,
    "RSA-PSS with SHA-512": 0x0806,
}
"""The numbers of TLS (RFC 8446 section 4.2.3)."""
RSA_WITH_SHA_1: Final = 0x0201
SIGNATURE_ALGORITHMS_EXTENSION: Final = 13


async def call_with(issued: Issued) -> list[CertificateIdentity]:
    """Call a server, both showing what was issued; return whom the server took the caller for."""
    tls = TlsIdentity(issued.member, issued.member_key)
    own = shared_pki().authorities["org-1"].certificate
    gatekeeper = Gatekeeper({"org-1": (own, issued.authority)}, now_ms)
    callers: list[CertificateIdentity] = []

    async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        callers.append(gatekeeper.identify(context.auth_context()))
        return request

    server = grpc.aio.server()
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        METHOD: grpc.unary_unary_rpc_method_handler(answer)
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_secure_port("localhost:0", server_credentials(tls, gatekeeper))
    await server.start()
    try:
        credentials = channel_credentials(tls, gatekeeper.roots_pem)
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            ask: Any = channel.unary_unary(f"/{SERVICE}/{METHOD}")
            assert await ask(b"who?", timeout=DEADLINE_S) == b"who?"
    finally:
        await server.stop(None)
    return callers


@pytest.mark.parametrize("name", TAKEN)
async def test_who_is_certified_gets_through_a_handshake(tmp_path: Path, name: str) -> None:
    (caller,) = await call_with(issue(tmp_path, TAKEN[name]))
    assert (caller.identity_id, caller.organisation) == ("validator-1", "org-1")


async def test_who_is_certified_by_one_that_is_not_taken_does_not(tmp_path: Path) -> None:
    """Ed25519 TLS would take: it is the profile that lets it certify nobody."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call_with(issue(tmp_path, NOT_TAKEN["Ed25519"]))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def offered_by_grpc() -> set[int]:
    """Return the signature schemes that gRPC's library offers in its first message."""
    shown: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(5)
        record = await reader.readexactly(int.from_bytes(header[3:], "big"))
        if not shown.done():
            shown.set_result(record)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    address = "{}:{}".format(*server.sockets[0].getsockname())
    credentials = grpc.ssl_channel_credentials(shared_pki().gatekeeper().roots_pem)
    async with server, grpc.aio.secure_channel(address, credentials) as channel:
        channel.get_state(try_to_connect=True)
        hello = await asyncio.wait_for(shown, DEADLINE_S)
    return schemes_of(hello)


def schemes_of(hello: bytes) -> set[int]:
    """Return what a ClientHello (RFC 8446 section 4.1.2) says of signatures."""
    at = 4 + 2 + 32  # its header, a version, and random bytes
    at += 1 + hello[at]  # the session
    at += 2 + int.from_bytes(hello[at : at + 2], "big")  # ciphers
    at += 1 + hello[at] + 2  # compression, and the length of all extensions
    while at < len(hello):
        kind, size = struct.unpack_from(">HH", hello, at)
        at += 4
        if kind == SIGNATURE_ALGORITHMS_EXTENSION:
            return set(struct.unpack_from(f">{size // 2 - 1}H", hello, at + 2))
        at += size
    raise AssertionError("no signature algorithms are offered")


async def test_the_profile_takes_what_grpc_offers_but_sha_1() -> None:
    of_tls = [each.name for each in SIGNATURE_ALGORITHMS if each.key_algorithm is not SM2]
    assert {SCHEMES[each] for each in of_tls} == await offered_by_grpc() - {RSA_WITH_SHA_1}
