"""How large the body of a request may be; what is larger is refused before or while it arrives."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from otherwise.errors import OtherwiseError

MOST_TEXT = 4 * 1024 * 1024
"""Bytes of a body that is no upload: it is parsed in memory at once, where JSON takes many times its size."""


class TooLargeError(OtherwiseError):
    """The request is larger than the server takes."""

    code = "too-large"
    status = 413


def limited(scope: Scope, receive: Receive, upload_limit: int) -> Receive:
    """Let no more of a body through than is allowed.

    Args:
        scope: Of the request.
        receive: Where the body comes from.
        upload_limit: Largest upload in bytes.

    Returns:
        Used in the place of ``receive``.

    Raises:
        TooLargeError: if the request announces too much; what is returned raises it where too much arrives.
    """
    headers = Headers(scope=scope)
    upload = headers.get("content-type", "").lower().startswith("multipart/form-data")
    limit = upload_limit if upload else min(upload_limit, MOST_TEXT)
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise _too_large(limit)
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The request is larger than {limit} bytes.", "Send a smaller image.")
