"""Refusals as applications see them: problem details (RFC 9457) with the project's codes.

One table says which status an error has. What is the gateway's own fault is told by its code alone.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response

from node.client.recording import Failed, InDoubt, UncheckedReceipt, WrongReceipt
from node.errors import ClientError, CryptoError, DecodeError, NodeError
from node.rpc.client import (
    AccessError,
    NetworkUnavailable,
    NotFinal,
    NotFound,
    Refused,
    WrongChainError,
)
from node.web.app import PROBLEM_TYPE

UNKNOWN_CALLER: Final = "GC-2701"
NOT_GIVEN: Final = "GC-2702"
TOO_OFTEN: Final = "GC-2703"
KEY_MISUSED: Final = "GC-2704"
RETRY_MS: Final = 1_000
"""When to come back where nobody knows better."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457)."""

    type: str
    """`urn:govchain:error:` and the code."""
    title: str
    """What the code means, in the operator's language."""
    status: int
    detail: str
    """What was expected and what was got, in English."""
    code: str
    """Stable; the same as on the command line."""
    fix: str = ""
    """What to do."""


class Refusal(ClientError):  # noqa: N818 - an answer
    """A request is refused by the gateway itself, with this status of HTTP."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = ClientError.code,
        fix: str = "",
        retry_ms: int = 0,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code, fix=fix)
        self.status, self.retry_ms, self.headers = status, retry_ms, headers or {}


Meaning = Callable[[str], tuple[str, str]]
"""Gives what a code means and what to do about it, in the operator's language."""

_STATUS: Final = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (Failed, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Refused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFinal, HTTPStatus.GATEWAY_TIMEOUT),
    (InDoubt, HTTPStatus.GATEWAY_TIMEOUT),
    (NetworkUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (WrongReceipt, HTTPStatus.BAD_GATEWAY),
    (UncheckedReceipt, HTTPStatus.BAD_GATEWAY),
    (AccessError, HTTPStatus.BAD_GATEWAY),
    (WrongChainError, HTTPStatus.BAD_GATEWAY),
    (ClientError, HTTPStatus.BAD_REQUEST),
    (DecodeError, HTTPStatus.BAD_REQUEST),
    (CryptoError, HTTPStatus.BAD_REQUEST),
)
"""The first row whose error it is; anything else is the gateway's own fault."""

_WRONG_ANSWERS: Final = ("GC-2305", "GC-2310")
_MAY_BECOME_FINAL: Final = (HTTPStatus.GATEWAY_TIMEOUT, HTTPStatus.SERVICE_UNAVAILABLE)


def status_of(error: Exception) -> int:
    """Return the status of HTTP that tells of an error."""
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, Refused) and error.admission.retry_after_ms:
        return HTTPStatus.SERVICE_UNAVAILABLE
    if isinstance(error, NodeError) and error.code in _WRONG_ANSWERS:
        return HTTPStatus.BAD_GATEWAY
    found = (status for kind, status in _STATUS if isinstance(error, kind))
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


def retry_ms_of(error: Exception, status: int) -> int:
    """Return when to come back, 0 where that does not help."""
    if isinstance(error, Refusal):
        return error.retry_ms
    if isinstance(error, Refused):
        return error.admission.retry_after_ms
    return RETRY_MS if status in _MAY_BECOME_FINAL else 0


def problem_of(error: Exception, meaning: Meaning) -> tuple[Problem, int]:
    """Return how an error is told, and after how many milliseconds to come back."""
    status = status_of(error)
    code = error.code if isinstance(error, NodeError) else "GC-9001"
    title, general_fix = meaning(code)
    is_ours = status == HTTPStatus.INTERNAL_SERVER_ERROR
    problem = Problem(
        type=f"urn:govchain:error:{code}",
        title=title,
        status=status,
        detail="the gateway failed; its log says why" if is_ours else str(error),
        code=code,
        fix="" if is_ours else (getattr(error, "fix", "") or general_fix),
    )
    return problem, retry_ms_of(error, status)


def answer_problem(error: Exception, meaning: Meaning) -> Response:
    """Return the answer to a request that ended with an error."""
    problem, retry_ms = problem_of(error, meaning)
    headers = {"Cache-Control": "no-store"}
    if retry_ms:
        headers["Retry-After"] = str(-(-retry_ms // 1_000))
    if isinstance(error, Refusal):
        headers |= error.headers
    content = msgspec.json.encode(problem)
    return Response(content, problem.status, headers, media_type=PROBLEM_TYPE)
