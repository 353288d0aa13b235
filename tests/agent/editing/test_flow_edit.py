"""Edits by flow: exact where the flow is known, nothing without a difference, nothing outside a region."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.flow_edit import FlowStrength, flow_edit, renewed_noise, without_grain
from otherwise.agent.editing.flow_search import FlowSearch, most_believable
from otherwise.agent.editing.flow_settings import FlowSettings
from otherwise.agent.editing.realism import denoising_errors
from otherwise.agent.editing.regions import edges_nearby
from otherwise.agent.flow import invert, render
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.blackbox.decision import DecisionRule
from support.gaussian_flow import SPREAD, GaussianFlow, says
from support.square_models import SquareClassifier, with_random_weights

SMALL_REGIONS = FlowSettings(border=0.25)
"""Borders that fit the small images of these tests."""


@pytest.mark.parametrize("steps", [8, 32])
def test_the_solver_follows_an_analytic_flow(steps: int) -> None:
    flow, mean = GaussianFlow(), 0.4
    noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    condition = says(*[mean] * 4)
    images = render(lambda x, t: flow.velocity(x, t, condition), noise, 1.0, steps)
    error = (images - (mean + SPREAD * noise)).abs().max()
    assert error < 1.0 / steps
    back = invert(lambda x, t: flow.velocity(x, t, condition), mean + SPREAD * noise, 1.0, steps)
    assert (back - noise).abs().max() < 1.0 / steps


@pytest.mark.parametrize("steps", [1, 5])
def test_an_edit_from_pure_noise_moves_an_image_from_one_mean_to_the_other(steps: int) -> None:
    images = 0.2 + SPREAD * torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    strengths = [FlowStrength(1.0, 0.0)] * 3
    edited = flow_edit(GaussianFlow(), images, says(*[0.2] * 3), says(*[0.7] * 3), noise, strengths, steps=steps)
    torch.testing.assert_close(edited, images + 0.5)


def test_each_step_has_a_noise_of_its_own_where_that_is_asked_for() -> None:
    noise = torch.randn(1, 1, 24, 20, 18, generator=torch.Generator().manual_seed(3))
    several = [renewed_noise(noise, step) for step in range(8)]
    assert torch.equal(several[0], noise)
    for one, other in itertools.combinations(several, 2):
        assert torch.equal(one.flatten().sort().values, other.flatten().sort().values), "the same law"
        together = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(together) < 0.06, "and no noise that was there before"


def test_noise_of_its_own_at_each_step_averages_out() -> None:
    """Renewed noise cancels what a field mistakes for evidence."""

    class Credulous(GaussianFlow):
        def velocity(self, x: torch.Tensor, t: torch.Tensor, condition: Conditioning) -> torch.Tensor:
            return super().velocity(x, t, condition) + x * condition.evidence[:, 1].reshape(-1, 1, 1, 1)

    images = torch.zeros(1, 1, 64, 64)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(3))
    grain = [
        flow_edit(
            Credulous(), images, says(0.0), says(0.5), noise, [FlowStrength(0.9, 0.0)], steps=12, renewed=renewed
        ).std()
        for renewed in (False, True)
    ]
    assert grain[1] < 0.6 * grain[0]


def test_more_strength_changes_more() -> None:
    images, noise = torch.zeros(4, 1, 8, 8), torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    strengths = [FlowStrength(0.3, 0.0), FlowStrength(0.6, 0.0), FlowStrength(0.6, 1.0), FlowStrength(0.9, 1.0)]
    edited = flow_edit(GaussianFlow(), images, says(*[0.0] * 4), says(*[0.5] * 4), noise, strengths)
    size = edited.mean(dim=(1, 2, 3))
    assert (size.diff() > 0.01).all()


@pytest.fixture
def model(model: DiffusionAutoencoder) -> DiffusionAutoencoder:
    return with_random_weights(model)


def test_equal_conditions_change_nothing_to_the_bit(model: DiffusionAutoencoder, images: np.ndarray) -> None:
    pixels = 2 * torch.from_numpy(images[:2]) - 1
    same = Conditioning.of(torch.zeros(2, model.architecture.latent), torch.tensor([[0.5, -0.5]] * 2)).withheld()
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        edited = flow_edit(model.eval(), pixels, same, same, noise, [FlowStrength(0.9, 0.0)] * 2)
    # The network computes both fields in one batch; the difference is zero up to its rounding.
    torch.testing.assert_close(edited, pixels, rtol=0, atol=1e-5)


def test_a_region_edit_leaves_the_outside_to_the_bit(model: DiffusionAutoencoder, images: np.ndarray) -> None:
    pixels = 2 * torch.from_numpy(images[:1]) - 1
    mask = torch.zeros(1, 1, *pixels.shape[2:])
    mask[:, :, 2:6, 3:7] = 0.5
    mask[:, :, 3:5, 4:6] = 1.0
    latent = torch.zeros(1, model.architecture.latent)
    present, target = (Conditioning.of(latent, torch.tensor([row])).withheld() for row in ([1.0, -1.0], [-1.0, 1.0]))
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        edited = flow_edit(model.eval(), pixels, present, target, noise, [FlowStrength(0.9, 3.0)], mask)
    outside = (mask == 0).expand_as(pixels)
    assert torch.equal(edited[outside], pixels[outside])
    assert not torch.equal(edited, pixels)


def test_taking_grain_away_leaves_the_outside_to_the_bit_and_nothing_at_depth_zero(
    model: DiffusionAutoencoder, images: np.ndarray
) -> None:
    pixels = 2 * torch.from_numpy(images[:1]) - 1
    mask = torch.zeros(1, 1, *pixels.shape[2:])
    mask[:, :, 2:6, 3:7] = 0.7
    target = Conditioning.of(torch.zeros(1, model.architecture.latent), torch.tensor([[-1.0, 1.0]])).withheld()
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        cleaned = without_grain(model.eval(), pixels, target, noise, 0.3, 2, mask)
        assert without_grain(model, pixels, target, noise, 0.0, 2, mask) is pixels
    outside = (mask == 0).expand_as(pixels)
    assert torch.equal(cleaned[outside], pixels[outside])
    assert not torch.equal(cleaned, pixels)


def test_grain_is_taken_from_images_of_an_exact_flow() -> None:
    """The flow draws images with a standard deviation of 0.3; a grain of 1.2 shrinks and the mean stays."""
    pixels = 0.4 + 4 * SPREAD * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(2))
    cleaned = without_grain(GaussianFlow(), pixels, says(0.4), noise, 0.5, 8)
    assert cleaned.std() < 2.5 * SPREAD
    assert abs(float(cleaned.mean()) - 0.4) < 0.05


def test_a_search_is_the_same_for_the_same_seed_and_stays_within_its_region(
    agent: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    image = images[0]
    answer = classifier.predict(image[None])[0]

    def judge(made: np.ndarray, strengths: list[float]) -> list[Candidate]:
        # Whatever changes by more than a hair convinces, so that the whole search runs.
        moved = np.abs(made - image).reshape(len(made), -1).max(axis=1) > 1e-4
        answers = [np.array([0.01, 0.99]) if far else answer for far in moved]
        return [Candidate(*one) for one in zip(made, answers, strengths, strict=True)]

    def found(seed: int) -> np.ndarray:
        original = Candidate(image, answer, 0.0)
        with torch.inference_mode():
            search = FlowSearch(
                agent, judge, classifier, SMALL_REGIONS, original, 1, 0.9, DecisionRule(), seed, lambda: None
            )
            result = search.run(2)
        assert result is not None
        assert len(result.alternatives) == 2
        assert not np.array_equal(result.alternatives[0].image, result.alternatives[1].image)
        return result.best.image

    first, again, other = found(0), found(0), found(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first == image).mean() > 0.5


@pytest.mark.parametrize(
    ("limit", "quarterings", "calls", "least"),
    [
        (0.6, 1, [(0.45, 0.55, 0.65, 0.75)], 0.65),
        (0.9, 1, [(0.45, 0.55, 0.65, 0.75), (0.8, 0.85, 0.9, 0.95)], 0.9),
        (0.6, 2, [(0.45, 0.55, 0.65, 0.75), (0.575, 0.6, 0.625)], 0.6),
        (0.1, 2, [(0.45, 0.55, 0.65, 0.75), (0.375, 0.4, 0.425)], 0.375),
        (1.0, 2, [(0.45, 0.55, 0.65, 0.75), (0.8, 0.85, 0.9, 0.95)], None),
    ],
)
def test_the_least_convincing_strength_is_found_in_few_calls(
    agent: Agent,
    classifier: SquareClassifier,
    images: np.ndarray,
    limit: float,
    quarterings: int,
    calls: list[tuple[float, ...]],
    least: float | None,
) -> None:
    asked: list[list[float]] = []

    def judge(made: np.ndarray, strengths: list[float]) -> list[Candidate]:
        asked.append(list(strengths))
        answers = [np.array([0.01, 0.99]) if each > limit - 1e-6 else np.array([0.6, 0.4]) for each in strengths]
        return [Candidate(*one) for one in zip(made, answers, strengths, strict=True)]

    settings = replace(SMALL_REGIONS, guidance_scales=(3.0,), quarterings=quarterings)
    original = Candidate(images[0], np.array([0.9, 0.1]), 0.0)
    with torch.inference_mode():
        search = FlowSearch(agent, judge, classifier, settings, original, 1, 0.9, DecisionRule(), 0, lambda: None)
        result = search.run(0)
    for made, expected in zip(asked, calls, strict=False):
        assert made == pytest.approx(expected)
    if least is None:
        assert (result, len(asked)) == (None, len(calls))
    else:
        assert asked[len(calls)] == pytest.approx([least] * len(asked[len(calls)])), "its regions are tried next"


def test_of_small_changes_the_most_realistic_one_counts(agent: Agent, images: np.ndarray) -> None:
    image, answer = images[0], np.array([0.1, 0.9])
    rng = np.random.default_rng(3)
    smooth = (image + 0.1).astype(np.float32)
    grain = (image + 0.1 * rng.choice([-1, 1], image.shape)).astype(np.float32)
    far = np.full_like(image, 0.5)
    made = [Candidate(each, answer, 1.0) for each in (grain, smooth, far)]
    errors = denoising_errors(agent, np.stack([each.image for each in made]), np.stack([answer] * 3))
    assert errors[2] < errors[1], "grey is what this agent denoises best, but it is no small change"
    quiet = made[int(errors[:2].argmin())]
    assert most_believable(agent, image, made, 1.25) is quiet
    assert most_believable(agent, image, [made[2], made[0]], 1.25) is made[0]


def test_alternatives_and_path_lose_their_grain_where_they_flip_without_it(
    agent: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    image, answer, flipped = images[0], np.array([0.9, 0.1]), np.array([0.01, 0.99])

    def found(flips_until: float) -> tuple[list[np.ndarray], int]:
        asked = [0]

        def judge(made: np.ndarray, strengths: list[float]) -> list[Candidate]:
            asked[0] += 1
            probabilities = flipped if asked[0] <= flips_until else answer
            return [Candidate(*one) for one in zip(made, [probabilities] * len(made), strengths, strict=True)]

        settings = replace(SMALL_REGIONS, grain_depths=(0.3,), seam=np.inf)
        original = Candidate(image, answer, 0.0)
        with torch.inference_mode():
            search = FlowSearch(agent, judge, classifier, settings, original, 1, 0.9, DecisionRule(), 0, lambda: None)
            result = search.run(2)
        assert result is not None
        return [each.image for each in result.alternatives], asked[0]

    cleaned, asked = found(np.inf)
    kept, asked_then = found(asked - 1)  # the alternatives flip, and do not once they are cleaned
    assert asked_then == asked
    assert len(cleaned) == len(kept) == 2
    assert not np.array_equal(cleaned, kept)


def test_the_region_lies_where_the_black_box_looks_and_not_where_most_changes(
    agent: Agent, classifier: SquareClassifier
) -> None:
    """One corner changes more than the middle, and the black box reads the middle alone."""
    size = classifier.inputs.size
    middle = (0, *(slice(edge // 4, edge - edge // 4) for edge in size))
    corner = (0, *(slice(0, edge // 4 - 1) for edge in size))  # what touches is one thing
    image = np.full((1, *size), 0.3, np.float32)
    edited = image.copy()
    edited[middle] += 0.4
    edited[corner] += 0.7
    answers = classifier.predict(np.stack([image, edited]))
    assert answers.argmax(axis=1).tolist() == [0, 1]

    def judge(made: np.ndarray, strengths: list[float]) -> list[Candidate]:
        return [Candidate(*one) for one in zip(made, classifier.predict(made), strengths, strict=True)]

    original, whole = Candidate(image, answers[0], 0.0), Candidate(edited, answers[1], 0.8)
    search = FlowSearch(agent, judge, classifier, SMALL_REGIONS, original, 1, 0.5, DecisionRule(), 0, lambda: None)
    _, part = search.best_region(whole, edges_nearby(image, edited))
    assert classifier.predict(part.image[None])[0].argmax() == 1
    change = np.abs(part.image - image)
    assert change[corner].max() < 0.05
    assert change[middle].max() > 0.3


@pytest.mark.parametrize("change", [0.0, 0.01, 0.2])
def test_a_change_without_any_part_that_stands_out_stays_whole(
    agent: Agent, classifier: SquareClassifier, change: float
) -> None:
    """As of values, whose edits are not cut by shares of the effect; some reach their target by a faint change."""
    image = np.full((1, *classifier.inputs.size), 0.3, np.float32)
    edited = image + np.float32(change)
    convinced = np.array([0.01, 0.99])

    def judge(made: np.ndarray, strengths: list[float]) -> list[Candidate]:
        return [Candidate(*one) for one in zip(made, [convinced] * len(made), strengths, strict=True)]

    settings = replace(SMALL_REGIONS, shares=(), touched=(1.0,))
    original, whole = Candidate(image, np.array([0.9, 0.1]), 0.0), Candidate(edited, convinced, 0.8)
    search = FlowSearch(agent, judge, classifier, settings, original, 1, 0.5, DecisionRule(), 0, lambda: None)
    region, part = search.best_region(whole, edges_nearby(image, edited))
    assert region.max() == 1
    np.testing.assert_allclose(part.image, edited, atol=1e-6)


def test_another_guidance_is_tried_where_the_first_does_not_move_the_black_box(
    agent: Agent, classifier: SquareClassifier, images: np.ndarray
) -> None:
    image = images[0]
    answer = classifier.predict(image[None])[0]

    def found(scales: tuple[float, ...]) -> bool:
        asked: list[int] = []

        def judge(made: np.ndarray, strengths: list[float]) -> list[Candidate]:
            asked.append(len(made))
            probabilities = answer if len(asked) == 1 else np.array([0.01, 0.99])
            return [Candidate(*one) for one in zip(made, [probabilities] * len(made), strengths, strict=True)]

        settings = replace(SMALL_REGIONS, guidance_scales=scales)
        original, rule = Candidate(image, answer, 0.0), DecisionRule()
        with torch.inference_mode():
            search = FlowSearch(agent, judge, classifier, settings, original, 1, 0.9, rule, 0, lambda: None)
            return search.run(0) is not None

    assert not found((3.0,))
    assert found((3.0, 2.0))


@pytest.mark.parametrize(("utmost", "flips"), [(0.8, True), (0.4, False)])
def test_where_no_edit_convinces_the_least_that_comes_nearly_as_far_counts(
    agent: Agent, classifier: SquareClassifier, images: np.ndarray, utmost: float, flips: bool
) -> None:
    """A true counterfactual may convince less than most images of the class do: the image is not spoilt for more."""
    image = images[0]

    def judge(made: np.ndarray, strengths: list[float]) -> list[Candidate]:
        reached = [0.1 + (utmost - 0.1) * min(1.0, each / 0.6) for each in strengths]
        answers = [np.array([1 - each, each]) for each in reached]
        return [Candidate(*one) for one in zip(made, answers, strengths, strict=True)]

    original = Candidate(image, np.array([0.9, 0.1]), 0.0)
    with torch.inference_mode():
        search = FlowSearch(agent, judge, classifier, SMALL_REGIONS, original, 1, 0.9, DecisionRule(), 0, lambda: None)
        assert search.run(0) is None
        found = search.nearest(0)
    if not flips:
        assert found is None
        return
    assert found is not None
    assert found.best.probabilities[1] >= 0.1 + 0.9 * (utmost - 0.1) - 1e-6
    assert found.best.strength < 0.7, "what is stronger comes no farther"
    assert search.goal == 0.9
