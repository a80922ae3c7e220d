"""`GET /healthz`: whether this node serves, for load balancers and people with a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from node.web.app import Routes


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a node is."""

    is_ready: bool
    health: str
    """A word for it."""
    detail: str
    """Why it is not ready, for a person."""
    height: int
    """Of its newest block."""
    time_ms: int
    """T of that block, milliseconds since 1970 UTC."""


def routes(vitals: Callable[[], Vitals]) -> Routes:
    """Return what tells how the node is, as `vitals` says at the moment asked."""

    async def healthz(_request: Request) -> JSONResponse:
        found = vitals()
        content = {
            "health": found.health,
            "detail": found.detail,
            "height": found.height,
            "time_ms": found.time_ms,
        }
        status = 200 if found.is_ready else 503
        return JSONResponse(content, status, headers={"Cache-Control": "no-store"})

    return [Route("/healthz", healthz, methods=["GET"])]
