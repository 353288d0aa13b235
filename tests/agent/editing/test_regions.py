"""Regions of an edit: where they lie, and which of them look cut out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from otherwise.agent.editing.regions import (
    cuts_through,
    edges_nearby,
    regions_of_change,
    regions_of_effect,
    seam,
    strong_parts,
)
from otherwise.influence.parts import composite, soft


@pytest.fixture(params=[(48, 40), (24, 20, 22)], ids=["2-D", "3-D"])
def size(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return tuple(request.param)


def ball(size: tuple[int, ...], radius: float) -> np.ndarray:
    places = np.indices(size) - (np.reshape(size, (-1, *[1] * len(size))) - 1) / 2
    return np.asarray(np.sqrt(np.square(places).sum(axis=0)) < radius)


def mass_and_no_mass(size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a mass in dark lung, and an edit in which it is gone."""
    lung = 0.1 + 0.01 * np.random.default_rng(0).standard_normal(size)
    mass = ndimage.gaussian_filter(ball(size, min(size) / 3).astype(float), 0.7)
    return (lung + 0.5 * mass)[None].astype(np.float32), lung[None].astype(np.float32)


def test_a_hole_in_a_mass_has_a_seam_and_the_whole_mass_gone_has_none(size: tuple[int, ...]) -> None:
    image, whole = mass_and_no_mass(size)
    hole = composite(image, whole, soft(ball(size, min(size) / 8), 1.0))
    gone = composite(image, whole, soft(ball(size, min(size) / 3 + 2), 1.0))
    assert seam(edges_nearby(image, whole), hole) > 0.06
    assert seam(edges_nearby(image, whole), gone) < 0.03
    assert seam(edges_nearby(image, whole), image) <= 0
    assert seam(edges_nearby(image, whole), whole) <= 0


def test_a_seam_does_not_depend_on_the_order_of_axes(size: tuple[int, ...]) -> None:
    image, whole = mass_and_no_mass(size)
    hole = composite(image, whole, soft(ball(size, min(size) / 8), 1.0))
    turned = [np.ascontiguousarray(np.moveaxis(each, 1, -1)) for each in (image, whole, hole)]
    assert seam(edges_nearby(*turned[:2]), turned[2]) == pytest.approx(seam(edges_nearby(image, whole), hole), rel=1e-5)


def test_parts_of_the_change_end_where_it_ends_and_touch_the_strongest_effect(size: tuple[int, ...]) -> None:
    """Two things change; the black box reads a corner of one of them."""
    change = np.zeros(size, np.float32)
    change[tuple(slice(2, edge // 3) for edge in size)] = 0.4
    change[tuple(slice(2 * edge // 3, edge - 2) for edge in size)] = 0.4
    effect = np.zeros(size)
    effect[tuple(slice(2, 5) for _ in size)] = 1.0
    (mask,) = regions_of_change(effect, change, [0.1], [3 ** len(size) / change.size])
    first, second = change.copy(), change.copy()
    first[tuple(slice(edge // 2, None) for edge in size)] = 0
    second[tuple(slice(0, edge // 2) for edge in size)] = 0
    assert mask[first > 0].min() == 1
    assert mask[second > 0].max() == 0


def test_regions_of_effect_grow_with_their_share_and_hold_the_strongest_voxel(size: tuple[int, ...]) -> None:
    effect = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(size), 2.0)
    masks = regions_of_effect(effect, np.zeros(size), [1 / 32, 1 / 8, 1 / 2], 1.5)
    strongest = np.unravel_index(effect.argmax(), size)
    assert all(mask[strongest] == 1 for mask in masks)
    assert np.all(masks[0] <= masks[1] + 1e-6)
    assert np.all(masks[1] <= masks[2] + 1e-6)


def test_nothing_that_changes_has_no_parts(size: tuple[int, ...]) -> None:
    assert regions_of_change(np.ones(size), np.zeros(size), [0.1], [0.1]) == []


@pytest.mark.parametrize(
    ("taken", "strength", "cut"),
    [(0.85, 0.5, True), (0.95, 0.5, False), (0.4, 0.5, False), (0.85, 0.2, False)],
    ids=["most of it", "all of it", "a part of it", "most of something faint"],
)
def test_a_region_may_not_take_most_of_a_strong_change_and_leave_its_end(
    size: tuple[int, ...], taken: float, strength: float, cut: bool
) -> None:
    """A diagonal stroke: its voxels touch at corners only."""
    change = np.full(size, 0.02)
    length = min(size) - 4
    for step in range(length):
        change[tuple(2 + step for _ in size)] = strength
    region = np.zeros(size, np.float32)
    region[: 2 + round(taken * length)] = 1.0
    region[:2] = 0.0
    assert cuts_through(region, strong_parts(change)) is cut
    assert not cuts_through(np.ones(size, np.float32), strong_parts(change))
