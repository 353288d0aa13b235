"""The structure that a decisive region touches: what people name, not the ring that a counterfactual changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from otherwise.concepts.description import FEATURES, describe_region
from otherwise.concepts.structure import structure_of
from otherwise.images.image import Geometry, Image

SIZES = {"picture": (64, 64, 1), "volume": (36, 36, 20)}


def drawn(size: str, contrast: float, seed: int) -> tuple[Image, np.ndarray, np.ndarray]:
    """Draw a ball in noise; return the image, the ball, and the ring that an edit which makes it grow would change."""
    rng = np.random.default_rng(seed)
    shape, spacing = SIZES[size], np.array([0.7, 0.7, 1.4])
    places = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) * spacing
    middle = np.array(shape) * spacing / 2 + rng.uniform(-3, 3, 3) * (np.array(shape) > 1)
    middle[2] *= shape[2] > 1
    away, radius = np.linalg.norm(places - middle, axis=-1), rng.uniform(4, 7)
    ball, ring = away < radius, (away >= radius - 1.0) & (away < radius + 2.5)
    array = (rng.normal(-850, 40, shape) + contrast * ball)[None].astype(np.float32)
    return Image(array, Geometry(shape, np.diag([*spacing, 1.0])), "drawn"), ball, ring


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("contrast", [900.0, 300.0, -400.0], ids=["bright", "faint", "dark"])
@pytest.mark.parametrize("seed", range(4))
def test_a_ring_of_change_finds_the_ball_within_it(size: str, contrast: float, seed: int) -> None:
    image, ball, ring = drawn(size, contrast, seed)
    found = structure_of(image, ring)
    assert dice(found, ball) >= 0.9 > dice(ring, ball) + 0.2


@pytest.mark.parametrize("size", SIZES)
def test_a_part_of_the_ball_finds_the_whole(size: str) -> None:
    image, ball, _ = drawn(size, 900.0, 1)
    inner = ndimage.distance_transform_edt(ball, sampling=image.geometry.spacing) > 1.5
    assert dice(structure_of(image, inner), ball) >= 0.9


def test_the_ball_beside_is_not_taken_for_it() -> None:
    image, ball, ring = drawn("picture", 900.0, 2)
    beside = np.roll(ball, 24, axis=0)
    both = image.with_array(image.array + 900.0 * (beside & ~ball)[None].astype(np.float32))
    assert not (structure_of(both, ring) & beside & ~ball).any()


@pytest.mark.parametrize("size", SIZES)
def test_where_nothing_differs_it_is_the_region_itself(size: str) -> None:
    image, _, ring = drawn(size, 0.0, 0)
    even = image.with_array(np.full_like(image.array, 7.0))
    np.testing.assert_array_equal(structure_of(even, ring), ring)


@pytest.mark.filterwarnings("error")
def test_a_ball_that_differs_by_few_steps_of_single_precision_is_found() -> None:
    image, ball, ring = drawn("picture", 0.0, 0)
    faint = image.with_array((30_000 + 0.1 * ball)[None].astype(np.float32))
    np.testing.assert_array_equal(structure_of(faint, ring), ball)


def test_a_region_on_one_slice_of_a_volume_has_its_structure_on_that_slice() -> None:
    image, ball, ring = drawn("volume", 900.0, 3)
    k = int(ball.sum(axis=(0, 1)).argmax())
    flat = np.zeros_like(ring)
    flat[..., k] = ring[..., k]
    found = structure_of(image, flat)
    assert not np.delete(found, k, axis=2).any()
    assert dice(found[..., k], ball[..., k]) >= 0.9


def test_the_region_and_the_ball_within_it_are_described() -> None:
    image, ball, ring = drawn("picture", 900.0, 0)
    features = dict(zip(FEATURES, describe_region(image, ring), strict=True))
    assert features["structure's median"] == pytest.approx(50, abs=25)
    assert features["structure's surroundings"] == pytest.approx(-850, abs=25)
    area, ring_area = ball.sum() * 0.49, ring.sum() * 0.49
    assert np.pi * (np.exp(features["structure's log diameter"]) / 2) ** 2 == pytest.approx(area, rel=0.1)
    assert np.pi * (np.exp(features["log diameter"]) / 2) ** 2 == pytest.approx(ring_area, rel=1e-4)
