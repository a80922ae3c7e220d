"""The public log as files: its newest checkpoint, tiles, entries, and a policy per epoch.

Source: c2sp.org/tlog-tiles. All but `/checkpoint` and `/policy` never change, and may be kept by
whoever fetches them for as long as they like.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.errors import DecodeError
from node.timestamp.log.checkpoint import parse_decimal
from node.timestamp.log.tiles import TileFile
from node.web.app import Routes

TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
FOR_A_MOMENT: Final = {"Cache-Control": "public, max-age=1"}


class PublicLog(Protocol):
    """What the files are made of. None where there is no such file, or not yet."""

    async def checkpoint(self, size: int | None) -> bytes | None:
        """Return the checkpoint of a size, or the newest, as a signed note."""

    async def tile(self, file: TileFile) -> bytes | None:
        """Return hashes, or, of a file without a level, a bundle of entries."""

    async def policy(self, epoch: int | None) -> bytes | None:
        """Return the policy of an epoch, or of the one in force."""

    async def handover(self, epoch: int) -> bytes | None:
        """Return the proof of how an epoch ended: canonical CBOR `handover`."""

    async def consistency(self, old_size: int, size: int) -> list[bytes] | None:
        """Return the proof (RFC 9162) that the log of one size began as that of another."""


Answer = Callable[[Request], Awaitable[Response]]


def routes(log: PublicLog) -> Routes:
    """Return the files of the log."""

    async def newest(_request: Request) -> Response:
        return _found(await log.checkpoint(None), TEXT, FOR_A_MOMENT)

    async def checkpoint(request: Request) -> Response:
        return _found(await log.checkpoint(_number(request, "size")), TEXT, FOR_EVER)

    async def tile(request: Request) -> Response:
        try:
            file = TileFile.parse(request.path_params["path"])
        except DecodeError as error:
            raise HTTPException(404, str(error)) from error
        return _found(await log.tile(file), BYTES, FOR_EVER)

    async def policy_in_force(_request: Request) -> Response:
        return _found(await log.policy(None), TEXT, FOR_A_MOMENT)

    async def policy(request: Request) -> Response:
        return _found(await log.policy(_number(request, "epoch")), TEXT, FOR_EVER)

    async def handover(request: Request) -> Response:
        return _found(await log.handover(_number(request, "epoch")), BYTES, FOR_EVER)

    async def consistency(request: Request) -> Response:
        old, new = _number(request, "old"), _number(request, "new")
        path = await log.consistency(old, new)
        if path is None:
            return _found(None, TEXT, FOR_EVER)
        listed = [base64.b64encode(each).decode() for each in path]
        content = json.dumps({"old_size": old, "new_size": new, "consistency": listed})
        return _found(content.encode(), "application/json", FOR_EVER)

    served: dict[str, Answer] = {
        "/checkpoint": newest,
        "/checkpoint/{size}": checkpoint,
        "/tile/{path:path}": tile,
        "/policy": policy_in_force,
        "/policy/{epoch}": policy,
        "/handover/{epoch}": handover,
        "/consistency/{old}/{new}": consistency,
    }
    return [Route(path, answer, methods=["GET"]) for path, answer in served.items()]


def _found(content: bytes | None, media_type: str, headers: dict[str, str]) -> Response:
    if content is None:
        raise HTTPException(404, "there is no such file, or not yet", {"Cache-Control": "no-store"})
    return Response(content, media_type=media_type, headers=headers)


def _number(request: Request, name: str) -> int:
    try:
        return parse_decimal(request.path_params[name], name)
    except DecodeError as error:
        raise HTTPException(404, str(error)) from error
