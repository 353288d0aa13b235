"""Counts of what each user has under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def counted(users: Counter[str], user: str) -> Iterator[None]:
    """Count one more for a user while the context is open; users with none are forgotten."""
    users[user] += 1
    try:
        yield
    finally:
        users[user] -= 1
        if not users[user]:
            del users[user]
