"""Figures of an agent: beside the trivial answer, for each class, and within a bounded time."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from otherwise.agent.training import validation
from otherwise.agent.training.validation import FEWEST_SEARCHED, agreement_of, validate
from otherwise.blackbox.protocol import InputSpec
from support.quick_search import ONE_ATTEMPT
from support.square_models import SquareClassifier, eager_agent, squares


def one_hot(labels: list[int]) -> np.ndarray:
    return np.eye(2, dtype=bool)[labels]


def test_a_student_that_always_gives_the_commoner_answer_is_seen_through() -> None:
    """68 of 72 images are normal: always saying so agrees on 0.944 of them, and knows nothing."""
    always = agreement_of(one_hot([0] * 72), one_hot([0] * 68 + [1] * 4), multi_label=False)
    assert always.share == always.always == pytest.approx(68 / 72)
    assert always.balanced == always.always_balanced == 0.5
    assert always.by_class == (1.0, 0.0)
    better = agreement_of(one_hot([0] * 57 + [1] * 15), one_hot([0] * 68 + [1] * 4), multi_label=False)
    assert better.share < always.share
    assert better.balanced == pytest.approx((57 / 68 + 1) / 2)


def test_of_one_class_only_the_trivial_student_is_perfect() -> None:
    same = agreement_of(one_hot([0] * 9), one_hot([0] * 9), multi_label=False)
    assert (same.balanced, same.always_balanced) == (1.0, 1.0)
    assert same.by_class == (1.0, None)


def test_several_labels_are_balanced_over_yes_and_no() -> None:
    theirs = np.array([[1, 0], [1, 0], [0, 0], [0, 1]], bool)
    ours = np.array([[1, 0], [0, 0], [0, 0], [0, 0]], bool)
    found = agreement_of(ours, theirs, multi_label=True)
    assert found.balanced == pytest.approx(((0.5 + 1) / 2 + (0 + 1) / 2) / 2)
    assert found.always == pytest.approx(0.5)


def test_figures_are_told_for_each_direction() -> None:
    classifier = SquareClassifier(InputSpec((16, 16)))
    images = squares((16, 16), 12, seed=4)
    figures = validate(eager_agent(classifier), classifier, images, ONE_ATTEMPT)
    bright = int((classifier.predict(images)[:, 1] > 0.5).sum())
    dark_figures, bright_figures = figures.classes
    assert (dark_figures.images, bright_figures.images) == (12 - bright, bright)
    assert (dark_figures.searched_from, dark_figures.searched_to) == (12 - bright, bright)
    flips = [each.valid_from * each.searched_from for each in figures.classes if each.valid_from is not None]
    assert figures.validity == pytest.approx(sum(flips) / 12)
    assert "validity_to_bright" in figures.to_dict()


def test_no_image_is_begun_after_the_time_but_for_the_first_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by ten seconds whenever it is looked at."""
    clock = itertools.count(0, 10)
    # Not the function of the module time: threads that other tests left running look at that clock, too.
    monkeypatch.setattr(validation, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    classifier = SquareClassifier(InputSpec((16, 16)))
    images = squares((16, 16), 12, seed=4)
    agent = eager_agent(classifier)
    assert validate(agent, classifier, images, ONE_ATTEMPT, seconds=1).searched == FEWEST_SEARCHED
    assert validate(agent, classifier, images, ONE_ATTEMPT, seconds=25).searched == FEWEST_SEARCHED + 2
    assert validate(agent, classifier, images, ONE_ATTEMPT, most=3).searched == 3
    assert validate(agent, classifier, images, ONE_ATTEMPT).searched == 12
