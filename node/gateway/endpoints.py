"""The table of the API: what there is to ask, what it takes and gives, and the right it needs.

The application that serves it and the OpenAPI page are both made of this table, and of nothing
else: what is not here is not served, and what is here is documented.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from node.errors import NodeError
from node.gateway import schema
from node.gateway.api import JSON_TYPE, RECEIPT_TYPE, Api
from node.gateway.door import Caller, Door, expect_body
from node.gateway.events import EVENTS_TYPE, EventStreams
from node.gateway.exchange import Answer, Exchange
from node.gateway.http_signature import SignedHead
from node.gateway.problems import Meaning, Refusal, answer_problem, status_of
from node.web.app import read_body
from node.web.server import PEER_CERTIFICATE
from node.web.tsa import client_of

BODY_BYTES_MAX: Final = 2_097_152

Handler = Callable[[Exchange], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One row."""

    method: str
    path: str
    name: str
    """Also the method of `Api`."""
    summary: str
    right: str
    gives: type | str
    """A type, sent as JSON, or a media type."""
    status: int = 200
    takes: type | str | None = None
    """As above; None for no body."""
    query: type = schema.Nothing
    path_parameters: type = schema.Nothing
    is_idempotent_by_key: bool = False


EVENTS: Final = Endpoint(
    method="GET",
    path="/v1/events",
    name="follow_events",
    summary="Be told what happens, as server-sent events, each proved; resumable by Last-Event-ID.",
    right="events",
    gives=EVENTS_TYPE,
    query=schema.EventQuestion,
)
ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/status",
        name="get_status",
        summary="How the chain is.",
        right="read",
        gives=schema.ChainStatus,
    ),
    Endpoint(
        method="POST",
        path="/v1/records",
        name="create_records",
        summary="Record digests of documents in the gateway's name: one transaction, all or none.",
        right="notarize",
        takes=schema.NewRecords,
        gives=schema.MadeRecords,
        status=201,
        is_idempotent_by_key=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/records",
        name="list_records",
        summary="List records, by the word of one validator.",
        right="read",
        query=schema.RecordQuestion,
        gives=schema.RecordList,
    ),
    Endpoint(
        method="GET",
        path="/v1/receipts/{transaction}/{operation}",
        name="get_receipt",
        summary="The receipt of a record, verified.",
        right="read",
        path_parameters=schema.OperationPath,
        gives=RECEIPT_TYPE,
    ),
    Endpoint(
        method="GET",
        path="/v1/receipts",
        name="find_receipt",
        summary="The receipt of the earliest record of a digest, verified.",
        right="read",
        query=schema.ReceiptQuestion,
        gives=RECEIPT_TYPE,
    ),
    Endpoint(
        method="POST",
        path="/v1/verifications",
        name="verify_receipt",
        summary="Verify a receipt by the trust file of the gateway; better do so at home.",
        right="read",
        takes=schema.Verification,
        gives=schema.Verdict,
    ),
    Endpoint(
        method="POST",
        path="/v1/transactions",
        name="submit_transaction",
        summary="Hand in a transaction that the application signed by a key of its own.",
        right="submit",
        takes="application/cbor",
        gives=schema.FinalTransaction,
    ),
    Endpoint(
        method="GET",
        path="/v1/transactions/{transaction}",
        name="get_transaction",
        summary="What became of a transaction, proved by its block.",
        right="read",
        path_parameters=schema.TransactionPath,
        gives=schema.FinalTransaction,
    ),
    Endpoint(
        method="GET",
        path="/v1/blocks/{height}",
        name="get_block",
        summary="A block that a quorum of the validators certified.",
        right="read",
        path_parameters=schema.BlockPath,
        gives=schema.Block,
    ),
    EVENTS,
)


class Log(Protocol):
    """Who writes the security log."""

    def write(self, what: str, outcome: str, who: str = "", **about: str | int | bool) -> None:
        """Append an entry."""


