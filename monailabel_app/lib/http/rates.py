"""How often somebody may ask: a script in an endless loop must not take the server from everybody else."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter

from fastapi import Request
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.http.caller import user_of
from lib.http.errors import reply_to
from otherwise.errors import OtherwiseError

HOLD_SECONDS = 1.0
"""How long a refusal is held back, so that whoever disregards ``Retry-After`` asks less often."""
HELD_PER_USER = 64
"""Refusals of one user that are held back at the same time; further ones are sent at once."""
WINDOW_SECONDS = 10
"""The rate holds on average over so long, so that a page may load all its pictures at once."""


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


class RateLimit:
    """The middleware; it stands behind the authentication, which says who asks.

    Args:
        app: What it stands before.
        rate: Requests a second that each user, or each machine where nobody logs in, may send on average.
    """

    def __init__(self, app: ASGIApp, rate: float) -> None:
        self.app = app
        self.limit = RateLimitItemPerSecond(max(1, round(rate * WINDOW_SECONDS)), WINDOW_SECONDS)
        self.storage = MemoryStorage()
        self.limiter = MovingWindowRateLimiter(self.storage)
        self._ahead = _ahead()
        self._held: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 429."""
        if scope["type"] == "http":
            user = user_of(Request(scope))
            self._forget_the_future()
            if not self.limiter.hit(self.limit, user):
                until = self.limiter.get_window_stats(self.limit, user).reset_time
                seconds = min(max(1, math.ceil(until - time.time())), WINDOW_SECONDS)
                await self._hold(user)
                await reply_to(TooOftenError(seconds))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _hold(self, user: str) -> None:
        if self._held[user] >= HELD_PER_USER:
            return
        self._held[user] += 1
        try:
            await asyncio.sleep(HOLD_SECONDS)
        finally:
            self._held[user] -= 1
            if not self._held[user]:
                del self._held[user]

    def _forget_the_future(self) -> None:
        """Begin anew where the clock was set back: it would keep people out until it is as late again."""
        ahead, self._ahead = self._ahead, _ahead()
        if self._ahead < ahead - 1:
            self.storage.reset()


def _ahead() -> float:
    """Seconds from the monotonic clock to that of the wall, by which the limiter counts."""
    return time.time() - time.monotonic()
