"""Every error of our routes is ``{error, detail, hint}``; tracebacks stay in the server's log."""

from __future__ import annotations

import errno
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Form
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from lib.http.body_limits import Uploads, is_upload, limited
from lib.http.caller import user_of
from lib.observability.logs import REQUEST
from otherwise.errors import OtherwiseError

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
Responses = dict[int | str, dict[str, Any]]
"""Descriptions of responses for OpenAPI, by status."""

# Names of errors of FastAPI and MONAI Label; our own errors have names.
NAMES = {401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method", 413: "too-large", 422: "request"}
HINTS = {401: "Log in, and send the token.", 403: "Ask the administrator for the role."}
HEADERS = {401: {"WWW-Authenticate": "Bearer"}}


class UnauthorizedError(OtherwiseError):
    """The request has no valid token."""

    code = "unauthorized"
    status = 401


class ForbiddenError(OtherwiseError):
    """The user does not have the role."""

    code = "forbidden"
    status = 403


MOST_CHARACTERS = 600
"""Characters of a text in an error, which may quote what a client sent."""
FULL = (errno.ENOSPC, errno.EDQUOT)
_COMMAND_LINE = re.compile(r"(^|\s)--[a-z]|\botherwise [a-z]+\b|\b[A-Z]+_[A-Z_]+=")


def error_reply(status: int, error: str, detail: str, hint: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error in the form that all routes use."""
    content = {"error": error, "detail": shortened(detail), "hint": shortened(hint_for_clients(hint))}
    # A text out of JSON may hold halves of surrogate pairs, which cannot be sent.
    return JSONResponse({key: text.encode(errors="replace").decode() for key, text in content.items()}, status, headers)


def shortened(text: str) -> str:
    """Return a text, or its beginning if it is long."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def hint_for_clients(hint: str) -> str:
    """Return a hint without sentences about a command line, which clients of HTTP do not have."""
    sentences = re.split(r"(?<=[.;!?]) +", hint)
    kept = [sentence for sentence in sentences if not _COMMAND_LINE.search(sentence)]
    if len(kept) == len(sentences):
        return hint
    return " ".join(kept) or "Ask the administrator of the server."


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, says that a disk has no room."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def route_class(body_limit: int, described: Responses | None = None) -> type[APIRoute]:
    """Make the class of our routes.

    Args:
        body_limit: Largest body in bytes; a larger one is refused while it arrives, before any of it is stored.
        described: Responses of every route, beside those that a route describes itself.
    """

    uploads = Uploads()

    class ClearRoute(APIRoute):
        def __init__(self, *args: Any, responses: Responses | None = None, **options: Any) -> None:
            super().__init__(*args, responses={**(described or {}), **(responses or {})}, **options)

        def get_route_handler(self) -> Handler:  # type: ignore[override]
            handle = super().get_route_handler()
            # A route that takes no form reads its whole body into memory, whatever the client calls it.
            takes_files = self.body_field is not None and isinstance(self.body_field.field_info, Form)

            async def clear(request: Request) -> Response:
                try:
                    upload = takes_files and is_upload(request.scope)
                    with uploads.count(user_of(request)) if upload else nullcontext():
                        receive = limited(request.scope, request.receive, body_limit, upload)
                        return await handle(Request(request.scope, receive))
                except Exception as error:
                    return reply_to(error)

            return clear

    return ClearRoute


def reply_to(error: Exception) -> Response:
    """Return the reply for an error; an unexpected one is a number, under which the log has the traceback."""
    # FastAPI wraps what happens while it reads the body.
    if isinstance(error, HTTPException) and isinstance(error.__cause__, OtherwiseError):
        error = error.__cause__
    if not isinstance(error, OtherwiseError) and is_disk_full(error):
        logger.error("A disk of the server is full", exc_info=error)
        return error_reply(507, "storage", "A disk of the server is full.", "Ask the administrator to make room.")
    if isinstance(error, OtherwiseError):
        headers = dict(HEADERS.get(error.status, {}))
        if error.status in (429, 503):
            headers["Retry-After"] = str(getattr(error, "retry_after", 60))
        return error_reply(error.status, error.code, error.detail, error.hint, headers)
    if isinstance(error, HTTPException):
        name = NAMES.get(error.status_code, "request")
        return error_reply(error.status_code, name, str(error.detail), HINTS.get(error.status_code, ""), error.headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "request"
        return error_reply(422, "request", f"{where}: {first['msg']}.", "See /docs for what this address takes.")
    incident = REQUEST.get() or uuid.uuid4().hex
    logger.error("Request %s failed", incident, exc_info=error)
    return error_reply(
        500, "internal", f"The server failed (request {incident}).", "Its log tells more under this number."
    )