class Gateway:
    """Lets requests in, has them done, answers them and notes who did what."""

    def __init__(
        self,
        api: Api,
        door: Door,
        streams: EventStreams,
        log: Log,
        *,
        meaning: Meaning,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._api, self._door, self._streams, self._log = api, door, streams, log
        self._meaning, self._on_failure = meaning, on_failure

    def app(self, page: bytes) -> ASGIApp:
        """Return the application; `page` is the OpenAPI page."""

        async def openapi(_request: Request) -> Response:
            return Response(page, media_type=JSON_TYPE)

        async def healthz(_request: Request) -> Response:
            return Response(b'{"health":"serving"}', media_type=JSON_TYPE)

        routes = [
            Route(each.path, partial(self._serve, each), methods=[each.method])
            for each in ENDPOINTS
        ]
        routes += [
            Route("/v1/openapi.json", openapi, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: self._answer_http, Exception: self._answer_error}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _serve(self, endpoint: Endpoint, request: Request) -> Response:
        about: dict[str, str | int | bool] = {"address": client_of(request)}
        who = ""
        try:
            head, has_body = _head_of(request)
            certificate = getattr(request.state, PEER_CERTIFICATE, None)
            caller = await self._door.identify(
                head, certificate, client_of(request), has_body=has_body
            )
            who = caller.application.name
            about |= {"means": caller.means, "key": caller.key_id}
            self._door.admit(caller, endpoint.right)
            exchange = await _read(endpoint, request, head, caller, about)
            response = await self._answer(endpoint, exchange)
        except HTTPException as refused:
            error: Exception = Refusal(refused.status_code, refused.detail)
        except Exception as failure:  # noqa: BLE001 - the boundary: every error becomes an answer
            error = failure
        else:
            about["status"] = response.status_code
            self._log.write(endpoint.name, "allowed", who, **about)
            return response
        return self._refuse(endpoint.name, who, about, error)

    async def _answer(self, endpoint: Endpoint, exchange: Exchange) -> Response:
        if endpoint is EVENTS:
            stream: AsyncIterator[bytes] = self._streams.open(exchange)
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(stream, headers=headers, media_type=EVENTS_TYPE)
        answer: Answer = await getattr(self._api, endpoint.name)(exchange)
        headers = {"Cache-Control": "no-store", **answer.headers}
        return Response(answer.body, answer.status, headers, answer.media_type)

    def _refuse(
        self, what: str, who: str, about: dict[str, str | int | bool], error: Exception
    ) -> Response:
        response = answer_problem(error, self._meaning)
        code = error.code if isinstance(error, NodeError) else "GC-9001"
        about |= {"status": response.status_code, "code": code}
        self._log.write(what, "refused", who, **about)
        if status_of(error) == 500:  # noqa: PLR2004 - our own fault
            self._on_failure(error)
        return response

    async def _answer_http(self, request: Request, error: Exception) -> Response:
        """Answer what no row of the table is about: another path, another method."""
        refused = error if isinstance(error, HTTPException) else HTTPException(500)
        refusal = Refusal(refused.status_code, refused.detail, headers=dict(refused.headers or {}))
        return self._refuse("unknown", "", {"address": client_of(request)}, refusal)

    async def _answer_error(self, request: Request, error: Exception) -> Response:
        return self._refuse("unknown", "", {"address": client_of(request)}, error)


async def _read(
    endpoint: Endpoint,
    request: Request,
    head: SignedHead,
    caller: Caller,
    about: dict[str, str | int | bool],
) -> Exchange:
    body = b""
    if endpoint.takes is not None:
        expected = endpoint.takes if isinstance(endpoint.takes, str) else JSON_TYPE
        got = head.fields.get("content-type", "").partition(";")[0].strip().lower()
        if got != expected:
            raise Refusal(415, f"expected {expected}, got {got!r:.80}")
        body = await read_body(request, bytes_max=BODY_BYTES_MAX)
    elif await read_body(request, bytes_max=0):
        raise Refusal(413, "expected no body")
    expect_body(head, body, caller)
    exchange = Exchange(
        caller=caller,
        path=dict(request.path_params),
        query=tuple(request.query_params.multi_items()),
        body=body,
        idempotency_key=head.fields.get("idempotency-key"),
        last_event_id=head.fields.get("last-event-id"),
        about=about,
    )
    exchange.query_as(endpoint.query)
    exchange.path_as(endpoint.path_parameters)
    return exchange


def _head_of(request: Request) -> tuple[SignedHead, bool]:
    fields: dict[str, str] = {}
    for name, value in request.headers.items():
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    length = fields.get("content-length", "0")
    head = SignedHead(
        method=request.method,
        scheme=request.url.scheme,
        authority=fields.get("host", ""),
        path=request.scope["raw_path"].decode("latin-1"),
        query=request.scope["query_string"].decode("latin-1"),
        fields=fields,
    )
    return head, length != "0" or "transfer-encoding" in fields
