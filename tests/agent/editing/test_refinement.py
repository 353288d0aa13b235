"""What is not needed is taken back, ghosts are drawn anew, and the black box is no less convinced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.refinement import SHARES, Judge, Refinement
from otherwise.agent.editing.search import Search
from otherwise.agent.editing.search_result import SearchResult
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import InputSpec
from support.square_models import SquareClassifier, eager_agent, squares

SIZE = (16, 16)
CENTRE = np.zeros(SIZE, bool)
CENTRE[4:12, 4:12] = True
"""Where ``SquareClassifier`` looks."""
CONFIDENCE = 0.9


def judge(images: np.ndarray, strengths: Sequence[float]) -> list[Candidate]:
    answers = SquareClassifier(InputSpec(SIZE)).predict(images)
    return [Candidate(*one) for one in zip(images, answers, strengths, strict=True)]


def refined(
    agent: Agent, image: np.ndarray, moved: list[Candidate], best: int, target: int, ask: Judge = judge
) -> list[Candidate]:
    refinement = Refinement(agent, ask, CONFIDENCE, rule=DecisionRule())
    return refinement.path(image, moved, moved[best], target, torch.Generator().manual_seed(0), lambda: None)


@pytest.fixture
def agent() -> Agent:
    return eager_agent(SquareClassifier(InputSpec(SIZE)))


def grey(level: float) -> np.ndarray:
    return np.full((1, *SIZE), level, np.float32)


def brighter(amounts: Sequence[float]) -> list[Candidate]:
    """The centre becomes brighter, all else by half as much."""
    change = np.where(CENTRE, 1.0, 0.5).astype(np.float32)
    return judge(np.stack([grey(0.4) + amount * change for amount in amounts]), amounts)


def test_only_what_the_black_box_looks_at_still_changes(agent: Agent) -> None:
    path = refined(agent, grey(0.4), brighter([0.1, 0.25, 0.3]), best=1, target=1)
    assert [candidate.strength for candidate in path] == [0.1, 0.25, 0.3]
    assert path[1].probabilities[1] >= CONFIDENCE
    for candidate in path:
        change = np.abs(candidate.image[0] - 0.4)
        np.testing.assert_allclose(change[CENTRE], candidate.strength, atol=1e-6)
        assert (change[0] < 1e-4).all(), "far from the centre nothing is left"
        assert candidate.probabilities == pytest.approx(judge(candidate.image[None], [0])[0].probabilities)


def test_what_is_all_needed_stays_as_it_is(agent: Agent) -> None:
    """Half of the centre's change leaves the black box unconvinced, and half of the voxels are as much as is tried."""
    noise = np.random.default_rng(0).uniform(0.1, 0.25, SIZE).astype(np.float32)
    everywhere = np.where(CENTRE, noise, 0.3)
    (only,) = judge((grey(0.4) + everywhere)[None].astype(np.float32), [1.0])
    only = replace(only, probabilities=np.array([0.01, 0.99]))
    assert refined(agent, grey(0.4), [only], best=0, target=1)[0] is only


def test_what_only_just_flips_is_as_sure_as_before(agent: Agent) -> None:
    moved = brighter([0.11])
    assert 0.5 < moved[0].probabilities[1] < CONFIDENCE
    (least,) = refined(agent, grey(0.4), moved, best=0, target=1)
    assert least.probabilities[1] >= moved[0].probabilities[1] - 1e-6
    assert np.abs(least.image - 0.4).sum() < np.abs(moved[0].image - 0.4).sum()


def test_a_student_that_was_convinced_stays_convinced(agent: Agent) -> None:
    """It goes by what changes in all; the black box by the centre alone."""

    def both(images: np.ndarray, strengths: Sequence[float]) -> list[Candidate]:
        total = np.abs(images - 0.4).mean(axis=(1, 2, 3))
        return [
            replace(candidate, student_probabilities=np.array([0.0, 0.95 if share > 0.09 else 0.2]))
            for candidate, share in zip(judge(images, strengths), total, strict=True)
        ]

    moved = [replace(candidate, student_probabilities=np.array([0.0, 0.95])) for candidate in brighter([0.22])]
    alone = refined(agent, grey(0.4), brighter([0.22]), best=0, target=1)[0]
    liked = refined(agent, grey(0.4), moved, best=0, target=1, ask=both)[0]
    assert np.abs(alone.image - 0.4).mean() <= 0.09
    assert np.abs(liked.image - 0.4).mean() > 0.09


def test_no_image_is_asked_about_twice(agent: Agent) -> None:
    asked: list[bytes] = []

    def noting(images: np.ndarray, strengths: Sequence[float]) -> list[Candidate]:
        asked.extend(image.tobytes() for image in images)
        return judge(images, strengths)

    moved = brighter([0.1, 0.22, 0.24])
    path = refined(agent, grey(0.4), moved, best=1, target=1, ask=noting)
    first = len(asked)
    assert len(set(asked)) == first <= len(SHARES) + 2
    Refinement(agent, noting, CONFIDENCE, rule=DecisionRule()).needed(grey(0.4), moved[2], 1)
    assert len(asked) <= first + len(SHARES)
    assert path[1].image.tobytes() in asked


def drawing(level: float) -> Agent:
    """An agent that draws every image as one grey level, whatever the noise."""
    agent = eager_agent(SquareClassifier(InputSpec(SIZE)))
    slope = torch.zeros(())

    def velocity(noised: torch.Tensor, time: torch.Tensor, code: Conditioning) -> torch.Tensor:
        nonlocal slope
        # Straight to the grey level; at time 0, where it has arrived, as just before.
        slope = (noised - (2 * level - 1)) / time[0] if time[0] > 1e-6 else slope
        return slope

    agent.model.velocity = velocity  # type: ignore[method-assign]
    return agent


