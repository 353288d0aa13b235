"""Who makes a request."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from otherwise.tokens import Role


@dataclass(frozen=True)
class Caller:
    """Who makes a request.

    Attributes:
        user: Name; empty where nobody has to say who they are.
        role: What they may do.
    """

    user: str
    role: Role


def user_of(request: HTTPConnection) -> str:
    """The name of whoever asks; where nobody logs in, the machine that asks."""
    user: str = getattr(request.state, "user", "")
    return user or (request.client.host if request.client else "")
