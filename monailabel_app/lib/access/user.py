"""Whose request it is."""

from __future__ import annotations

from starlette.requests import HTTPConnection


def user_of(request: HTTPConnection) -> str:
    """The name of whoever asks; where nobody logs in, the machine that asks."""
    user: str = getattr(request.state, "user", "")
    return user or (request.client.host if request.client else "")
