"""Regions stay where they are: as JSON, cropped, on other grids; polygons have their area; bombs do not go off."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation
from skimage.draw import polygon2mask

from otherwise.annotations.region import MOST_POINTS, RegionError, RegionMask
from otherwise.images.image import Geometry

often = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def geometries(draw: st.DrawFn, smallest: int = 1, largest: int = 12, slices: int | None = None) -> Geometry:
    """Grids of any rotation, handedness, spacing and origin."""
    i, j, k = (draw(st.integers(smallest, largest)) for _ in range(3))
    angles = [draw(st.floats(-180, 180)) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] *= [draw(st.floats(0.2, 5.0)) * draw(st.sampled_from([1, -1])) for _ in range(3)]
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return Geometry((i, j, slices or k), affine)


@st.composite
def regions(draw: st.DrawFn) -> RegionMask:
    geometry = draw(geometries())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(geometry.shape) < draw(st.floats(0, 1))
    mask[tuple(rng.integers(geometry.shape))] = True
    return RegionMask(mask, geometry)


def box(shape: tuple[int, int, int] = (10, 8, 4), spacing: tuple[float, ...] = (1, 1, 1)) -> RegionMask:
    mask = np.zeros(shape, dtype=bool)
    mask[2:5, 3:6, : min(2, shape[2])] = True
    return RegionMask(mask, Geometry(shape, np.diag([*spacing, 1.0])))


@often
@given(regions())
def test_through_json_and_back_nothing_changes(region: RegionMask) -> None:
    text = json.dumps(region.to_json())
    again = RegionMask.from_json(json.loads(text))
    assert again == region
    assert hash(again) == hash(region)
    assert json.dumps(again.to_json()) == text


def test_what_another_zlib_has_packed_is_written_again_as_it_was() -> None:
    value = box().to_json()
    other = base64.b64encode(zlib.compress(zlib.decompress(base64.b64decode(value["voxels"])), level=0)).decode()
    assert other != value["voxels"]
    again = RegionMask.from_json({**value, "voxels": other})
    assert again == box()
    assert again.to_json()["voxels"] == other


@often
@given(regions())
def test_cropped_it_is_small_and_lies_where_it_lay(region: RegionMask) -> None:
    small = region.cropped()
    assert all(small.mask.any(axis=tuple({0, 1, 2} - {axis}))[[0, -1]].all() for axis in range(3)), "no smaller box"
    before = region.geometry.to_ras(np.argwhere(region.mask))
    np.testing.assert_allclose(small.geometry.to_ras(np.argwhere(small.mask)), before, atol=1e-6)
    assert small.on(region.geometry) == region
    assert small.cropped() is small


@often
@given(regions(), geometries())
def test_on_any_grid_a_voxel_is_in_the_region_where_the_nearest_one_is(region: RegionMask, grid: Geometry) -> None:
    """Against the nearest voxel worked out one by one; what lies within rounding of a border may be either."""
    middle = region.geometry.to_ras(np.argwhere(region.mask).mean(axis=0))
    affine = grid.affine.copy()
    affine[:3, 3] += middle - grid.to_ras((np.array(grid.shape) - 1) / 2)
    grid = Geometry(grid.shape, affine)

    index = region.geometry.to_index(grid.to_ras(np.stack(np.indices(grid.shape), axis=-1)))
    nearest = np.rint(index).astype(int)
    inside = ((nearest >= 0) & (nearest < region.geometry.shape)).all(axis=-1)
    expected = np.zeros(grid.shape, dtype=bool)
    expected[inside] = region.mask[tuple(nearest[inside].T)]
    sure = (np.abs(index - np.floor(index) - 0.5) > 1e-5).all(axis=-1)
    assume((expected & sure).any())
    np.testing.assert_array_equal(region.on(grid).mask[sure], expected[sure])


def test_a_region_smaller_than_a_voxel_there_does_not_vanish() -> None:
    coarse = Geometry((3, 2, 1), np.diag([4.0, 4.0, 4.0, 1.0]))
    mask = np.zeros((10, 8, 4), dtype=bool)
    mask[6, 2, 1] = True
    found = RegionMask(mask, Geometry(mask.shape, np.eye(4))).on(coarse)
    assert np.argwhere(found.mask).tolist() == [[2, 0, 0]]


def test_a_region_beside_the_image_is_refused() -> None:
    beside = np.eye(4)
    beside[:3, 3] = 100
    with pytest.raises(RegionError, match="outside the image") as refused:
        box().on(Geometry((10, 8, 4), beside))
    assert refused.value.status == 422


def test_an_empty_region_and_one_that_does_not_fit_are_refused() -> None:
    grid = Geometry((2, 2, 1), np.eye(4))
    with pytest.raises(RegionError, match="empty"):
        RegionMask(np.zeros((2, 2, 1), dtype=bool), grid)
    with pytest.raises(RegionError, match="true and false"):
        RegionMask(np.ones((2, 2, 1), dtype=np.uint8), grid)
    with pytest.raises(RegionError, match=r"\(2, 1, 1\)"):
        RegionMask(np.ones((2, 1, 1), dtype=bool), grid)


def test_nobody_changes_a_region() -> None:
    with pytest.raises(ValueError, match="read-only"):
        box().mask[0, 0, 0] = True


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10, 8]},
        {"shape": [10, 8, 0]},
        {"shape": [10, 8, -4]},
        {"shape": [10.0, 8, 4]},
        {"shape": [True, 8, 40]},
        {"shape": "10"},
        {"shape": [10, 8, 5]},
        {"shape": [10, 8, 3]},
        {"affine": [[1, 0, 0, 0]] * 4},
        {"affine": np.eye(3).tolist()},
        {"affine": [[1, 0, 0, "0"], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
        {"affine": [[1, 0, 0, float("nan")], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
        {"affine": [[1, 0, 0, 10**400], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
        {"affine": [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
        {"affine": None},
        {"voxels": 3},
        {"voxels": "not base64!"},
        {"voxels": "ä"},
        {"voxels": base64.b64encode(b"no zlib").decode()},
        {"voxels": packed(b"\xff" * 39)},
        {"voxels": packed(b"\xff" * 41)},
        {"voxels": packed(b"\0" * 40)},
        {"voxels": base64.b64encode(zlib.compress(b"\xff" * 40)[:-2]).decode()},
        {"voxels": base64.b64encode(zlib.compress(b"\xff" * 40) + b"more").decode()},
        {"voxels": "A" * 10_000},
        {"colour": "red"},
    ],
)
def test_what_is_no_region_is_refused_in_one_line(change: dict[str, Any]) -> None:
    value = {**box().to_json(), **change}
    with pytest.raises(RegionError) as refused:
        RegionMask.from_json(value)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.status == 422


@pytest.mark.parametrize("value", [None, 3, [], "x", {}, {"shape": [1, 1, 1]}])
def test_no_object_at_all_is_no_region(value: Any) -> None:
    with pytest.raises(RegionError):
        RegionMask.from_json(value)


def test_bombs_are_refused_before_they_take_memory() -> None:
    huge = {**box().to_json(), "shape": [2**20, 2**20, 2**20]}
    bomb = {**box().to_json(), "voxels": packed(b"\0" * 700_000)}
    tracemalloc.start()
    try:
        for value in (huge, bomb):
            with pytest.raises(RegionError):
                RegionMask.from_json(value)
        with pytest.raises(RegionError, match="more than 319 voxels"):
            RegionMask.from_json(box().to_json(), most_voxels=319)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert RegionMask.from_json(box().to_json(), most_voxels=320) == box()


@st.composite
def drawings(draw: st.DrawFn) -> tuple[Geometry, int, np.ndarray, float]:
    """A grid, the axis across a slice of it, corners of a convex polygon within in RAS, and its area in pixels."""
    geometry = draw(geometries(smallest=20, largest=40))
    across = draw(st.integers(0, 2))
    first, second = (axis for axis in range(3) if axis != across)
    angles = draw(st.lists(st.floats(0, 6.28), min_size=5, max_size=12))
    radii = draw(st.lists(st.floats(0.5, 1), min_size=len(angles), max_size=len(angles)))
    middle = (np.array(geometry.shape) - 1) / 2
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None] * middle[[first, second]]
    assume(len(np.unique(corners.round(3), axis=0)) >= 3 and np.linalg.matrix_rank(corners - corners[0], tol=1) == 2)
    hull = ConvexHull(corners)
    index = np.empty((len(hull.vertices), 3))
    index[:, [first, second]] = corners[hull.vertices] + middle[[first, second]]
    index[:, across] = draw(st.integers(0, geometry.shape[across] - 1)) + draw(st.floats(-0.4, 0.4))
    return geometry, across, index, float(hull.volume)


def distance_to_edges(point: np.ndarray, corners: np.ndarray) -> float:
    start, along = corners, np.roll(corners, -1, axis=0) - corners
    share = ((point - start) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-300)
    nearest = start + np.clip(share, 0, 1)[:, None] * along
    return float(np.linalg.norm(point - nearest, axis=1).min())


@often
@given(drawings())
def test_a_convex_polygon_has_its_area_on_its_slice(drawing: tuple[Geometry, int, np.ndarray, float]) -> None:
    geometry, across, index, area = drawing
    region = RegionMask.from_polygon(geometry.to_ras(index).tolist(), geometry)

    taken = np.argwhere(region.mask)
    assert set(taken[:, across]) == {int(np.rint(index[0, across]))}
    first, second = (axis for axis in range(3) if axis != across)
    corners = index[:, [first, second]]
    length = float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).sum())
    assert abs(len(taken) - area) <= length / 2 + 2, "a polygon on a lattice errs along its edge only"
    # Another library agrees about every pixel whose centre is not on an edge.
    plane = np.moveaxis(region.mask, across, 0)[int(np.rint(index[0, across]))]
    differs = np.argwhere(plane != polygon2mask(plane.shape, corners))
    assert all(distance_to_edges(centre, corners) < 1e-6 for centre in differs)


def test_a_polygon_may_be_concave_or_reach_beyond_the_image() -> None:
    geometry = Geometry((20, 20, 3), np.diag([0.5, 0.5, 2.0, 1.0]))
    corners = np.array([[-50, 5.2, 1], [30.1, 5.2, 1], [30.1, 9.3, 1], [9.5, 9.3, 1], [9.5, 15.5, 1], [-50, 15.5, 1]])
    mask = RegionMask.from_polygon(geometry.to_ras(corners), geometry).mask
    expected = np.zeros(geometry.shape, dtype=bool)
    expected[:, 6:10, 1] = True
    expected[:10, 6:16, 1] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_polygon_around_no_voxels_centre_takes_the_voxel_it_is_in() -> None:
    geometry = Geometry((20, 20, 3), np.eye(4))
    mask = RegionMask.from_polygon([[4.1, 7.1, 1], [4.3, 7.1, 1], [4.2, 7.4, 1]], geometry).mask
    assert np.argwhere(mask).tolist() == [[4, 7, 1]]


@pytest.mark.parametrize(
    "points",
    [
        [[1, 1, 0], [5, 1, 0]],
        [[1, 1, 0], [5, 1, 0], [3, 1, 0]],
        [[1, 1, 0], [1, 1, 0], [1, 1, 0]],
        [[1, 1, 0], [5, 1, 0], [3, float("nan"), 0]],
        [[1, 1, 0], [5, 1, 0], [3, float("inf"), 0]],
        [[1, 1, 0], [5, 1, 0], [3, 1e30, 0]],
        [[1, 1, 0], [5, 1, 0], [3, 10**400, 0]],
        [[1, 1, 0], [5, 1, 0], [3, 4]],
        [[1, 1], [5, 1], [3, 4]],
        [[1, 1, 9], [5, 1, 9], [3, 4, 9]],
        [[101, 1, 0], [105, 1, 0], [103, 4, 0]],
        [[1, 1, 0], [9, 1, 0], [9, 9, 9], [1, 9, 0], [1, 5, 9]],
        [["a", 1, 0], [5, 1, 0], [3, 4, 0]],
        [[1, 1, 0]] * (MOST_POINTS + 1),
        None,
        {},
    ],
)
def test_what_is_no_polygon_on_the_image_is_refused_in_one_line(points: Any) -> None:
    with pytest.raises(RegionError) as refused:
        RegionMask.from_polygon(points, Geometry((10, 10, 3), np.eye(4)))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("shape", [(2400, 3000, 1), (256, 256, 128)], ids=["mammogram", "CT"])
def test_regions_of_large_images_do_not_keep_anybody_waiting(shape: tuple[int, int, int]) -> None:
    geometry = Geometry(shape, np.diag([0.1, 0.1, 1.0, 1.0]))
    turn = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    half = np.array(shape[:2]) / 2
    index = np.stack([*(half[:, None] * (1 + 0.9 * np.array([np.cos(turn), np.sin(turn)]))), np.zeros(500)], axis=1)

    begun = time.process_time()  # which other tests beside it do not change
    region = RegionMask.from_polygon(geometry.to_ras(index), geometry)
    again = RegionMask.from_json(region.cropped().to_json()).on(geometry)
    seconds = time.process_time() - begun

    assert again == region
    assert seconds < 3, "0.3 s were measured"
