"""No client alone, with a certificate or without, keeps others out or fills a node's memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
import pytest

from node.rpc import api as api_module
from node.rpc import guard as guard_module
from node.rpc import server as server_module
from node.rpc.client import LedgerClient, NetworkUnavailable
from node.rpc.identity import TlsIdentity
from node.rpc.pb import ledger_pb2 as pb
from node.rpc.peer import PeerTransport
from node.rpc.port import Health
from node.rpc.server import PeerServer
from node.rpc.shares import Shares
from tests.network.test_transport import Ear
from tests.unit.rpc.fake_node import DEADLINE_S, FakeNetwork, running

TWO_TOGETHER = pb.SubmitRequest(transactions=[b"a", b"b"], wait_ms=int(1_000 * DEADLINE_S))


async def has_place(client: LedgerClient) -> bool:
    try:
        await client.status()
    except NetworkUnavailable:
        return False
    return True


async def test_one_identity_leaves_calls_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "CALLS_OF_ONE_MAX", 3)
    async with running(1) as network:
        async with network.client() as greedy, network.client(tls=other(network)) as modest:
            stub = greedy.connections.stub(network.endpoints[0])
            held = [stub.Subscribe(pb.SubscribeRequest()) for _ in range(3)]
            for stream in held:
                await stream.read()
            for _ in range(2):  # what is refused takes no place
                with pytest.raises(NetworkUnavailable, match=r"agency-1: expected at most 3 calls"):
                    await greedy.status()
            assert (await modest.status()).health is Health.READY
            held[0].cancel()
            async with asyncio.timeout(DEADLINE_S):
                while not await has_place(greedy):
                    pass
        assert network.failures == []


async def test_one_identity_waits_for_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "WAITED_FOR_BY_ONE_MAX", 3)
    async with running(1) as network:
        network.ledger.held = True
        async with network.client() as greedy, network.client(tls=other(network)) as modest:
            stub = greedy.connections.stub(network.endpoints[0])
            stream = stub.SubmitStream()
            await stream.write(pb.SubmitBatch(batch_id=1, transactions=[b"a", b"c"]))
            await stream.read()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Submit(TWO_TOGETHER)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert len(network.ledger.tickets) == 1
            waiting = asyncio.ensure_future(
                modest.connections.stub(network.endpoints[0]).Submit(TWO_TOGETHER)
            )
            await network.ledger.until(lambda: len(network.ledger.tickets) == 2)
            network.ledger.commit()
            assert len((await waiting).results) == 2
            report = await stream.read()
            assert isinstance(report, pb.SubmitBatchReply)
            assert len(report.final.results) == 2
            for _ in range(3):  # what is final, or was broken off, counts no more
                assert len((await stub.Submit(TWO_TOGETHER)).admissions.codes) == 2
            stream.cancel()
        assert network.ledger.tickets == []


async def test_a_submission_that_fails_takes_no_share() -> None:
    shares = Shares(2)
    assert shares.take("a", 2)
    assert not shares.take("a", 1)
    assert shares.take("b", 2)
    shares.give_back("a", 2)
    with shares.one("a") as has_one, shares.one("b") as has_another:
        assert (has_one, has_another) == (True, False)
    shares.give_back("b", 2)
    assert len(shares) == 0


def other(network: FakeNetwork) -> TlsIdentity:
    return network.pki.client("agency-2", authority=network.pki.authorities["org-2"])


@asynccontextmanager
async def peer_port() -> AsyncIterator[int]:
    network = FakeNetwork(1)
    transport = PeerTransport(
        (),
        Ear(),
        tls=network.pki.validator(1),
        gatekeeper=network.pki.gatekeeper(),
        jitter=lambda: 0.5,
    )
    server = PeerServer(
        transport,
        ["127.0.0.1:0"],
        tls=network.pki.validator(1),
        gatekeeper=network.pki.gatekeeper(),
    )
    [port] = await server.start()
    try:
        yield port
    finally:
        await server.stop()


@asynccontextmanager
async def client_port() -> AsyncIterator[int]:
    async with running(1) as network:
        yield int(network.endpoints[0].address.rpartition(":")[2])


@pytest.mark.parametrize(
    ("options", "listening"),
    [("_PEER_OPTIONS", peer_port), ("_CLIENT_OPTIONS", client_port)],
)
async def test_strangers_hold_so_many_connections_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    listening: Callable[[], AbstractAsyncContextManager[int]],
) -> None:
    """A connection takes a file, and a node that cannot open another one ends."""
    stated = dict(getattr(server_module, options))
    assert stated["grpc.server_handshake_timeout_ms"] == server_module.HANDSHAKE_MS_MAX
    stated |= {
        "grpc.server_handshake_timeout_ms": 500,
        "grpc.max_allowed_incoming_connections": 4,
    }
    monkeypatch.setattr(server_module, options, tuple(stated.items()))
    async with listening() as port:
        ends = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        ended = [asyncio.ensure_future(reader.read()) for reader, _ in ends]
        async with asyncio.timeout(DEADLINE_S):
            while sum(each.done() for each in ended) < 6:
                await asyncio.wait(
                    [each for each in ended if not each.done()],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            held = [each for each in ended if not each.done()]
            assert len(held) == 4  # until they have not shown in time who they are
            await asyncio.gather(*ended, return_exceptions=True)
        for _, writer in ends:
            writer.close()
