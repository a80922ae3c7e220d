"""A time-stamping authority over HTTP on loopback, of fixed keys and with the clock it is given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from node.timestamp.tokens.issuing import Coordinates, Stamp, encode_granted
from node.timestamp.tokens.request import TimeStampRequest
from tests.vectors.evidence.authorities import Tsa


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class StampingServer:
    """Stamps whatever it is asked to."""

    def __init__(self, tsa: Tsa, clock: Callable[[], int] = now_ms) -> None:
        self.tsa, self.clock = tsa, clock
        self.asked = 0
        self.issue: Callable[[Stamp], bytes] | None = None
        """What stamps instead of the authority."""
        self.answers: bytes | None = None
        """What it says instead."""

    def answer(self, request: TimeStampRequest) -> bytes:
        self.asked += 1
        if self.answers is not None:
            return self.answers
        stamp = Stamp(
            imprint=request.imprint,
            coordinates=Coordinates(bytes(7), height=1, log_index=1),
            time_ms=self.clock(),
            nonce=request.nonce,
            has_certificates=request.wants_certificates,
        )
        token = (self.issue or self.tsa.issuer.issue)(stamp)
        return encode_granted(token)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a thread; yield the URL."""
        stamp = self.answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                content = stamp(TimeStampRequest.decode(self.rfile.read(size)))
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", f"{len(content)}")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/tsa"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
