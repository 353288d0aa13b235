"""The search: the black box alone decides, the same seed gives the same answer, and it can be stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.calibration import UNCALIBRATED
from otherwise.agent.editing.bounds import Bounds
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.flow_search import FlowResult, FlowSearch
from otherwise.agent.editing.flow_settings import FlowSettings
from otherwise.agent.editing.rendering import EditSettings, Renderer
from otherwise.agent.editing.search import Search
from otherwise.agent.editing.search_result import SearchResult
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.errors import CancelledError
from support.square_models import SquareClassifier, eager_agent

SETTINGS = SearchSettings(
    flow=None,
    confidence=0.95,
    steps=2,
    attempts=(EditSettings(0.5, 2.0), EditSettings(0.8, 4.0)),
    strengths=(1.0, 3.0),
    farther=(),
    refinements=2,
)


@pytest.fixture
def eager(classifier: SquareClassifier) -> Agent:
    return eager_agent(classifier)


def test_what_is_called_valid_flips_the_black_box(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    searching = Search(eager, CountingBlackBox(classifier), SETTINGS)
    results = [searching.run(image) for image in images[:6]]
    assert any(result.valid for result in results)
    for image, result in zip(images, results, strict=False):
        answer = classifier.predict(result.best.image[None])[0]
        assert result.valid == (answer.argmax() == result.target)
        assert result.target != classifier.predict(image[None])[0].argmax()
        np.testing.assert_allclose(answer, result.best.probabilities)


def test_the_least_movement_that_convinces_wins_and_flipping_is_enough_where_nothing_does(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    image = images[int(np.argmax(classifier.predict(images)[:, 0]))]

    def best(confidence: float):  # type: ignore[no-untyped-def]
        settings = replace(SETTINGS, confidence=confidence, strengths=(1.0, 2.0, 3.0))
        return Search(eager, CountingBlackBox(classifier), settings).run(image)

    barely, impossible = best(0.5), best(1.01)
    assert barely.valid
    reached = [c.probabilities[barely.target] for c in (barely.best, *barely.tried)]
    wanted = (reached[0] + max(reached)) / 2
    sure = best(wanted)
    assert sure.best.probabilities[sure.target] >= wanted
    below = [c for c in sure.tried if c.strength < sure.best.strength]
    assert all(c.probabilities[sure.target] < wanted for c in below)
    assert barely.best.strength < sure.best.strength
    assert impossible.valid
    assert impossible.best.strength == barely.best.strength


def test_movements_that_go_farther_are_tried_only_where_none_convinces(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    """The search finds the same as one that tries all strengths at once."""
    image = images[int(np.argmax(classifier.predict(images)[:, 0]))]
    whole = replace(SETTINGS, confidence=0.5, strengths=(1.0, 2.0, 3.0), refinements=0)
    least = Search(eager, CountingBlackBox(classifier), whole).run(image).best.strength

    def run(strengths: tuple[float, ...], farther: tuple[float, ...]) -> SearchResult:
        settings = replace(whole, strengths=strengths, farther=farther)
        return Search(eager, CountingBlackBox(classifier), settings).run(image)

    saved = run((least,), (least + 1,))
    assert saved.best.strength == least
    assert max(each.strength for each in saved.tried) == least
    needed, at_once = run((least / 100,), (least, least + 1)), run((least / 100, least, least + 1), ())
    assert needed.best.strength == at_once.best.strength == least
    np.testing.assert_allclose(needed.best.image, at_once.best.image, atol=1e-5)


def test_a_student_that_learned_in_noise_has_to_be_convinced_too_unless_it_never_is(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = images[int(np.argmax(classifier.predict(images)[:, 0]))]
    settings = replace(SETTINGS, confidence=0.6, strengths=(1.0, 2.0, 3.0, 5.0))

    def found(noise: float, doubt: float) -> SearchResult:
        def doubting(pixels: torch.Tensor, multi_label: bool) -> torch.Tensor:
            return torch.from_numpy(classifier.predict(pixels.numpy())) - doubt

        monkeypatch.setattr(eager.model, "predict", doubting)
        return Search(replace(eager, student_noise=noise), CountingBlackBox(classifier), settings).run(image)

    alone, both, never = found(0.0, 0.3), found(0.5, 0.3), found(0.5, 1.0)
    assert alone.best.student_probabilities is None
    assert both.best.strength > alone.best.strength
    assert both.best.student_probabilities is not None
    assert both.best.student_probabilities[both.target] >= 0.6
    assert never.valid
    assert never.best.strength == alone.best.strength


def test_values_of_nearby_are_enough_where_they_convince_and_others_are_tried_where_they_do_not(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    bright, dark = (images[int(np.argmax(classifier.predict(images)[:, n]))] for n in (1, 0))
    settings = replace(SETTINGS, strengths=(1.0, 3.0, 6.0))

    def found(image: np.ndarray, reach: int | None) -> tuple[SearchResult, bool]:
        span = None if reach is None else (reach, reach)
        result = Search(eager, CountingBlackBox(classifier), replace(settings, reach=span)).run(image)
        made = torch.from_numpy(result.best.image)[None]
        within = Bounds.around(torch.from_numpy(image)[None], reach or 0).clamp(made)
        return result, torch.equal(within, made)

    # The square may become as dark as what surrounds it; what surrounds it need not become darker.
    darker, near = found(bright, max(bright.shape) // 2)
    assert darker.valid
    assert near
    assert darker.best.probabilities[darker.target] >= settings.confidence
    assert not found(bright, None)[1]
    # Hardly anything is bright in the dark image: brightness has to come from nothing.
    brighter, near = found(dark, 0)
    assert brighter.valid
    assert not near


def test_what_only_flips_within_the_bounds_is_better_than_nothing(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    bright = images[int(np.argmax(classifier.predict(images)[:, 1]))]
    wide = (max(bright.shape), max(bright.shape))
    settings = replace(SETTINGS, strengths=(3.0,), confidence=1.01, reach=wide, refinements=0, rounds=1)
    render = Renderer.__call__

    def only_within(self: Any, *arguments: Any) -> np.ndarray:
        made = render(self, *arguments)
        return made if self.bounds else np.repeat(bright[None], len(made), axis=0)

    monkeypatch.setattr(Renderer, "__call__", only_within)
    result = Search(eager, CountingBlackBox(classifier), settings).run(bright)
    assert result.valid
    assert classifier.predict(result.best.image[None])[0].argmax() == result.target


def test_the_path_begins_at_the_original_and_ascends(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    result = Search(eager, CountingBlackBox(classifier), SETTINGS).run(images[0])
    strengths = [candidate.strength for candidate in result.path]
    assert strengths == sorted(strengths)
    assert strengths[0] == 0.0
    assert np.array_equal(result.path[0].image, images[0])
    assert any(candidate is result.best for candidate in result.path)
    assert sum(strength > result.best.strength for strength in strengths) <= 1, "one step beyond"


def test_attempts_of_one_depth_invert_the_image_once(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    velocity = eager.model.velocity

    def counted(*arguments: Any) -> torch.Tensor:
        asked.append(1)
        return velocity(*arguments)

    monkeypatch.setattr(eager.model, "velocity", counted)

    def calls(*depths: float) -> int:
        asked.clear()
        attempts = tuple(EditSettings(depth, student_guidance=0.0) for depth in depths)
        hopeless = replace(SETTINGS, attempts=attempts, strengths=(0.01,), refinements=0, rounds=1, reach=None)
        assert not Search(eager, CountingBlackBox(classifier), hopeless).run(images[0]).valid
        return len(asked)

    one, another, both = calls(0.3), calls(0.4), calls(0.3, 0.4)
    assert both == one + another
    # Two solver steps each way, of two calls; to half of the way in 2-D, of a call, and one at first.
    deep, shallow = 2 * 2 * 2, 2 * (1 + 2)
    assert calls(0.3, 0.3) == 2 * one - (shallow if images[0].ndim == 3 else deep)
    assert calls(0.6, 0.6) == 2 * calls(0.6) - deep


def test_where_nothing_flips_the_search_goes_on_from_the_nearest_attempt(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    # Far too weak to flip in one round; each round comes nearer.
    weak = replace(
        SETTINGS, attempts=(EditSettings(0.3, student_guidance=0.0),), strengths=(0.2, 0.4), refinements=2, rounds=1
    )
    image = images[int(np.argmax(classifier.predict(images)[:, 0]))]
    once = Search(eager, CountingBlackBox(classifier), weak).run(image)
    assert not once.valid
    counted = CountingBlackBox(classifier)
    often = Search(eager, counted, replace(weak, rounds=40)).run(image)
    value = often.best.probabilities[often.target]
    assert value > once.best.probabilities[once.target]
    assert often.best.strength > once.best.strength
    strengths = [candidate.strength for candidate in often.path]
    assert strengths == sorted(strengths)
    assert strengths[0] == 0
    assert len(strengths) > 4, "the way of every round is on the path"
    budgeted = Search(eager, CountingBlackBox(classifier), replace(weak, rounds=40, budget=6)).run(image)
    assert budgeted.valid or budgeted.exhausted


def test_any_other_answer_will_do_unless_one_was_asked_for(classifier: SquareClassifier, images: np.ndarray) -> None:
    class Surprising(SquareClassifier):
        """What it calls dark might be bright, it says; what is brighter, it calls glaring."""

        def predict(self, images: np.ndarray) -> np.ndarray:
            dark, light = super().predict(images).T
            bright = np.where(dark > 0.5, 0.9, 0.1) * light
            return np.stack([dark, bright, light - bright], axis=1)

    three = Surprising(classifier.inputs, classes=("dark", "bright", "glaring"))
    search = Search(eager_agent(three), CountingBlackBox(three), SETTINGS)
    image = images[int(np.argmax(classifier.predict(images)[:, 0]))]
    found = search.run(image)
    assert found.valid
    assert found.target == 2
    assert found.best.probabilities.argmax() == 2
    assert any(candidate is found.best for candidate in found.path)
    asked = search.run(image, target=1)
    assert not asked.valid
    assert asked.target == 1


def test_a_decoder_that_does_nothing_is_never_valid(
    agent: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    # The last convolution of an untrained denoiser is zero, so no edit changes the image but for the student's lead.
    counted = CountingBlackBox(classifier)
    unled = replace(SETTINGS, attempts=tuple(replace(attempt, student_guidance=0.0) for attempt in SETTINGS.attempts))
    result = Search(agent, counted, unled).run(images[0])
    assert not result.valid
    assert result.alternatives == ()
    np.testing.assert_allclose(result.best.image, images[0], atol=1e-6)
    assert counted.queries == 1 + 2 * (1 + len(SETTINGS.attempts))


@pytest.mark.parametrize(("moved_from", "attempts_asked"), [(np.inf, 4), (4, 8), (1, 8)])
def test_a_round_ends_early_where_neither_the_first_nor_the_utmost_attempts_move_the_black_box(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray, moved_from: float, attempts_asked: int
) -> None:
    class Stubborn(SquareClassifier):
        """Moves a little from the given attempt on, and never flips."""

        asked = 0

        def predict(self, images: np.ndarray) -> np.ndarray:
            self.asked += 1
            first = 0.8 if self.asked - 1 >= moved_from else 0.9  # The first question is about the original.
            return np.tile([first, 1 - first], (len(images), 1))

    counted = CountingBlackBox(Stubborn(classifier.inputs))
    settings = SearchSettings(flow=None, steps=1, rounds=1, farther=())
    result = Search(eager, counted, settings).run(images[0])
    assert not result.valid
    assert counted.queries == 1 + len(settings.strengths) * attempts_asked


def test_the_same_seed_gives_the_same_answer(eager: Agent, classifier: SquareClassifier, images: np.ndarray) -> None:
    search = Search(eager, CountingBlackBox(classifier), SETTINGS)
    first, second = search.run(images[1], seed=4), search.run(images[1], seed=4)
    assert np.array_equal(first.best.image, second.best.image)
    assert len(first.alternatives) == len(second.alternatives)
    for one, other in zip(first.alternatives, second.alternatives, strict=True):
        assert np.array_equal(one.image, other.image)


def test_the_budget_is_kept(agent: Agent, classifier: SquareClassifier, images: np.ndarray) -> None:
    counted = CountingBlackBox(classifier)
    result = Search(agent, counted, SearchSettings(steps=1, budget=6)).run(images[0])
    assert result.exhausted
    assert not result.valid
    assert counted.queries <= 6


def test_it_stops_between_steps_when_asked(agent: Agent, classifier: SquareClassifier, images: np.ndarray) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) >= 3

    with pytest.raises(CancelledError):
        Search(agent, CountingBlackBox(classifier), SETTINGS).run(images[0], cancelled=cancelled)
    assert len(asked) == 3


def test_targets_of_single_and_multi_label_answers() -> None:
    single, several = DecisionRule(), DecisionRule(multi_label=True)
    assert single.nearest_other(np.array([0.1, 0.6, 0.3])) == 2
    assert several.nearest_other(np.array([0.9, 0.4, 0.2])) == 1
    assert single.predicts(np.array([0.4, 0.3, 0.3]), 0)
    assert not several.predicts(np.array([0.4, 0.3, 0.3]), 0)


def test_an_agent_that_was_not_calibrated_is_searched_without_flow(
    eager: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    def found(flow: FlowSettings | None) -> SearchResult:
        return Search(eager, CountingBlackBox(classifier), replace(SETTINGS, flow=flow)).run(images[0])

    assert eager.calibration == UNCALIBRATED
    np.testing.assert_array_equal(found(FlowSettings()).best.image, found(None).best.image)


@pytest.mark.parametrize(("confidence", "by_flow"), [(0.6, False), (0.999999, True)])
def test_an_edit_by_flow_that_only_flips_is_shown_where_nothing_convinces(
    eager: Agent,
    classifier: SquareClassifier,
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    confidence: float,
    by_flow: bool,
) -> None:
    """The student leads where it convinces; else what the decoder draws is shown rather than a greater change."""
    drawn = Candidate(images[0] + 0.01, np.array([0.4, 0.6]), 0.5)
    calibrated = replace(eager, calibration=replace(eager.calibration, evidence_validity=1.0))
    monkeypatch.setattr(FlowSearch, "run", lambda self, *_: None)
    monkeypatch.setattr(FlowSearch, "nearest", lambda self, alternatives: FlowResult(drawn, (drawn,), ()))
    settings = replace(SETTINGS, flow=FlowSettings(), confidence=confidence)
    found = Search(calibrated, CountingBlackBox(classifier), settings).run(images[0])
    assert (found.by_flow, found.best is drawn) == (by_flow, by_flow)
    assert found.valid
    assert found.convinces is not by_flow


def test_the_lesser_edit_on_a_path_by_flow_is_the_one_nearest_to_the_boundary() -> None:
    def candidate(strength: float, probability: float) -> Candidate:
        return Candidate(np.zeros((1, 4, 4), np.float32), np.array([1 - probability, probability]), strength)

    original, far, near, best, beyond = (
        candidate(*each) for each in ((0.0, 0.49), (0.3, 0.1), (0.5, 0.6), (0.7, 0.9), (0.9, 0.5))
    )
    led = SearchResult(original, 1, best, True, (original, far, near, best, beyond), (), best.image, False, 0.9)
    drawn = replace(led, by_flow=True)
    assert drawn.nearest_to_boundary(best, multi_label=False) is near
    assert drawn.nearest_to_boundary(far, multi_label=False) is None
    assert led.nearest_to_boundary(best, multi_label=False) is None
