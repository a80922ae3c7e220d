"""The HTTP server: what it answers, what it refuses, and that nobody keeps it waiting."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from node.errors import ClientError, ConfigError, InvariantViolation
from node.web import server as server_module
from node.web.app import make_app, read_body
from node.web.health import Vitals, routes
from node.web.server import HEAD_BYTES_MAX, HttpServer
from tests.unit.web.http_client import HOST, ask, exchange, serving

READY = Vitals(is_ready=True, health="READY", detail="", height=7, time_ms=1_700_000_000_000)


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await read_body(request, bytes_max=100))


async def slow_end(_request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    return StreamingResponse(pieces())


async def client_error(_request: Request) -> PlainTextResponse:
    raise ClientError("not so", code="GC-2203")


async def refusal(_request: Request) -> PlainTextResponse:
    raise HTTPException(429, "too often", headers={"Retry-After": "3"})


async def broken(_request: Request) -> PlainTextResponse:
    raise InvariantViolation("secret inner detail")


LONG = bytes(16_000_000)
"""More than the buffers of both ends of a connection take."""


async def long_answer(_request: Request) -> Response:
    return Response(LONG)


TRIAL = [
    Route("/long", long_answer),
    Route("/echo", echo, methods=["POST"]),
    Route("/slow-end", slow_end, methods=["POST"]),
    Route("/error", client_error),
    Route("/refusal", refusal),
    Route("/broken", broken),
]


async def test_health_is_told_and_not_cached() -> None:
    found = [READY]
    async with serving(routes(lambda: found[0])) as served:
        reply = await ask(served.port, "/healthz")
        assert reply.status == 200
        assert json.loads(reply.body) == {
            "health": "READY", "detail": "", "height": 7, "time_ms": 1_700_000_000_000
        }  # fmt: skip
        assert reply.headers["cache-control"] == "no-store"
        assert "server" not in reply.headers
        found[0] = Vitals(is_ready=False, health="STARTING", detail="why", height=0, time_ms=0)
        reply = await ask(served.port, "/healthz")
        assert (reply.status, json.loads(reply.body)["detail"]) == (503, "why")


async def test_a_body_is_read_up_to_its_bound_however_it_comes() -> None:
    async with serving(TRIAL) as served:
        reply = await ask(served.port, "/echo", method="POST", body=b"x" * 100)
        assert (reply.status, reply.body) == (200, b"x" * 100)
        assert (await ask(served.port, "/echo", method="POST", body=b"x" * 101)).status == 413
        chunked = b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        chunked += b"Transfer-Encoding: chunked\r\n\r\n"
        chunks = [b"40\r\n" + b"x" * 64 + b"\r\n"] * 3
        assert b" 413 " in (await exchange(served.port, chunked, *chunks)).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("path", "status", "code", "detail"),
    [
        ("/error", 400, "GC-2203", "not so"),
        ("/refusal", 429, "GC-2001", "too often"),
        ("/nowhere", 404, "GC-2001", "Not Found"),
        ("/echo", 405, "GC-2001", "Method Not Allowed"),
    ],
)
async def test_a_refusal_says_why_under_a_code(
    path: str, status: int, code: str, detail: str
) -> None:
    async with serving(TRIAL) as served:
        reply = await ask(served.port, path)
        assert reply.status == status
        assert reply.headers["content-type"] == "application/problem+json"
        assert json.loads(reply.body) == {"status": status, "detail": detail, "code": code}
        assert served.failures == []
        assert ("retry-after" in reply.headers) == (path == "/refusal")


async def test_what_fails_in_the_node_is_told_to_the_node_alone() -> None:
    async with serving(TRIAL) as served:
        reply = await ask(served.port, "/broken")
        assert (reply.status, b"secret" in reply.body) == (500, False)
        assert [type(each) for each in served.failures] == [InvariantViolation]


async def test_a_head_over_its_bound_is_refused() -> None:
    async with serving(TRIAL) as served:
        long = b"GET /error HTTP/1.1\r\nHost: a\r\nX: " + b"x" * HEAD_BYTES_MAX
        assert (await exchange(served.port, long)).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /error HTTP/1.1\r\nHo",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /error HTT",
    ],
    ids=["nothing", "half a head", "half a body", "a second one begun"],
)
async def test_who_keeps_it_waiting_is_cut_off(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_MS_MAX", 50)
    monkeypatch.setattr(server_module, "IDLE_MS_MAX", 1_000)
    async with serving(TRIAL) as served:
        try:
            got = await exchange(served.port, begun)
        except ConnectionResetError:
            got = b""
        assert got.count(b"HTTP/1.1 200") == begun.count(b"xGET")


async def test_a_byte_now_and_then_wins_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REQUEST_MS_MAX", 200)
    async with serving(TRIAL) as served:
        reader, writer = await asyncio.open_connection(HOST, served.port)
        drip = asyncio.get_running_loop().create_task(_drip(writer))
        with pytest.raises(ConnectionError):
            require_some(await asyncio.wait_for(reader.read(), 10))
        drip.cancel()
        writer.close()


def require_some(got: bytes) -> None:
    """Take both ends of a connection that is cut off for one: an error, or not a byte."""
    if not got:
        raise ConnectionError


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /error HTTP/1.1\r\nX: ")
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)


async def test_one_connection_too_many_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 2)
    async with serving(TRIAL) as served:
        held = [await asyncio.open_connection(HOST, served.port) for _ in range(2)]
        try:
            with pytest.raises(ConnectionError):
                require_some(await exchange(served.port, b"GET /error HTTP/1.1\r\n"))
        finally:
            for _, writer in held:
                writer.close()


async def test_it_stops_whoever_is_connected_and_leaves_the_signals_alone() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    async with serving(TRIAL) as served:
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
        _, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
        await writer.drain()
        await asyncio.wait_for(served.server.stop(), 5)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, served.port)
        assert served.failures == []
        writer.close()


async def test_an_address_in_use_is_told_as_such() -> None:
    async with serving() as served:
        again = HttpServer(make_app([], _never), HOST, served.port, on_end=_never)
        with pytest.raises(ConfigError, match="cannot listen") as caught:
            await again.start()
        assert caught.value.code == "GC-2204"


def _never(error: Exception) -> None:
    raise AssertionError(error)


CHUNKED = b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_CHUNK = b"tion: keep-alive\r\n"


async def test_a_body_that_is_none_is_the_callers_fault_alone() -> None:
    """Found by tests.fuzz.endpoints: both were told as failures of the node."""
    async with serving(TRIAL) as served:
        answer = await exchange(served.port, CHUNKED % b"/echo" + NO_CHUNK)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert served.failures == []


async def test_a_body_that_breaks_off_during_the_answer_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(TRIAL) as served:
        reader, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(CHUNKED % b"/slow-end")
        assert (await reader.readuntil(b"begun")).startswith(b"HTTP/1.1 200 ")
        writer.write(NO_CHUNK)
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert served.failures == []
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


async def test_who_leaves_in_the_middle_of_a_request_is_no_failure() -> None:
    async with serving(TRIAL) as served:
        _, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(CHUNKED % b"/echo" + b"5\r\nabc")
        await writer.drain()
        writer.transport.abort()
        assert (await ask(served.port, "/echo", method="POST", body=b"x")).status == 200
        await served.server.stop()
        assert served.failures == []


def _connect_and_read_nothing(port: int, requests: int) -> socket.socket:
    """Ask for a long answer so often on a connection, and take none of it."""
    asking = socket.create_connection((HOST, port), timeout=10)
    asking.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n" * requests)
    return asking


@pytest.mark.parametrize("requests", [1, 2])
async def test_who_takes_nothing_of_an_answer_does_not_hold_a_connection(
    monkeypatch: pytest.MonkeyPatch, requests: int
) -> None:
    """Two requests at once: the second answer waited for the first to go out, and for ever."""
    monkeypatch.setattr(server_module, "TAKING_MS", 100)
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 1)
    async with serving(TRIAL) as served:
        with _connect_and_read_nothing(served.port, requests) as asking:
            async with asyncio.timeout(20):
                while not await _is_served(served.port):
                    pass  # each is turned away while the other holds the only place
            assert _drain(asking) < requests * len(LONG)
        assert served.failures == []


async def test_who_takes_an_answer_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was cut off 15 s after the last of it was handed to the system."""
    monkeypatch.setattr(server_module, "IDLE_MS_MAX", 50)
    monkeypatch.setattr(server_module, "REQUEST_MS_MAX", 50)
    monkeypatch.setattr(server_module, "TAKING_MS", 400)
    async with serving(TRIAL) as served:
        reader, writer = await asyncio.open_connection(HOST, served.port)
        writer.write(b"GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        taken, loop = 0, asyncio.get_running_loop()
        ends_s = loop.time() + 0.5  # so long a link takes for the answer, beyond all patience
        while piece := await reader.read(65_536):
            taken += len(piece)
            left = max(len(LONG) - taken, 1)
            await asyncio.sleep((ends_s - loop.time()) * len(piece) / left)
        assert taken == len(LONG)
        writer.close()


async def _is_served(port: int) -> bool:
    try:
        return (await ask(port, "/echo", method="POST", body=b"x")).status == 200
    except (ConnectionError, IndexError):
        return False


def _drain(connection: socket.socket) -> int:
    """Return how much more comes until the other side has closed."""
    taken = 0
    with suppress(ConnectionError):
        while piece := connection.recv(1_048_576):
            taken += len(piece)
    return taken


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("localhost", {"127.0.0.1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("::", {"127.0.0.1", "::1"}),
    ],
)
async def test_it_listens_where_it_is_told_to(host: str, reached: set[str]) -> None:
    """Of [::], the other ports of a node took IPv4 too, this one did not."""
    server = HttpServer(make_app([TRIAL], _never), host, 0, on_end=_never)
    try:
        port = await server.start()
    except ConfigError as error:
        pytest.skip(f"no IPv6 on this machine's loopback: {error}")
    try:
        assert {each for each in ("127.0.0.1", "::1") if _is_reached(each, port)} == reached
    finally:
        await server.stop()


def _is_reached(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True
