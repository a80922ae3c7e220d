"""The HTTP application of a node, made of the routes of its subjects; what refusals look like.

Nothing of a subject lives here: each is a module of its own beside this one and gives its routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from node.errors import ClientError, NodeError

Routes = Sequence[Route]
"""What one subject serves."""

PROBLEM_TYPE: Final = "application/problem+json"
"""RFC 9457."""


def make_app(subjects: Iterable[Routes], on_failure: Callable[[Exception], None]) -> ASGIApp:
    """Return the application that serves every route of `subjects`.

    A `ClientError` is answered with 400 and its code, or with the status that its handler chose by
    raising `HTTPException` instead. Any other error is the node's own: `on_failure` learns of it,
    and the caller no more than that it happened.
    """
    app = Starlette(
        routes=[route for subject in subjects for route in subject],
        exception_handlers={HTTPException: _answer_refusal, ClientError: _answer_error},
    )
    return _Watched(app, on_failure)


async def read_body(request: Request, *, bytes_max: int) -> bytes:
    """Return the whole body; raises `HTTPException` 413 as soon as it is over `bytes_max`."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > bytes_max:
            raise HTTPException(413, f"expected at most {bytes_max} bytes")
    return bytes(body)


def problem(status: int, detail: str, *, code: str = ClientError.code) -> JSONResponse:
    """Return a refusal: a status of HTTP, why, and the code under which the why is documented."""
    content = {"status": status, "detail": detail, "code": code}
    return JSONResponse(content, status, media_type=PROBLEM_TYPE)


async def _answer_refusal(_request: Request, error: Exception) -> JSONResponse:
    refusal = error if isinstance(error, HTTPException) else HTTPException(500)
    answer = problem(refusal.status_code, refusal.detail)
    answer.headers.update(refusal.headers or {})
    return answer


async def _answer_error(_request: Request, error: Exception) -> JSONResponse:
    code = error.code if isinstance(error, NodeError) else NodeError.code
    return problem(400, str(error), code=code)


class _Watched:
    """The application, and whoever learns of its failures: the server would only log them."""

    def __init__(self, app: ASGIApp, on_failure: Callable[[Exception], None]) -> None:
        self._app, self._on_failure = app, on_failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            pass  # whoever asked has left, or sent what is no request: nobody waits for an answer
        except Exception as error:  # noqa: BLE001 - the boundary: it was answered with 500
            self._on_failure(error)
