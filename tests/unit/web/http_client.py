"""A web server on loopback for a test, and the plainest client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from node.web.app import Routes, make_app
from node.web.server import HttpServer

HOST = "127.0.0.1"


@dataclass
class Served:
    """A running server, and what its failure ports were told."""

    port: int
    server: HttpServer
    failures: list[Exception]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def serving(*subjects: Routes) -> AsyncIterator[Served]:
    failures: list[Exception] = []
    server = HttpServer(make_app(subjects, failures.append), HOST, 0, on_end=failures.append)
    port = await server.start()
    try:
        yield Served(port, server, failures)
    finally:
        await server.stop()


async def exchange(port: int, *pieces: bytes) -> bytes:
    """Send bytes on a connection of their own; return all that comes until the server closes it."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def ask(
    port: int,
    path: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Sequence[str] = (),
) -> Reply:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    got = await exchange(port, "\r\n".join((*lines, "", "")).encode() + body)
    head, _, content = got.partition(b"\r\n\r\n")
    status_line, *fields = head.decode().split("\r\n")
    found = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    return Reply(int(status_line.split()[1]), found, content)
