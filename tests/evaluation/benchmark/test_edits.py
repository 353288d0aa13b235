"""Methods that make counterfactuals: the black box judges each, and what it is asked is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from otherwise.agent.bundle import Agent
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import InputSpec
from otherwise.evaluation.benchmark.methods.ablations import ablations
from otherwise.evaluation.benchmark.methods.global_direction import GlobalDirection
from otherwise.evaluation.benchmark.methods.method import ReferenceImages
from otherwise.evaluation.benchmark.methods.nearest_unlike import nearest_unlike
from otherwise.evaluation.benchmark.methods.own_search import SharedSearch
from otherwise.evaluation.benchmark.methods.registry import edit_methods
from otherwise.evaluation.benchmark.methods.straight_move import straight_move
from support.square_models import SquareClassifier, eager_agent, squares

SIZE = (16, 16)


@pytest.fixture(scope="module")
def classifier() -> SquareClassifier:
    return SquareClassifier(InputSpec(SIZE))


@pytest.fixture(scope="module")
def agent(classifier: SquareClassifier) -> Agent:
    return eager_agent(classifier)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.full((1, *SIZE), 0.3, np.float32)


def test_ours_and_its_minimal_part_flip_and_the_part_changes_less(
    agent: Agent, classifier: SquareClassifier, image: np.ndarray
) -> None:
    search = SharedSearch()
    whole, part = (make(agent, CountingBlackBox(classifier), image) for make in (search.ours, search.minimal))
    assert whole.valid
    assert part.valid
    assert whole.target == part.target == 1
    assert np.abs(part.image - image).mean() < np.abs(whole.image - image).mean()
    assert whole.effect is not None
    assert whole.effect[4:12, 4:12].mean() > 4 * np.abs(whole.effect[:2]).mean()


def test_a_straight_move_asks_once_for_each_strength_and_takes_the_first_that_flips(
    agent: Agent, classifier: SquareClassifier, image: np.ndarray
) -> None:
    counted = CountingBlackBox(classifier)
    edit = straight_move(agent, counted, image, strengths=(1.0, 2.0, 4.0, 8.0), steps=4)
    assert counted.queries == 5
    assert edit.valid == bool(classifier.predict(edit.image[None])[0].argmax() == 1)
    assert edit.image[0].mean() > image.mean()


def test_a_global_direction_is_found_once_and_followed_by_all(
    agent: Agent, classifier: SquareClassifier, image: np.ndarray
) -> None:
    method = GlobalDirection(renders=64, steps=2)
    first, second = CountingBlackBox(classifier), CountingBlackBox(classifier)
    edit = method(agent, first, image)
    assert method.queries == 64
    method(agent, second, image * 0.9)
    assert method.queries == 64, "the second image costs no more renders"
    assert first.queries - second.queries == 64
    assert edit.valid == bool(classifier.predict(edit.image[None])[0].argmax() == 1)


def test_the_nearest_of_another_answer_is_a_real_image(agent: Agent, classifier: SquareClassifier) -> None:
    neighbours = squares(SIZE, 40, seed=2)
    answers = classifier.predict(neighbours)
    dark = neighbours[int(answers[:, 0].argmax())]
    edit = nearest_unlike(ReferenceImages(neighbours, answers))(agent, CountingBlackBox(classifier), dark)
    assert edit.valid
    assert any(np.array_equal(edit.image, other) for other in neighbours)
    bright = [other for other, answer in zip(neighbours, answers, strict=True) if answer[1] > 0.5]
    assert np.square(edit.image - dark).sum() == min(np.square(other - dark).sum() for other in bright)
    alone = nearest_unlike(ReferenceImages(neighbours[:1] * 0, classifier.predict(neighbours[:1] * 0)))
    assert not alone(agent, CountingBlackBox(classifier), dark).valid


def test_ours_and_its_minimal_part_search_once_and_each_shows_the_whole_cost(
    agent: Agent, classifier: SquareClassifier, image: np.ndarray
) -> None:
    alone = CountingBlackBox(classifier)
    part = SharedSearch().minimal(agent, alone, image)
    shared, first, second = SharedSearch(), CountingBlackBox(classifier), CountingBlackBox(classifier)
    shared.ours(agent, first, image)
    again = shared.minimal(agent, second, image)
    assert second.queries < 20 < first.queries, "no second search"
    assert second.queries + again.shared_queries == alone.queries
    assert again.shared_seconds > 0
    assert part.shared_queries == 0
    np.testing.assert_array_equal(again.image, part.image)
    other = CountingBlackBox(classifier)
    shared.minimal(agent, other, image * 0.9)
    assert other.queries > 20, "another image is searched anew"


def test_methods_have_names_of_their_own() -> None:
    methods = edit_methods(ReferenceImages(np.zeros((1, 1, *SIZE), np.float32), np.array([[1.0, 0.0]])))
    assert len({method.name for method in methods}) == len(methods)
    assert all(method.source and method.title for method in methods)


def test_an_ablation_takes_one_ingredient_away_at_a_time(
    agent: Agent, classifier: SquareClassifier, image: np.ndarray
) -> None:
    methods = ablations()
    assert methods[0].name == "ours"
    assert len({method.name for method in methods}) == len(methods)
    made = {method.name: method.make(agent, CountingBlackBox(classifier), image) for method in methods}
    assert not np.array_equal(made["ours"].image, made["two-steps"].image)
    assert np.array_equal(made["ours"].image, made["even"].image)
    shown, alone, even = (made[name].effect for name in ("ours", "edit-alone", "even"))
    assert shown is not None
    assert alone is not None
    assert even is not None
    assert alone.sum() == pytest.approx(even.sum(), rel=1e-4)
    assert np.array_equal(shown, alone), "edits led by the student have no lesser edits of another kind"
    blind = made["insensitive"].effect
    assert blind is not None
    assert blind.sum() == pytest.approx(shown.sum(), rel=1e-4)
    assert not np.array_equal(blind, shown)


def test_what_a_student_taught_in_noise_adds_is_taken_away_too(
    agent: Agent, classifier: SquareClassifier, image: np.ndarray
) -> None:
    plain, methods = ablations(), ablations(in_noise=True)
    assert {method.name for method in methods} > {method.name for method in plain}
    in_noise = replace(agent, student_noise=0.9)
    made = {
        method.name: method.make(in_noise, CountingBlackBox(classifier), image).image
        for method in methods
        if method in methods[:1] or method.name not in {each.name for each in plain}
    }
    assert not np.array_equal(made["ours"], made["unshrunk"])
    assert not np.array_equal(made["ours"], made["plain-lead"])
    assert in_noise.guidance_override is None
