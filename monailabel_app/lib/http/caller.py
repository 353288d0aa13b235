"""The user who makes a request."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from lib.storage.owners import ITSELF, Caller

__all__ = ["Caller", "caller_of", "user_of"]


def caller_of(request: HTTPConnection) -> Caller:
    """Return the user that the authentication found."""
    state = request.state
    return Caller(getattr(state, "user", ""), getattr(state, "role", ITSELF.role))


def user_of(request: HTTPConnection) -> str:
    """Return the name of the user; without login, the address of the client."""
    user: str = getattr(request.state, "user", "")
    return user or (request.client.host if request.client else "")
