"""The queue of a device: users take turns, short work goes before long work, and some items go first or last."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import Enum, auto
from typing import Generic, TypeVar

T = TypeVar("T")

IN_A_ROW = 4
"""Short items that go before a long one that waits."""


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
        """Return the next item, or None; its user's next turn comes after those of all others."""
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
        """Return how many items of a user wait."""
        return len(self._lines.get(user, ()))

    @property
    def users(self) -> int:
        """Return how many users have items waiting."""
        return len(self._lines)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[T]:
        for line in self._lines.values():
            yield from line


class Urgency(Enum):
    """The place of an item in the queue."""

    first = auto()
    """Before all that waits."""
    interactive = auto()
    """Before long work: somebody looks at the screen meanwhile."""
    long = auto()
    """Takes its time anyway."""
    between = auto()
    """After all that waits, before all that will come."""


class TaskQueue(Generic[T]):
    """A queue in the order of urgency and of users.

    Not for several threads at once: whoever uses it holds a lock. Items are told apart by identity.
    """

    def __init__(self) -> None:
        self._first: deque[T] = deque()
        # Items that come after one that is ``between`` wait in a round of their own.
        self._rounds: deque[_Round[T]] = deque([_Round()])
        self._in_a_row = 0

    def put(self, item: T, user: str, urgency: Urgency) -> None:
        """Let an item wait."""
        if urgency is Urgency.first:
            self._first.append(item)
        elif urgency is Urgency.between:
            self._rounds[-1].last = item
            self._rounds.append(_Round())
        else:
            self._rounds[-1].queues[urgency].put(user, item)

    def take(self) -> T | None:
        """Return the next item; None if nothing waits."""
        if self._first:
            return self._first.popleft()
        while True:
            # Short items go first, but not for ever while a long one waits.
            order = [Urgency.interactive, Urgency.long]
            for urgency in order if self._in_a_row < IN_A_ROW else reversed(order):
                item = self._rounds[0].queues[urgency].take()
                if item is not None:
                    self._in_a_row = self._in_a_row + 1 if urgency is Urgency.interactive else 0
                    return item
            if len(self._rounds) == 1:
                return None
            last = self._rounds.popleft().last
            if last is not None:
                return last

    def remove(self, item: T, user: str) -> None:
        """Take an item out before its turn, if it waits."""
        if item in self._first:
            self._first.remove(item)
        for each in self._rounds:
            if each.last is item:
                each.last = None
            for queue in each.queues.values():
                queue.remove(user, item)

    def of(self, user: str) -> int:
        """Return how many items of a user wait."""
        return sum(queue.of(user) for each in self._rounds for queue in each.queues.values())

    @property
    def users(self) -> int:
        """Return how many users have items waiting in the longest of the queues."""
        return max(queue.users for each in self._rounds for queue in each.queues.values())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[T]:
        yield from self._first
        for each in self._rounds:
            for queue in each.queues.values():
                yield from queue
            if each.last is not None:
                yield each.last


class _Round(Generic[T]):
    """Items that wait, and the one that has its turn after all of them."""

    def __init__(self) -> None:
        self.queues: dict[Urgency, FairQueue[T]] = {Urgency.interactive: FairQueue(), Urgency.long: FairQueue()}
        self.last: T | None = None
