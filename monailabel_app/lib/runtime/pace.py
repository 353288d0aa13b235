"""A rate for each user or address, of requests, refusals, connections or seconds of work."""

from __future__ import annotations

import time
from collections.abc import Callable

MOST_USERS = 4096
"""Users that are remembered. Beyond it those are forgotten whose rate is not used up at all."""
ROUNDING = 1e-9


class Pace:
    """The generic cell rate algorithm (ITU-T I.371): the time until which each user has used up the rate.

    Args:
        rate: Amount a second on average.
        window: Seconds whose amount may come at once.
        clock: In seconds; never set back.
    """

    def __init__(self, rate: float, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cost, self._window, self._clock = 1 / rate, window, clock
        self._used: dict[str, float] = {}

    def ask(self, user: str) -> float:
        """Count one event and return 0; or do not count it, and return the seconds until it fits the rate."""
        used, early = self._next(user, 1.0)
        if not early:
            self._used[user] = used
        return early

    def count(self, user: str, most: float, amount: float = 1.0) -> float:
        """Count what has happened already, and return the seconds until it fits the rate, at most ``most``."""
        used, early = self._next(user, amount)
        early = min(early, most)
        self._used[user] = min(used, self._clock() + self._window + most)
        return early

    def _next(self, user: str, amount: float) -> tuple[float, float]:
        """Return until when the rate is used up with so much more, and by how many seconds that is too late."""
        now = self._clock()
        if len(self._used) >= MOST_USERS and user not in self._used:
            self._used = {name: used for name, used in self._used.items() if used > now}
        used = max(self._used.get(user, now), now) + amount * self._cost
        early = used - now - self._window
        return used, early if early > ROUNDING else 0.0
