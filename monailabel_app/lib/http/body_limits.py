"""Limits of request bodies; larger ones are refused before or while they arrive."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from lib.http.counting import counted
from lib.runtime.worker import BusyError
from lib.settings.params import TooLargeError, refuse_many_values, separators
from lib.storage.disk import leaves_room
from lib.storage.explanation_store import StorageError

MOST_TEXT = 4 * 1024 * 1024
"""Bytes of a body that is no upload. It is parsed in memory, where JSON takes many times its size."""

UPLOADS_PER_USER = 8
"""Uploads of one user that arrive or are read at the same time."""
LOOK_BYTES = 8 * 2**20
"""Bytes of an upload between two checks of the disk."""


class Uploads:
    """Count the uploads of each user that are under way; used on the event loop only."""

    def __init__(self) -> None:
        self._users: Counter[str] = Counter()

    @contextmanager
    def count(self, user: str) -> Iterator[None]:
        """Count an upload while it is answered.

        Raises:
            BusyError: if this user has too many.
        """
        if self._users[user] >= UPLOADS_PER_USER:
            raise BusyError(f"{UPLOADS_PER_USER} uploads of yours are under way.", "Wait for one of them.", 5)
        with counted(self._users, user):
            yield


def is_upload(scope: Scope) -> bool:
    """Return whether a request says that it brings files."""
    return Headers(scope=scope).get("content-type", "").lower().startswith("multipart/form-data")


def check_room(more: int) -> None:
    """Refuse an upload that would leave too little room on the disk of the temporary folder.

    Args:
        more: Bytes that are about to be written.

    Raises:
        StorageError: if it would.
    """
    if not leaves_room(tempfile.gettempdir(), more):
        raise StorageError("The server has no room for this upload.", "Try again later, or ask its administrator.")


def limited(scope: Scope, receive: Receive, upload_limit: int, upload: bool) -> Receive:
    """Pass on no more of a body than the limits and the disk allow.

    Args:
        scope: Scope of the request.
        receive: Source of the body.
        upload_limit: Largest upload in bytes.
        upload: Whether the body is one, which goes to the disk as it arrives. Everything else is held in memory.

    Returns:
        Used in the place of ``receive``.

    Raises:
        TooLargeError: if the request announces too much; the returned function raises it if too much arrives.
        StorageError: if there is no room for an upload, before or while it arrives.
    """
    headers = Headers(scope=scope)
    limit = upload_limit if upload else min(upload_limit, MOST_TEXT)
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise _too_large(limit)
    if upload:
        check_room(int(announced[:20]) if announced.isdecimal() else 0)
    seen = values = looked = 0

    async def counted() -> Message:
        nonlocal seen, values, looked
        message = await receive()
        body = message.get("body", b"")
        seen += len(body)
        if seen > limit:
            raise _too_large(limit)
        if upload and seen - looked >= LOOK_BYTES:
            looked = seen
            check_room(0)
        if not upload:
            values += separators(body)
            refuse_many_values(values)
        return message

    return counted


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The request is larger than {limit} bytes.", "Send a smaller image.")
