"""Limits of the rates of requests and of refusals, so that one user's loop does not block the others."""

from __future__ import annotations

import asyncio
import math

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.http.caller import user_of
from lib.http.errors import reply_to
from lib.runtime.pace import Pace
from otherwise.errors import OtherwiseError

WINDOW_SECONDS = 10.0
"""Requests of so many seconds may come at once, so that a page may load all its pictures together."""
REFUSALS = 2.0
"""Refusals a second that one user gets at once on average; people at a screen get fewer."""
REFUSALS_WINDOW_SECONDS = 30.0
HOLD_SECONDS = 10.0
"""Longest time for which a refusal is held back."""
MOST_HELD = 1024
"""Refusals of all users that are held back at the same time; further ones are sent at once."""


class TooOftenError(OtherwiseError):
    """A user sends too many requests.

    Attributes:
        retry_after: Seconds after which the next request is taken.
    """

    code = "too-often"
    status = 429

    def __init__(self, seconds: int) -> None:
        super().__init__("You send too many requests.", f"Try again in {seconds} s.")
        self.retry_after = seconds


class RateLimit:
    """Middleware that answers requests beyond the rate with 429; it stands behind the authentication.

    Args:
        app: The next application.
        rate: Requests a second that each user may send on average.
    """

    def __init__(self, app: ASGIApp, rate: float) -> None:
        self.app = app
        self._requests = Pace(rate, max(WINDOW_SECONDS, 1 / rate))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 429."""
        if scope["type"] == "http":
            wait = self._requests.ask(user_of(Request(scope)))
            if wait:
                await reply_to(TooOftenError(math.ceil(wait)))(scope, receive, send)
                return
        await self.app(scope, receive, send)


class RefusalDelay:
    """Middleware that holds answers of status 4xx back when one user gets many of them.

    A client that guesses, or disregards ``Retry-After``, has to wait for each answer and asks less often. It stands
    before the authentication, so that wrong tokens count for the machine that sends them. Answers of another status are
    never held back.

    Args:
        app: The next application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._refusals = Pace(REFUSALS, REFUSALS_WINDOW_SECONDS)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_later(message: Message) -> None:
            if message["type"] == "http.response.start" and 400 <= message["status"] < 500:
                await self._hold(self._refusals.count(user_of(Request(scope)), HOLD_SECONDS))
            await send(message)

        await self.app(scope, receive, send_later)

    async def _hold(self, seconds: float) -> None:
        if not seconds or self._held >= MOST_HELD:
            return
        self._held += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._held -= 1
