"""Rates of requests and of refusals: a script in an endless loop must not take the server from everybody else."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.http.caller import user_of
from lib.http.errors import reply_to
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
MOST_USERS = 4096
"""Users that are remembered. Beyond it those are forgotten whose rate is not used up at all."""


class TooOftenError(OtherwiseError):
    """Somebody asks too often.

    Attributes:
        retry_after: Seconds after which the next request is taken.
    """

    code = "too-often"
    status = 429

    def __init__(self, seconds: int) -> None:
        super().__init__("You send too many requests.", f"Try again in {seconds} s.")
        self.retry_after = seconds


class Pace:
    """The generic cell rate algorithm (ITU-T I.371): the time until which each user has used up the rate.

    Args:
        rate: Events a second on average.
        window: Seconds whose events may come at once.
        clock: In seconds; never set back.
    """

    def __init__(self, rate: float, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cost, self._window, self._clock = 1 / rate, max(window, 1 / rate), clock
        self._used: dict[str, float] = {}

    def ask(self, user: str) -> float:
        """Count an event and return 0; or do not count it, and return the seconds until one fits the rate."""
        now, used = self._next(user)
        early = max(0.0, used - now - self._window)
        if not early:
            self._used[user] = used
        return early

    def count(self, user: str, most: float) -> float:
        """Count an event that cannot be refused, and return the seconds until it fits the rate, at most ``most``."""
        now, used = self._next(user)
        used = min(used, now + self._window + most)
        self._used[user] = used
        return max(0.0, used - now - self._window)

    def _next(self, user: str) -> tuple[float, float]:
        now = self._clock()
        if len(self._used) >= MOST_USERS and user not in self._used:
            self._used = {name: used for name, used in self._used.items() if used > now}
        return now, max(self._used.get(user, now), now) + self._cost


class RateLimit:
    """Middleware that answers requests beyond the rate with 429; it stands behind the authentication.

    Args:
        app: The next application.
        rate: Requests a second that each user may send on average.
    """

    def __init__(self, app: ASGIApp, rate: float) -> None:
        self.app = app
        self._requests = Pace(rate, WINDOW_SECONDS)

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
