"""Errors of pages and unknown addresses in the form of ours."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from lib.http.errors import reply_to


def install_error_handlers(server: FastAPI) -> None:
    """Let a server send all errors in our form."""

    async def answer(request: Request, error: Exception) -> Response:
        return reply_to(error)

    for kind in (HTTPException, RequestValidationError, Exception):
        server.exception_handlers[kind] = answer
    server.middleware_stack = None  # it is made again with these handlers at the next request
