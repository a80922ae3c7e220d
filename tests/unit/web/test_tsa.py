"""`POST /tsa`: what is passed on, by whom it is said to come, and how answers look."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from node.crypto.certificate import encode_der, encode_pem, split_pem
from node.timestamp.tokens.request import REQUEST_BYTES_MAX
from node.web.tsa import Reply, client_of, routes
from tests.unit.timestamp.authority import ROOT, TSA
from tests.unit.web.http_client import ask, serving

QUERY = "Content-Type: application/timestamp-query"


async def test_a_request_is_passed_on_with_the_address_it_comes_from() -> None:
    async def answer(request: bytes, client: str) -> Reply:
        return Reply(b"%b of %b" % (request, client.encode()))

    async with serving(routes(answer, ())) as served:
        forged = "X-Forwarded-For: 10.9.8.7"
        reply = await ask(
            served.port, "/tsa", method="POST", body=b"asked", headers=[QUERY, forged]
        )
        assert (reply.status, reply.body) == (200, b"asked of 127.0.0.1")
        assert reply.headers["content-type"] == "application/timestamp-reply"
        with_parameter = [f"{QUERY}; charset=binary"]
        reply = await ask(served.port, "/tsa", method="POST", body=b"x", headers=with_parameter)
        assert reply.status == 200


async def test_who_asks_too_often_gets_the_reason_and_when_to_come_back() -> None:
    async def answer(_request: bytes, _client: str) -> Reply:
        return Reply(b"no", retry_after_ms=1_001)

    async with serving(routes(answer, ())) as served:
        reply = await ask(served.port, "/tsa", method="POST", body=b"x", headers=[QUERY])
        assert (reply.status, reply.body) == (429, b"no")
        assert reply.headers["retry-after"] == "2"
        assert reply.headers["content-type"] == "application/timestamp-reply"


@pytest.mark.parametrize(
    ("method", "header", "size", "status"),
    [
        ("GET", QUERY, 0, 405),
        ("POST", "Content-Type: text/plain", 1, 415),
        ("POST", "Accept: */*", 1, 415),
        ("POST", QUERY, REQUEST_BYTES_MAX + 1, 413),
    ],
)
async def test_what_is_no_request_is_not_passed_on(
    method: str, header: str, size: int, status: int
) -> None:
    async def answer(_request: bytes, _client: str) -> Reply:
        raise AssertionError

    async with serving(routes(answer, ())) as served:
        body = b"x" * size
        reply = await ask(served.port, "/tsa", method=method, body=body, headers=[header])
        assert reply.status == status
        assert served.failures == []


async def test_certificates_are_served_for_tokens_that_hold_none() -> None:
    async def answer(_request: bytes, _client: str) -> Reply:
        raise AssertionError

    async with serving(routes(answer, [encode_pem(TSA), encode_pem(ROOT)])) as served:
        reply = await ask(served.port, "/tsa/certificates")
    assert reply.headers["content-type"] == "application/pem-certificate-chain"
    assert list(map(encode_der, split_pem(reply.body))) == [TSA, ROOT]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_all_addresses_of_one_customer_are_one_client(address: str, client: str) -> None:
    scope = {"type": "http", "headers": [], "client": (address, 4_711)}
    assert client_of(Request(scope)) == client
