"""Limits of request heads: a search for one header or parameter takes time in proportion to their number."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from lib.http.errors import reply_to
from otherwise.errors import OtherwiseError

MOST_HEADERS = 100
MOST_PATH = 4096
"""Bytes of a path."""
MOST_QUERY = 16 * 1024
"""Bytes of a query; the longest of ours names 512 units."""
MOST_PARAMETERS = 1024


class HeadTooLargeError(OtherwiseError):
    """There are too many headers."""

    code = "too-large"
    status = 431


class AddressTooLongError(OtherwiseError):
    """The path is too long, or the query has too much in it."""

    code = "too-large"
    status = 414


class HeadLimits:
    """Middleware that refuses requests with a long head.

    Args:
        app: The next application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 414 or 431."""
        if scope["type"] == "http":
            try:
                check_head(scope)
            except OtherwiseError as error:
                await reply_to(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def check_head(scope: Scope) -> None:
    """Refuse a request with a long head.

    Raises:
        HeadTooLargeError: if it has more than ``MOST_HEADERS`` headers.
        AddressTooLongError: if its path or query is too long.
    """
    query = scope.get("query_string", b"")
    if len(scope["headers"]) > MOST_HEADERS:
        raise HeadTooLargeError(f"The request has more than {MOST_HEADERS} headers.", "Send fewer.")
    if len(scope["path"]) > MOST_PATH or len(query) > MOST_QUERY or query.count(b"&") >= MOST_PARAMETERS:
        raise AddressTooLongError("The address of the request is too long.", "Send a shorter path or fewer parameters.")
