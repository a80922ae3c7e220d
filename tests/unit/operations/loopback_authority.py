"""A time-stamping authority behind HTTP on loopback, which can misbehave on purpose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from node.operations.stamp_client import REPLY_TYPE

Respond = Callable[[BaseHTTPRequestHandler, bytes], None]
"""Answers one request, whose body is given."""


@dataclass
class Serving:
    """A running server. `asked` are the bodies of what came."""

    url: str
    respond: Respond
    asked: list[bytes] = field(default_factory=list)


def granting(answer: Callable[[bytes], bytes]) -> Respond:
    """Return a way to respond with what `answer` makes of a request."""

    def respond(handler: BaseHTTPRequestHandler, request: bytes) -> None:
        send(handler, answer(request))

    return respond


def send(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    *,
    status: int = 200,
    kind: str = REPLY_TYPE,
    location: str | None = None,
) -> None:
    """Send a whole reply."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content)))
    if location is not None:
        handler.send_header("Location", location)
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def serving(respond: Respond) -> Iterator[Serving]:
    """Serve until left; how it responds may be changed meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.asked.append(body)
            state.respond(self, body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Serving(f"http://127.0.0.1:{server.server_port}/tsr", respond)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
