"""Deformations move what an image shows, by known amounts, on the classifier's grid and on the image's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.deformation import (
    blend,
    count_magnifications,
    deformed,
    deformed_native,
    is_plausible,
    magnifications,
    magnified,
)
from otherwise.agent.editing.deformation_search import DeformationSearch, DeformationSettings
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import view
from otherwise.errors import CancelledError
from otherwise.images.image import Geometry, Image
from support.discs import BRIGHT, DiscClassifier, disc
from support.model_view import to_model

SIZES = [(32, 24), (14, 12, 16)]


def area(image: np.ndarray) -> float:
    return float(image.sum()) / BRIGHT


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("amount", [-0.3, 0.2])
def test_a_magnification_of_the_whole_image_magnifies_as_much_everywhere(size: tuple[int, ...], amount: float) -> None:
    assert len(magnifications(size)) == count_magnifications(size)
    whole = magnifications(size)[-1 - len(size)][None] * amount
    expected = (1 - amount) ** -len(size)
    torch.testing.assert_close(magnified(whole), torch.full((1, *size), expected))
    image = disc(size, 0.25 * min(size))
    assert area(deformed(image, whole)[0]) == pytest.approx(expected * area(image), rel=0.08)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_stated_growth_is_the_growth_of_what_lies_there(seed: int) -> None:
    size = (40, 36)
    generator = torch.Generator().manual_seed(seed)
    basis = magnifications(size)
    field = torch.tensordot(0.1 * torch.randn(len(basis), generator=generator), basis, 1)[None]
    if not bool(is_plausible(field)[0]):
        return
    blob = np.exp(-np.square(np.indices(size) - np.array([20, 18])[:, None, None]).sum(0) / 20)[None].astype(np.float32)
    made = deformed(blob, field)[0]
    stated = float((made * magnified(field).numpy()[0] ** -1).sum())
    assert stated == pytest.approx(float(blob.sum()), rel=0.03)


def test_a_field_that_folds_or_swells_is_not_plausible() -> None:
    whole = magnifications((20, 20))[-3]
    fields = torch.stack([amount * whole for amount in (-1.5, -0.2, 0.0, 0.3, 0.7, 1.2)])
    assert is_plausible(fields).tolist() == [False, True, True, True, False, False]


@st.composite
def placed(draw: st.DrawFn) -> tuple[Geometry, np.random.Generator]:
    """Return a plane of random spacing, orientation and origin."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turned * rng.uniform(0.3, 2, 3)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return Geometry((int(rng.integers(40, 70)), int(rng.integers(40, 70)), 1), affine), rng


@given(where=placed())
@settings(max_examples=15, deadline=None)
def test_the_classifier_sees_of_the_deformed_image_what_was_deformed_for_it(
    where: tuple[Geometry, np.random.Generator],
) -> None:
    geometry, rng = where
    size = (24, 20)
    grid_places = np.indices(geometry.shape[:2]) / np.array(geometry.shape[:2])[:, None, None]
    picture = 100 * np.sin(5 * grid_places[0] + rng.uniform(0, 6)) * np.cos(4 * grid_places[1] + rng.uniform(0, 6))
    image = Image(picture[None, ..., None].astype(np.float32), geometry, "waves", 2)
    spec = InputSpec(size, intensity=(-100, 100))
    seen = view(image, spec, None)
    basis = magnifications(size)
    field = torch.tensordot(torch.from_numpy(rng.normal(size=len(basis)) * 0.06).float(), basis, 1)
    wanted = deformed(seen.array, field[None])[0]
    native = image.with_array(deformed_native(image, seen.grid, field.numpy()))
    shown = to_model(native, size, None, (-100, 100))
    nearly_one = image.with_array((1 - 1e-4 * rng.random(image.array.shape)).astype(np.float32))
    covered = to_model(nearly_one, size, None, (0, 1)) > 0.99
    inside = ndimage.binary_erosion(covered[0], iterations=3)[None]
    moved = np.abs(wanted - seen.array)[inside].mean()
    assert moved > 0.005
    assert np.abs(shown - wanted)[inside].mean() < 0.25 * moved


def test_no_deformation_changes_nothing_and_one_in_a_corner_nothing_far_away() -> None:
    rng = np.random.default_rng(0)
    image = Image(rng.integers(0, 255, (1, 90, 80, 1)).astype(np.uint8), Geometry((90, 80, 1), np.eye(4)), "grain", 2)
    affine = np.eye(4)
    affine[:2, 3] = [5, 4]
    grid = Geometry((20, 20, 1), affine)
    np.testing.assert_array_equal(deformed_native(image, grid, np.zeros((2, 20, 20), np.float32)), image.array)
    made = deformed_native(image, grid, 0.2 * magnifications((20, 20))[-3].numpy())
    assert np.abs(made - image.array)[0, 5:25, 4:24].mean() > 5
    np.testing.assert_array_equal(made[0, 45:], image.array[0, 45:])
    assert made.min() >= image.array.min()
    assert made.max() <= image.array.max()


def test_a_deformation_of_one_slice_leaves_the_others_alone() -> None:
    rng = np.random.default_rng(1)
    affine = np.diag([-0.7, 0.7, 2.5, 1.0])
    image = Image(rng.normal(0, 300, (2, 30, 28, 6)).astype(np.float32), Geometry((30, 28, 6), affine), "ct")
    slice_affine = affine.copy()
    slice_affine[:3, 3] = affine[:3, 2] * 3
    grid = Geometry((30, 28, 1), slice_affine)
    made = deformed_native(image, grid, 0.1 * magnifications((30, 28))[-3].numpy())
    changed = np.abs(made - image.array).max(axis=(1, 2))
    assert (changed[:, 3] > 10).all()
    assert (np.delete(changed, 3, axis=1) == 0).all()


