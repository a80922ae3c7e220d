"""The HTTP server of a node: uvicorn inside the validator's own event loop, strictly bounded.

It installs no signal handlers and configures no logs: both are the process's. What it serves is the
application's (app.py). A node's is clear text, where TLS is for a proxy in front of it; a gateway's
is TLS, and its application learns which certificate a connection showed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from node.errors import ConfigError

CONNECTIONS_MAX: Final = 512
"""Held at once; one more is closed as soon as it comes."""
HEAD_BYTES_MAX: Final = 16_384
"""Request line and header fields together."""
REQUEST_MS_MAX: Final = 10_000
"""Within which a request must have come whole; also how long a connection may stay unused."""
IDLE_MS_MAX: Final = 5_000
"""How long a connection may stay unused after an answer."""
TAKING_MS: Final = 60_000
TAKEN_BYTES_MIN: Final = 245_760
"""Of an answer that waits to go out, so much is taken within `TAKING_MS`, 4 KiB a second, or the
connection ends: who never reads would hold it, and its place, for ever."""
STOP_GRACE_MS: Final = 1_000
PEER_CERTIFICATE: Final = "peer_certificate"
"""Of a connection over TLS: what it showed, DER, in the state of its requests; None for nothing."""

_BACKLOG: Final = 128
_ANY_VERSION: Final = "::"
"""All addresses, of IPv4 too, as gRPC takes it for the other ports of a node."""


class HttpServer:
    """Listens on one address and serves one application. `port` 0 takes any that is free."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        on_end: Callable[[Exception], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Serve `app`, over `tls` if given; `on_end` learns of an error that ended the serving."""
        self._app, self._host, self._port = app, host, port
        self._on_end, self._tls = on_end, tls
        self.port = port
        """What it listens on, once it does."""
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; return the port. Raises `ConfigError` where the address is not to be had."""
        listener = self._listen()
        self.port = listener.getsockname()[1]
        tls = self._tls
        self._server = _Server(
            uvicorn.Config(
                self._app,
                http=_BoundedConnection,
                interface="asgi3",
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="error",  # what any caller can provoke at will is not worth a line
                access_log=False,
                proxy_headers=False,  # anybody could claim any address
                server_header=False,
                timeout_keep_alive=IDLE_MS_MAX // 1_000,
                timeout_graceful_shutdown=STOP_GRACE_MS // 1_000,
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
                ssl_context_factory=None if tls is None else lambda _config, _default: tls,
            )
        )
        self._serving = asyncio.get_running_loop().create_task(self._server.serve([listener]))
        self._serving.add_done_callback(self._reap)
        return self.port

    async def stop(self) -> None:
        """Accept no more, let what is under way end for a moment, then end it; may be repeated."""
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await asyncio.wait([self._serving])
        for connection in tuple(self._server.server_state.connections):
            connection.transport.abort()

    def _listen(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            family, _, _, _, address = min(found, key=_is_version_6)
            is_dual = self._host == _ANY_VERSION and socket.has_dualstack_ipv6()
            return socket.create_server(
                address, family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror}",
                code="GC-2204",
                fix="stop the program that uses the port, or configure another http_address",
            ) from error

    def _reap(self, serving: asyncio.Task[None]) -> None:
        error = None if serving.cancelled() else serving.exception()
        if isinstance(error, Exception):
            self._on_end(error)


def _is_version_6(found: tuple[socket.AddressFamily, Any, Any, Any, Any]) -> bool:
    return found[0] is socket.AF_INET6


class _Server(uvicorn.Server):
    """Uvicorn that leaves the signals to the process it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _BoundedConnection(H11Protocol):
    """A connection that ends when its other side keeps the node waiting.

    For a request, it waits from the end of the answer before, as soon as that has gone out; while
    an answer goes out, for so much of it to be taken.
    """

    _patience: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.app_state = {**self.app_state, PEER_CERTIFICATE: tls.getpeercert(binary_form=True)}
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._wait_for_them(REQUEST_MS_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_waiting()
        elif self._patience is None:
            self._wait_for_them(REQUEST_MS_MAX)  # not anew with every byte

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless the head of it was and its answer is under way."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # there is nobody left to answer, as after a lost connection
            cycle.message_event.set()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_taking()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()
        if self._patience is not None:  # which began before the answer had gone out
            self._wait_for_them(IDLE_MS_MAX + REQUEST_MS_MAX)

    def on_response_complete(self) -> None:
        self._wait_for_them(IDLE_MS_MAX + REQUEST_MS_MAX)
        super().on_response_complete()  # may find the next request come already

    def _wait_for_them(self, patience_ms: int) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(patience_ms / 1_000, self._lose_patience)

    def _lose_patience(self) -> None:
        if self._taking is None:  # else the answer before is still on its way
            self.transport.abort()

    def _watch_taking(self) -> None:
        """Look again when some of what waits to go out must have been taken."""
        self._stop_watching()
        waiting_bytes = self.transport.get_write_buffer_size()
        self._taking = self.loop.call_later(TAKING_MS / 1_000, self._judge_taking, waiting_bytes)

    def _judge_taking(self, waited_bytes: int) -> None:
        if waited_bytes - self.transport.get_write_buffer_size() < TAKEN_BYTES_MIN:
            self.transport.abort()
        else:
            self._watch_taking()

    def _stop_watching(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
