"""How large the body of a request may be; what is larger is refused before or while it arrives."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from otherwise.errors import OtherwiseError

MOST_TEXT = 4 * 1024 * 1024
"""Bytes of a body that is no upload: it is parsed in memory at once, where JSON takes many times its size."""
MOST_VALUES = 20_000
"""Separators in such a body; a polygon has four for each point.

Python parses JSON, and describes what is wrong with it, in one piece during which nobody else is answered. A million
keys take seconds; a mask of as many bytes, which is one text, takes no time.
"""


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
    seen = values = 0

    async def counted() -> Message:
        nonlocal seen, values
        message = await receive()
        body = message.get("body", b"")
        seen += len(body)
        if seen > limit:
            raise _too_large(limit)
        if not upload:
            values += sum(body.count(separator) for separator in (b",", b"[", b"{"))
            if values > MOST_VALUES:
                raise TooLargeError(f"The request holds more than {MOST_VALUES} values.", "Send fewer at a time.")
        return message

    return counted


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The request is larger than {limit} bytes.", "Send a smaller image.")
