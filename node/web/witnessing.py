"""What a witness serves: the protocol by which logs bring checkpoints, and what it cosigned last.

Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.web.app import Routes, read_body

REQUEST_BYTES_MAX: Final = 131_072
TEXT: Final = "text/plain; charset=utf-8"


class Answered(Protocol):
    """What the witness answers."""

    @property
    def status(self) -> int:
        """The status of HTTP."""

    @property
    def body(self) -> bytes:
        """What is said."""

    @property
    def media_type(self) -> str:
        """What that is."""


def routes(
    add_checkpoint: Callable[[bytes], Awaitable[Answered]],
    cosigned: Callable[[str], Awaitable[bytes | None]],
) -> Routes:
    """Return the routes of a witness; `cosigned` is asked by the chain id in hex."""

    async def add(request: Request) -> Response:
        answered = await add_checkpoint(await read_body(request, bytes_max=REQUEST_BYTES_MAX))
        return Response(answered.body, answered.status, media_type=answered.media_type)

    async def newest(request: Request) -> Response:
        note = await cosigned(request.path_params["chain_id"])
        if note is None:
            raise HTTPException(404, "nothing was cosigned of such a log")
        return Response(note, media_type=TEXT, headers={"Cache-Control": "no-store"})

    return [
        Route("/add-checkpoint", add, methods=["POST"]),
        Route("/logs/{chain_id}/checkpoint", newest, methods=["GET"]),
    ]
