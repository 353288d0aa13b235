"""A queue of several users: they take turns, and nobody's many requests make another wait for all of them."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round-robin between users, first in first out within one.

    Not for several threads at once: whoever uses it holds a lock.
    """

    def __init__(self) -> None:
        # In the order of their turns.
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def put(self, user: str, item: T) -> None:
        """Let an item wait; a user who had none waiting has the last turn."""
        self._lines.setdefault(user, deque()).append(item)

    def take(self) -> T | None:
        """The next item; its user's next turn comes after everybody else's. None if nothing waits."""
        if not self._lines:
            return None
        user, line = self._lines.popitem(last=False)
        item = line.popleft()
        if line:
            self._lines[user] = line
        return item

    def remove(self, user: str, item: T) -> bool:
        """Take an item out before its turn; False if it does not wait."""
        line = self._lines.get(user)
        if line is None or item not in line:
            return False
        line.remove(item)
        if not line:
            del self._lines[user]
        return True

    def of(self, user: str) -> int:
        """How many items of a user wait."""
        return len(self._lines.get(user, ()))

    @property
    def users(self) -> int:
        """How many users have something waiting."""
        return len(self._lines)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[T]:
        for line in self._lines.values():
            yield from line