def letter() -> tuple[np.ndarray, list[Candidate]]:
    """A bright square on dark, and edits that leave less and less of it and a little grain."""
    image = grey(0.1)
    image[0, CENTRE] = 0.9
    grain = np.random.default_rng(1).uniform(-0.01, 0.01, (1, *SIZE)).astype(np.float32)
    left = {1.0: 0.5, 2.0: 0.25, 3.0: 0.2}
    edits = np.stack([np.where(CENTRE, level, 0.1 + grain) for level in left.values()]).astype(np.float32)
    return image, judge(edits, list(left))


def test_a_ghost_is_drawn_anew_and_nothing_beside_it() -> None:
    image, moved = letter()
    path = refined(drawing(0.1), image, moved, best=1, target=0)
    for candidate in path[1:]:
        np.testing.assert_allclose(candidate.image, grey(0.1), atol=1e-5)
        assert (candidate.image[0, ~CENTRE] == image[0, ~CENTRE]).all()
    assert path[0].image[0, 8, 8] == pytest.approx(0.5), "the way there is not drawn anew"
    assert path[1].probabilities[0] > moved[1].probabilities[0]


def test_drawing_anew_costs_three_calls_of_the_decoder_for_all_images_of_the_path() -> None:
    """Bound the network calls of a redraw: fifteen took a third of the time for letters, and drew them no better."""
    image, moved = letter()
    agent, calls = drawing(0.1), 0
    draw = agent.model.velocity

    def counted(noised: torch.Tensor, time: torch.Tensor, code: Conditioning) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return draw(noised, time, code)

    agent.model.velocity = counted  # type: ignore[method-assign]
    refined(agent, image, moved, best=0, target=0)
    assert calls == 3


def test_what_is_drawn_anew_counts_only_if_the_black_box_is_as_sure() -> None:
    image, moved = letter()
    path = refined(drawing(0.4), image, moved, best=1, target=0)
    for candidate, before in zip(path, moved, strict=True):
        np.testing.assert_allclose(candidate.image[0, CENTRE], before.image[0, CENTRE])


def test_where_nothing_stood_out_nothing_is_drawn(agent: Agent) -> None:
    def refused(*anything: object) -> torch.Tensor:
        raise AssertionError("The decoder is asked.")

    agent.model.velocity = refused  # type: ignore[method-assign,assignment]
    refined(agent, grey(0.4), brighter([0.2]), best=0, target=1)
    image, moved = letter()
    with pytest.raises(AssertionError, match="asked"):
        refined(agent, image, moved, best=1, target=0)


def test_drawing_anew_can_be_cancelled() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    image, moved = letter()
    refinement = Refinement(drawing(0.1), judge, CONFIDENCE, rule=DecisionRule())
    with pytest.raises(KeyboardInterrupt):
        refinement.path(image, moved, moved[1], 0, torch.Generator(), stop)


@pytest.mark.parametrize("size", [(16, 16), (8, 8, 8)])
def test_a_search_changes_less_when_it_refines_and_flips_all_the_same(size: tuple[int, ...]) -> None:
    classifier = SquareClassifier(InputSpec(size))
    eager = eager_agent(classifier)

    def found(image: np.ndarray, refine: bool) -> SearchResult:
        return Search(eager, CountingBlackBox(classifier), SearchSettings(flow=None, steps=2, refine=refine)).run(image)

    changed = []
    for image in squares(size, 6, seed=0):
        plain, least = found(image, False), found(image, True)
        assert least.valid == plain.valid
        assert least.best.strength == plain.best.strength
        assert any(candidate is least.best for candidate in least.path)
        for candidate in (*least.tried, *least.alternatives):
            assert classifier.predict(candidate.image[None])[0] == pytest.approx(candidate.probabilities)
        changed.append([np.abs(one.best.image - image).sum() for one in (plain, least) if plain.valid])
    before, after = np.sum(changed, axis=0)
    assert after < 0.95 * before


def test_a_search_that_may_ask_no_more_leaves_the_change_as_it_is() -> None:
    classifier = SquareClassifier(InputSpec(SIZE))
    settings = SearchSettings(flow=None, steps=2, budget=12, alternatives=0)
    counted = CountingBlackBox(classifier)
    found = Search(eager_agent(classifier), counted, settings).run(grey(0.45), target=1)
    plain = Search(eager_agent(classifier), counted, replace(settings, refine=False)).run(grey(0.45), target=1)
    assert found.valid
    np.testing.assert_array_equal(found.best.image, plain.best.image)
    assert counted.queries <= 24


@pytest.mark.parametrize("enough", [0, 1, 4, 7, None])
def test_the_least_share_that_convinces_is_found_with_hardly_a_question_beyond_it(
    agent: Agent, enough: int | None
) -> None:
    asked: list[np.ndarray] = []

    def counting(images: np.ndarray, strengths: Sequence[float]) -> list[Candidate]:
        start = len(asked)
        asked.extend(images)
        sure = [1.0 if enough is not None and number >= enough else 0.0 for number in range(start, len(asked))]
        return [
            Candidate(image, np.array([1 - says, says]), strength)
            for image, says, strength in zip(images, sure, strengths, strict=True)
        ]

    (moved,) = brighter([0.22])
    part = Refinement(agent, counting, CONFIDENCE, rule=DecisionRule()).needed(grey(0.4), moved, 1)
    if enough is None:
        assert part is moved
        assert len(asked) == len(SHARES)
    else:
        np.testing.assert_array_equal(part.image, asked[enough])
        assert len(asked) <= enough + 2
