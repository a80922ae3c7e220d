"""`GET /verify`: the page that verifies receipts in the browser. What it is given stays there.

It is for convenience: whoever does not trust the node takes the page from elsewhere.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.web.app import Routes
from node.web.verifier.bundle import MEDIA_TYPE, bundle


def routes() -> Routes:
    """Return what serves the page, which is made here: it takes a moment."""
    content = bundle()

    async def page(_request: Request) -> Response:
        headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": "frame-ancestors 'none'",  # the rest is in the page itself
            "X-Content-Type-Options": "nosniff",
        }
        return Response(content, media_type=MEDIA_TYPE, headers=headers)

    return [Route("/verify", page, methods=["GET"])]
