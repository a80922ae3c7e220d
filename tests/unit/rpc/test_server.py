"""What the client port shows to any gRPC client: health, reflection, bounds, refusals, stopping."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from node.errors import ConfigError, StorageError
from node.rpc.guard import CHAIN_ID_KEY, CODE_KEY
from node.rpc.identity import TlsIdentity, channel_credentials
from node.rpc.pb import ledger_pb2 as pb
from node.rpc.pb.ledger_pb2_grpc import LedgerStub
from node.rpc.port import BATCH_TXS_MAX, BATCHES_OUTSTANDING_MAX
from node.rpc.server import LEDGER_SERVICE, ClientServer
from tests.unit.rpc.fake_node import DEADLINE_S, FakeNetwork, running
from tests.unit.rpc.pki import CHAIN_ID

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def connected(network: FakeNetwork) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to the first validator, as any gRPC tool would open it."""
    credentials = channel_credentials(network.pki.client(), network.pki.gatekeeper().roots_pem)
    async with grpc.aio.secure_channel(network.endpoints[0].address, credentials) as channel:
        yield channel


async def check_health(channel: grpc.aio.Channel, service: str = "") -> int:
    """Return what the standard health service says, as a supervisor would ask."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    return (await check(health_pb2.HealthCheckRequest(service=service))).status


async def test_health_is_serving_only_while_the_node_is_ready() -> None:
    async with running(1) as network, connected(network) as channel:
        for service in ("", LEDGER_SERVICE):
            for ready, status in ((None, NOT_SERVING), (True, SERVING), (False, NOT_SERVING)):
                if ready is not None:
                    await network.servers[0].set_ready(ready=ready)
                assert await check_health(channel, service) == status


async def test_health_can_be_watched() -> None:
    async with running(1) as network, connected(network) as channel:
        method = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        watch = method(health_pb2.HealthCheckRequest())
        seen = []
        async for response in watch:
            seen.append(response.status)
            if response.status == SERVING:
                break
            await network.servers[0].set_ready(ready=True)
        assert seen == [NOT_SERVING, SERVING]
        watch.cancel()


async def test_reflection_lists_what_is_served() -> None:
    async with running(1) as network, connected(network) as channel:
        method = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        questions = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=LEDGER_SERVICE),
        ]
        listed, described = [answer async for answer in method(iter(questions))]
        assert {service.name for service in listed.list_services_response.service} == {
            "govchain.ledger.v1.Ledger",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        files = described.file_descriptor_response.file_descriptor_proto
        assert any(b"SubmitStream" in file for file in files)


async def test_nobody_gets_in_without_a_certificate() -> None:
    async with running(1) as network:
        credentials = grpc.ssl_channel_credentials(network.pki.gatekeeper().roots_pem)
        address = network.endpoints[0].address
        async with grpc.aio.secure_channel(address, credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await check_health(channel)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await LedgerStub(channel).GetStatus(pb.GetStatusRequest())


async def test_an_error_carries_its_code() -> None:
    async with running(1) as network, connected(network) as channel:
        stub = LedgerStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetReceipt(pb.GetReceiptRequest())
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert dict(refused.value.trailing_metadata())[CODE_KEY] == "GC-2001"
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await stub.GetBlock(pb.GetBlockRequest(height=7))
        assert missing.value.code() is grpc.StatusCode.NOT_FOUND
        assert missing.value.details() == "no block 7 here"
        with pytest.raises(grpc.aio.AioRpcError) as elsewhere:
            await stub.GetStatus(pb.GetStatusRequest(), metadata=((CHAIN_ID_KEY, "another"),))
        assert elsewhere.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert CHAIN_ID.hex() in str(elsewhere.value.details())
        assert network.failures == []


UNKNOWN_FIELD = b"\x98\x06\x01"  # number 99, the integer 1


async def test_a_request_with_an_unknown_field_is_refused() -> None:
    async with running(1) as network, connected(network) as channel:
        stub = LedgerStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetStatus(pb.GetStatusRequest.FromString(UNKNOWN_FIELD))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        whole = "govchain.ledger.v1.GetStatusRequest: field 99 is unknown"
        assert refused.value.details() == whole
        inner = pb.GetReceiptRequest.Operation.FromString(UNKNOWN_FIELD)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetReceipt(pb.GetReceiptRequest(operation=inner))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        part = "govchain.ledger.v1.GetReceiptRequest.Operation: field 99 is unknown"
        assert refused.value.details() == part
        assert network.failures == []


async def test_an_unknown_field_ends_a_stream() -> None:
    async with running(1) as network, connected(network) as channel:
        batch = pb.SubmitBatch(batch_id=1, transactions=[b"tx"]).SerializeToString() + UNKNOWN_FIELD
        stream: grpc.aio.StreamStreamCall[pb.SubmitBatch, pb.SubmitBatchReply] = LedgerStub(
            channel
        ).SubmitStream(timeout=DEADLINE_S)
        await stream.write(pb.SubmitBatch.FromString(batch))
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await stream.details() == "govchain.ledger.v1.SubmitBatch: field 99 is unknown"
        assert network.failures == []


async def test_a_fault_of_the_node_is_reported_without_its_details() -> None:
    async with running(1) as network, connected(network) as channel:
        network.nodes[0].broken = StorageError("sector 7 is unreadable")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await LedgerStub(channel).GetStatus(pb.GetStatusRequest())
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert "sector" not in str(failed.value.details())
        assert dict(failed.value.trailing_metadata())[CODE_KEY] == "GC-3001"
        assert network.failures == [network.nodes[0].broken]


async def test_a_method_that_does_not_exist_is_said_to_be_so() -> None:
    async with running(1) as network, connected(network) as channel:
        missing = channel.unary_unary(
            f"/{LEDGER_SERVICE}/Missing",
            pb.GetStatusRequest.SerializeToString,
            pb.Status.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await missing(pb.GetStatusRequest())
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_no_more_batches_are_read_than_may_be_outstanding() -> None:
    async with running(1) as network, connected(network) as channel:
        network.ledger.held = True
        stream: grpc.aio.StreamStreamCall[pb.SubmitBatch, pb.SubmitBatchReply] = LedgerStub(
            channel
        ).SubmitStream(timeout=DEADLINE_S)
        count = BATCHES_OUTSTANDING_MAX + 8
        for number in range(count):
            await stream.write(pb.SubmitBatch(batch_id=number, transactions=[b"%d" % number]))
        for number in range(BATCHES_OUTSTANDING_MAX):
            reply = await stream.read()
            assert isinstance(reply, pb.SubmitBatchReply)
            assert (reply.batch_id, list(reply.admissions.codes)) == (number, [pb.ACCEPTED])
        network.ledger.held = False
        network.ledger.commit()
        await stream.done_writing()
        finals = [reply.batch_id async for reply in read_all(stream) if reply.HasField("final")]
        assert sorted(finals) == list(range(count))
        assert network.nodes[0].tickets_open_max == BATCHES_OUTSTANDING_MAX
        assert network.ledger.tickets == []


async def read_all(
    stream: grpc.aio.StreamStreamCall[pb.SubmitBatch, pb.SubmitBatchReply],
) -> AsyncIterator[pb.SubmitBatchReply]:
    while isinstance(reply := await stream.read(), pb.SubmitBatchReply):
        yield reply


@pytest.mark.parametrize("size", [0, BATCH_TXS_MAX + 1])
async def test_a_batch_beyond_the_bounds_ends_the_stream(size: int) -> None:
    async with running(1) as network, connected(network) as channel:
        stream: grpc.aio.StreamStreamCall[pb.SubmitBatch, pb.SubmitBatchReply] = LedgerStub(
            channel
        ).SubmitStream(timeout=DEADLINE_S)
        await stream.write(pb.SubmitBatch(batch_id=1, transactions=[b"tx"] * size))
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await stream.details() == f"batch: expected 1..1000 transactions, got {size}"


async def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    async with running(1) as network:
        network.ledger.held = True
        async with connected(network) as channel:
            stream: grpc.aio.StreamStreamCall[pb.SubmitBatch, pb.SubmitBatchReply] = LedgerStub(
                channel
            ).SubmitStream(timeout=DEADLINE_S)
            await stream.write(pb.SubmitBatch(batch_id=1, transactions=[b"tx"]))
            await stream.read()
            assert len(network.ledger.tickets) == 1
        ticket = network.ledger.tickets[0]
        async with asyncio.timeout(DEADLINE_S):
            await ticket.closed.wait()
        assert network.ledger.tickets == []
        assert network.failures == []


async def test_an_answer_need_not_be_waited_for() -> None:
    async with running(1) as network, connected(network) as channel:
        network.ledger.held = True
        reply = await LedgerStub(channel).Submit(pb.SubmitRequest(transactions=[b"tx"]))
        assert list(reply.admissions.codes) == [pb.ACCEPTED]
        assert list(reply.results) == []


async def test_stopping_lets_calls_under_way_end() -> None:
    async with running(1) as network, connected(network) as channel:
        network.ledger.held = True
        request = pb.SubmitRequest(transactions=[b"tx"], wait_ms=10_000)
        call = LedgerStub(channel).Submit(request)
        await network.ledger.until(lambda: network.ledger.pending == [b"tx"])
        stopping = asyncio.create_task(network.servers[0].stop(10_000))
        network.ledger.commit()
        assert [result.height for result in (await call).results] == [1]
        await stopping


def make_server(network: FakeNetwork, address: str, tls: TlsIdentity | None = None) -> ClientServer:
    return ClientServer(
        network.nodes[0],
        [address],
        tls=tls or network.pki.validator(1),
        gatekeeper=network.pki.gatekeeper(),
        chain_id=CHAIN_ID,
        on_failure=network.failures.append,
    )


async def test_a_port_in_use_is_said_to_be_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = make_server(FakeNetwork(1), f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match="Address already in use") as refused:
            await server.start()
        assert refused.value.code == "GC-2204"
        await server.stop(0)


async def test_two_processes_do_not_share_a_port() -> None:
    async with running(1) as network:
        second = make_server(network, network.endpoints[0].address)
        with pytest.raises(ConfigError, match="Address already in use"):
            await second.start()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("no.such.host.invalid:0", "not known|resolution"),
    ],
)
async def test_an_address_of_another_machine_is_said_to_be_so(address: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        await make_server(FakeNetwork(1), address).start()


async def test_a_key_of_another_certificate_is_said_to_be_so() -> None:
    network = FakeNetwork(1)
    certificate, key = network.pki.validator(1), network.pki.validator(2)
    mixed = TlsIdentity(certificate.certificate_pem, key.private_key_pem)
    with pytest.raises(ConfigError, match="do not fit together"):
        await make_server(network, "127.0.0.1:0", mixed).start()


async def test_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine's loopback: {error}")
    async with running(1, "::1") as network, network.client() as client:
        [outcome] = await client.submit([b"tx"])
        assert outcome.final().height == 1


async def test_what_is_no_message_is_the_callers_fault() -> None:
    """Found by tests.fuzz.endpoints: gRPC answered UNKNOWN, and wrote a traceback for each."""
    async with running(1) as network, connected(network) as channel:
        ask: Any = channel.unary_unary("/govchain.ledger.v1.Ledger/GetStatus")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(b"\x9b\x86\xd7")
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "request: Error parsing message" in (refused.value.details() or "")
        submit: Any = channel.stream_stream("/govchain.ledger.v1.Ledger/SubmitStream")
        stream = submit(iter([b"\x08\xff"]))
        with pytest.raises(grpc.aio.AioRpcError):
            await stream.read()
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert network.failures == []
