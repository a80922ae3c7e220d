"""`GET /verify`: the page that verifies receipts in the browser. What it is given stays there.

It is for convenience: whoever does not trust the node takes the page from elsewhere.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.web.app import Routes
from node.web.verifier.bundle import MEDIA_TYPE, bundle


def routes() -> Routes:
    """Return what serves the page, which is made when it is first asked for."""

    async def page(_request: Request) -> Response:
        content = await asyncio.to_thread(bundle)  # a moment in which a validator goes on
        headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": "frame-ancestors 'none'",  # the rest is in the page itself
            "X-Content-Type-Options": "nosniff",
        }
        return Response(content, media_type=MEDIA_TYPE, headers=headers)

    return [Route("/verify", page, methods=["GET"])]
