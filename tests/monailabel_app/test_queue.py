"""Users take turns, and nothing is lost, doubled or overtaken within one user's line."""

from __future__ import annotations

import importlib
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

USERS = st.sampled_from("abc")


@pytest.fixture(scope="module")
def new_queue(app_class: Any) -> Any:
    return importlib.import_module("lib.runtime.queue").FairQueue


def drained(queue: Any) -> list[tuple[str, int]]:
    return list(iter(queue.take, None))


@given(users=st.lists(USERS, max_size=30))
def test_between_two_turns_of_a_user_everybody_else_who_waits_has_one(new_queue: Any, users: list[str]) -> None:
    queue = new_queue()
    for number, user in enumerate(users):
        queue.put(user, (user, number))
    assert (len(queue), queue.users) == (len(users), len(set(users)))

    order = drained(queue)

    assert sorted(order, key=lambda item: item[1]) == list(zip(users, range(len(users)), strict=True))
    for user in set(users):
        places = [place for place, item in enumerate(order) if item[0] == user]
        assert [order[place][1] for place in places] == sorted(order[place][1] for place in places)
        for before, after in pairwise(places):
            between = [other for other, _ in order[before + 1 : after]]
            still_waiting = {other for other, _ in order[after:]} - {user}
            assert still_waiting <= set(between)
            assert max(Counter(between).values(), default=0) <= 1


@given(steps=st.lists(st.tuples(USERS, st.booleans())))
def test_what_is_put_comes_out_once_however_it_is_mixed(new_queue: Any, steps: list[tuple[str, bool]]) -> None:
    queue, taken, put = new_queue(), [], []
    for number, (user, takes) in enumerate(steps):
        if takes and (item := queue.take()) is not None:
            taken.append(item)
        put.append((user, number))
        queue.put(user, put[-1])
    assert sorted(taken + drained(queue)) == sorted(put)


def test_what_is_removed_never_comes(new_queue: Any) -> None:
    queue = new_queue()
    for user, item in (("a", 1), ("a", 2), ("b", 3)):
        queue.put(user, item)

    assert queue.remove("a", 1)
    assert not queue.remove("a", 1)
    assert not queue.remove("c", 1)
    assert (queue.of("a"), queue.of("b"), queue.of("c")) == (1, 1, 0)
    assert sorted(queue) == [2, 3]
    assert [queue.take(), queue.take(), queue.take()] == [2, 3, None]
