"""The web pages that may use the server through a browser: its own, and those of named origins."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.http.errors import ForbiddenError, reply_to

EXPOSED = ("Content-Disposition", "Retry-After", "X-Request-ID")
"""Headers of answers that scripts may read."""


class Origins:
    """Middleware that refuses every request of pages of other origins, not only their reading of the answer.

    Args:
        app: The next application.
        allowed: Allowed origins in lower case.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self.app = app
        self.allowed = frozenset(allowed)
        self.cors = CORSMiddleware(
            app,
            allow_origins=list(allowed),
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=("Authorization", "Content-Type"),
            expose_headers=EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless it comes from a page of another origin."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin", "").lower()
        if not origin or urlsplit(origin).netloc == headers.get("host", "").lower():
            await self.app(scope, receive, send)
        elif origin in self.allowed:
            await self.cors(scope, receive, send)
        else:
            error = ForbiddenError("Web pages of other origins may not use this server.", "Start it with --origin URL.")
            await reply_to(error)(scope, receive, send)
