"""`POST /tsa`: time stamps by RFC 3161 over HTTP (its section 3.4), for anybody who may connect.

`GET /tsa/certificates` is for those who asked for tokens without certificates.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.timestamp.tokens.request import REQUEST_BYTES_MAX
from node.web.app import Routes, read_body

REQUEST_TYPE: Final = "application/timestamp-query"
REPLY_TYPE: Final = "application/timestamp-reply"
CERTIFICATES_TYPE: Final = "application/pem-certificate-chain"

_IPV6_PREFIX_BITS: Final = 64
"""What one customer of a network has: addresses within it are as many as it likes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What there is to answer."""

    encoded: bytes
    """DER of TimeStampResp, whether it holds a token or says why not."""
    retry_after_ms: int = 0
    """Where the client asked too often: when to come back."""


def routes(
    answer: Callable[[bytes, str], Awaitable[Reply]], certificates: Sequence[bytes]
) -> Routes:
    """Return what passes requests on to `answer`: the DER of TimeStampReq, and the client.

    `certificates` (PEM), of the keys that sign answers, are served for who asks without them.
    """
    chain = b"".join(certificates)

    async def tsa(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != REQUEST_TYPE:
            raise HTTPException(415, f"expected {REQUEST_TYPE}, got {kind!r:.80}")
        body = await read_body(request, bytes_max=REQUEST_BYTES_MAX)
        reply = await answer(body, client_of(request))
        headers = {"Cache-Control": "no-store"}
        if reply.retry_after_ms:
            headers["Retry-After"] = str(-(-reply.retry_after_ms // 1_000))
        status = 429 if reply.retry_after_ms else 200
        return Response(reply.encoded, status, headers, REPLY_TYPE)

    async def chain_file(_request: Request) -> Response:
        return Response(chain, media_type=CERTIFICATES_TYPE)

    return [
        Route("/tsa", tsa, methods=["POST"]),
        Route("/tsa/certificates", chain_file, methods=["GET"]),
    ]


def client_of(request: Request) -> str:
    """Return who is asking, by the address of the connection: of IPv6 its network of 64 bits."""
    if request.client is None:
        return "unknown"
    host = request.client.host
    address = ip_address(host)
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, _IPV6_PREFIX_BITS), strict=False))