def search(size: tuple[int, ...], limit: float, target: int, **options: float) -> DeformationSearch:
    box = CountingBlackBox(DiscClassifier(InputSpec(size), limit))
    return DeformationSearch(box, DecisionRule.of(box), DeformationSettings(**options), target, 0.7)


def original_of(finder: DeformationSearch, image: np.ndarray) -> Candidate:
    return Candidate(image, finder.classifier.predict(image[None])[0], 0.0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("factor", "target"), [(1.4, 1), (0.65, 0)])
def test_a_disc_is_made_as_large_as_the_black_box_asks_for(size: tuple[int, ...], factor: float, target: int) -> None:
    image = disc(size, 0.25 * min(size))
    finder = search(size, factor * area(image), target)
    found = finder.run(original_of(finder, image))
    assert found.convinces
    assert found.best.probabilities[target] >= 0.7
    assert found.best.probabilities[target] < 0.85  # no further than needed
    assert area(found.best.image) == pytest.approx(factor * area(image), rel=0.1)
    assert found.best.displacement is not None
    np.testing.assert_array_equal(found.best.image, deformed(image, torch.from_numpy(found.best.displacement)[None])[0])
    strengths = [each.strength for each in found.tried]
    assert strengths == sorted(strengths)
    assert finder.classifier.queries <= 1 + finder.most_queries(size, alternatives=False)


@pytest.mark.parametrize("size", SIZES)
def test_other_answers_are_coarser_and_convince_too(size: tuple[int, ...]) -> None:
    image = disc(size, 0.25 * min(size))
    finder = search(size, 1.4 * area(image), 1)
    original = original_of(finder, image)
    best = finder.run(original).best
    others = finder.alternatives(original, best)
    assert 1 <= len(others) <= 2
    for other in others:
        assert other.probabilities[1] >= 0.7
        assert area(other.image) == pytest.approx(1.4 * area(image), rel=0.1)
        assert other.displacement is not None
        assert best.displacement is not None
        apart = np.linalg.norm(other.displacement - best.displacement)
        assert apart > 0.25 * np.linalg.norm(other.displacement)
    assert finder.classifier.queries <= 1 + finder.most_queries(size, alternatives=True)


def test_what_no_deformation_can_reach_is_not_claimed() -> None:
    image = np.full((1, 32, 24), 0.3, np.float32)  # without any shape
    finder = search((32, 24), 2 * area(image), 1)
    found = finder.run(original_of(finder, image))
    assert not found.valid
    assert not found.convinces
    large = disc((32, 24), 5)
    finder = search((32, 24), 30 * area(large), 1)
    found = finder.run(original_of(finder, large))
    assert not found.valid
    assert found.best.displacement is not None
    assert area(found.best.image) > area(large)


@dataclass(frozen=True)
class GrainClassifier(DiscClassifier):
    """A classifier that says "large" by the contrast between neighbouring voxels."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Answer to grain alone."""
        contrast = np.square(np.diff(images, axis=-1)).reshape(len(images), -1).mean(axis=1).astype(np.float64)
        large = 1 / (1 + np.exp(-20 * (contrast / self.limit - 1)))
        return np.stack([1 - large, large], axis=1)


def test_a_classifier_that_goes_by_grain_does_not_count_as_one_that_goes_by_shapes() -> None:
    image = np.random.default_rng(2).random((1, 32, 24)).astype(np.float32)
    contrast = float(np.square(np.diff(image, axis=-1)).mean())
    box = CountingBlackBox(GrainClassifier(InputSpec((32, 24)), 0.9 * contrast))
    finder = DeformationSearch(box, DecisionRule.of(box), DeformationSettings(), 0, 0.7)
    found = finder.run(original_of(finder, image))
    assert found.convinces
    assert found.best.strength < 1
    assert not found.moves


def test_a_search_is_cancelled_between_its_rounds() -> None:
    def stop() -> None:
        raise CancelledError("Stopped.", "Ask again.")

    box = CountingBlackBox(DiscClassifier(InputSpec((32, 24)), 300))
    finder = DeformationSearch(box, DecisionRule.of(box), DeformationSettings(), 1, 0.7, stop)
    with pytest.raises(CancelledError):
        finder.run(original_of(finder, disc((32, 24), 5)))


def test_deformations_are_blended_as_fields_and_other_edits_as_images() -> None:
    image = disc((32, 24), 6)
    field = 0.3 * magnifications(image.shape[1:])[-3]
    answer = np.array([0.5, 0.5])
    start = Candidate(image, answer, 0.0)
    end = Candidate(deformed(image, field[None])[0], answer, 1.0, displacement=field.numpy())
    between, displacement = blend(image, start, end, 0.5)
    assert displacement is not None
    np.testing.assert_allclose(displacement, 0.5 * field.numpy(), rtol=1e-6)
    assert ((between > 0.1) & (between < 0.7)).mean() < 0.12  # one edge, not two
    drawn = Candidate(end.image, answer, 1.0)
    mixed, none = blend(image, start, drawn, 0.5)
    assert none is None
    np.testing.assert_allclose(mixed, (image + end.image) / 2, atol=1e-6)
