"""Asking an authority over HTTP: what is taken, and that nothing makes us wait or read for ever."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from node.crypto import der
from node.crypto.suite import SHA_256
from node.errors import ConfigError
from node.operations.stamp_client import AuthorityError, ask_authority, check_url, new_nonce
from node.operations.topology import find_free_ports
from node.timestamp.outside.stamp import OutsideAuthority, verify_stamp
from node.timestamp.steps import Outcome
from tests.unit.operations.loopback_authority import granting, send, serving
from tests.unit.timestamp.authority import imprint_of
from tests.unit.timestamp.outside.openssl_authority import REQUEST, OpenSslAuthority

BODY = REQUEST.encode()


def test_openssl_behind_http_gives_a_stamp_that_verifies(tmp_path: Path) -> None:
    authority = OpenSslAuthority(tmp_path)
    with serving(granting(authority.answer)) as server:
        answer = ask_authority(server.url, BODY)
    assert server.asked == [BODY]
    believed = OutsideAuthority(roots=(authority.root,))
    document = (SHA_256, imprint_of().digest)
    assert verify_stamp(answer, document, believed, request=REQUEST).outcome is Outcome.VERIFIED


def test_an_answer_is_taken_whatever_its_status_and_another_type_is_not() -> None:
    def too_many(handler: BaseHTTPRequestHandler, _request: bytes) -> None:
        send(handler, b"refusal", status=429)

    def page(handler: BaseHTTPRequestHandler, _request: bytes) -> None:
        send(handler, b"<html>", kind="text/html")

    with serving(too_many) as server:
        assert ask_authority(server.url, BODY) == b"refusal"
        server.respond = page
        with pytest.raises(AuthorityError, match="expected application/timestamp-reply, got text"):
            ask_authority(server.url, BODY)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_told_and_not_followed(status: int) -> None:
    def elsewhere(handler: BaseHTTPRequestHandler, _request: bytes) -> None:
        send(handler, b"", status=status, kind="text/plain", location="file:///etc/passwd")

    with serving(elsewhere) as server, pytest.raises(AuthorityError, match="file:///etc/passwd"):
        ask_authority(server.url, BODY)
    assert len(server.asked) == 1


def test_an_answer_that_is_too_long_or_too_slow_is_given_up() -> None:
    ended = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, _request: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/timestamp-reply")
        handler.end_headers()
        while not ended.wait(0.05):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    def drip_head(handler: BaseHTTPRequestHandler, _request: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not ended.wait(0.05):
            handler.wfile.write(b"X: x\r\n")
            handler.wfile.flush()

    with serving(granting(lambda _request: bytes(1_001))) as server:
        with pytest.raises(AuthorityError, match="at most 1000 bytes"):
            ask_authority(server.url, BODY, bytes_max=1_000)
        assert len(ask_authority(server.url, BODY, bytes_max=1_001)) == 1_001
        for respond in (drip, drip_head):
            server.respond = respond
            started_s = time.monotonic()
            with pytest.raises(AuthorityError, match=r"too long|no answer within"):
                ask_authority(server.url, BODY, timeout_s=0.3)
            assert time.monotonic() - started_s < 5
        ended.set()


def test_nobody_there_is_told() -> None:
    (port,) = find_free_ports("127.0.0.1", 1)
    with pytest.raises(AuthorityError, match="refused"):
        ask_authority(f"http://127.0.0.1:{port}/tsr", BODY)


@pytest.mark.parametrize(
    "url", ["ftp://tsa.example/", "file:///etc/passwd", "tsa.example", "http://", "http://[x"]
)
def test_what_is_no_url_of_http_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected a URL"):
        check_url(url)


def test_a_nonce_is_a_positive_integer_of_der() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    for nonce in nonces:
        assert der.check_integer(nonce, "nonce") == nonce
        assert int.from_bytes(nonce, "big", signed=True) > 0
