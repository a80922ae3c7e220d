"""A call that the other side says was cancelled is one that failed, and cancels no task of ours."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from node.rpc.client import LedgerClient, LedgerEndpoint, NetworkUnavailable
from node.rpc.identity import server_credentials
from node.rpc.server import LEDGER_SERVICE
from tests.unit.rpc.fake_node import DEADLINE_S
from tests.unit.rpc.pki import CHAIN_ID, shared_pki


async def cancel(_request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    """Answer by the status that a cancelled task of ours would show."""
    await context.abort(grpc.StatusCode.CANCELLED, "gone")


METHODS: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
    "GetStatus": grpc.unary_unary_rpc_method_handler(cancel),
    "Subscribe": grpc.unary_stream_rpc_method_handler(cancel),
}


async def test_it_is_told_as_a_validator_that_gives_no_answer() -> None:
    pki = shared_pki()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(LEDGER_SERVICE, METHODS),)
    )
    credentials = server_credentials(pki.validator(1), pki.gatekeeper())
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        async with (
            LedgerClient(
                [LedgerEndpoint("validator-1", f"127.0.0.1:{port}")],
                tls=pki.client(),
                roots_pem=pki.gatekeeper().roots_pem,
                chain_id=CHAIN_ID,
            ) as client,
            asyncio.timeout(DEADLINE_S),
        ):
            with pytest.raises(NetworkUnavailable, match="CANCELLED: gone"):
                await client.status()
            with pytest.raises(NetworkUnavailable, match="CANCELLED: gone"):
                await anext(client.blocks(0))
    finally:
        await server.stop(None)
