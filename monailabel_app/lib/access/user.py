"""Who makes a request."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

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


def user_of(request: Request) -> str:
    """Name of who makes a request, or, where nobody has to say who they are, the machine that it comes from."""
    return getattr(request.state, "user", "") or (request.client.host if request.client else "")
