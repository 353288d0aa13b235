"""For any grid, however oblique: nothing moves in space on the way in, to a model, back, and out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from otherwise.images.image import Geometry, Image
from otherwise.images.itk import from_itk
from otherwise.images.reading import read_image
from otherwise.images.resampling import (
    change_to_native,
    model_grid,
    precompensated,
    precompensation,
    resample,
)
from otherwise.images.writing import write_image
from support.itk_images import to_itk
from support.model_view import to_model

often = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

lengths = st.floats(0.2, 5.0)
coordinates = st.floats(-500, 500)


@st.composite
def geometries(draw: st.DrawFn, smallest: int = 1, largest: int = 12, slices: int | None = None) -> Geometry:
    """Grids of any rotation, handedness, spacing and origin."""
    counts = [draw(st.integers(smallest, largest)) for _ in range(3)]
    if slices is not None:
        counts[2] = slices
    angles = [draw(st.floats(-180, 180)) for _ in range(3)]
    mirror = draw(st.sampled_from([1.0, -1.0]))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * [1, 1, mirror]
    affine[:3, :3] *= [draw(lengths) for _ in range(3)]
    affine[:3, 3] = [draw(coordinates) for _ in range(3)]
    i, j, k = counts
    return Geometry((i, j, k), affine)


sizes = st.tuples(st.integers(2, 16), st.integers(2, 16), st.integers(2, 16))


def corners(geometry: Geometry) -> np.ndarray:
    """The eight corners of the field, half a voxel beyond the outermost centres."""
    ends = np.array(geometry.shape) - 0.5
    return geometry.to_ras(
        np.array([[(-0.5, end)[bit] for bit, end in zip(bits, ends, strict=True)] for bits in np.ndindex(2, 2, 2)])
    )


@often
@given(geometries(smallest=2), sizes)
def test_whole_field_keeps_its_corners(geometry: Geometry, size: tuple[int, int, int]) -> None:
    grid = model_grid(geometry, size, None)
    assert grid.shape == size
    np.testing.assert_allclose(corners(grid), corners(geometry), atol=1e-6)


@often
@given(geometries(smallest=2), sizes, st.tuples(lengths, lengths, lengths))
def test_field_of_given_spacing_shares_centre_and_directions(
    geometry: Geometry, size: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    grid = model_grid(geometry, size, spacing)
    np.testing.assert_allclose(grid.spacing, spacing, rtol=1e-9)
    np.testing.assert_allclose(corners(grid).mean(axis=0), corners(geometry).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        grid.affine[:3, :3] / grid.spacing, geometry.affine[:3, :3] / geometry.spacing, atol=1e-9
    )


@often
@given(geometries(smallest=2))
def test_equal_grids_are_identical_and_nothing_is_computed(geometry: Geometry) -> None:
    grid = model_grid(geometry, geometry.shape, None)
    assert grid.same_as(geometry)
    assert model_grid(geometry, geometry.shape, geometry.spacing).same_as(geometry)
    image = Image(np.random.default_rng(0).normal(size=(1, *geometry.shape)), geometry)
    assert resample(image, grid) is image


@often
@given(geometries(slices=1, smallest=2), st.tuples(st.integers(2, 16), st.integers(2, 16)))
def test_one_slice_stays_one_slice(geometry: Geometry, size: tuple[int, int]) -> None:
    grid = model_grid(geometry, size, None)
    assert grid.shape == (*size, 1)
    np.testing.assert_allclose(corners(grid), corners(geometry), atol=1e-6)


@often
@given(geometries(smallest=3), sizes, st.data())
def test_linear_field_is_exact_inside(geometry: Geometry, size: tuple[int, int, int], data: st.DataObject) -> None:
    """Interpolation puts every value where it belongs in space, to rounding."""
    size = tuple(max(new, old) for new, old in zip(size, geometry.shape, strict=True))  # without blurring
    slopes = np.array([data.draw(st.floats(-2, 2)) for _ in range(3)])
    centre = corners(geometry).mean(axis=0)
    grid = model_grid(geometry, size, None)
    old = (geometry.to_ras(np.stack(np.indices(geometry.shape), axis=-1)) - centre) @ slopes
    new = (grid.to_ras(np.stack(np.indices(size), axis=-1)) - centre) @ slopes
    got = resample(Image(old[None], geometry), grid).array[0]
    index = np.stack(np.indices(size), axis=-1) + 0.5
    within = (index >= 0.5 * np.array(size) / geometry.shape) & (
        index <= np.array(size) * (1 - 0.5 / np.array(geometry.shape))
    )
    inside = within.all(axis=-1)
    np.testing.assert_allclose(got[inside], new[inside], atol=1e-4)


@often
@given(geometries(smallest=4), geometries(smallest=2))
def test_any_direction_agrees_with_space(source: Geometry, target: Geometry) -> None:
    """Onto a grid of another direction, linear fields are exact wherever it lies within the source's centres."""
    centre = corners(source).mean(axis=0)
    inverse = np.linalg.inv(source.affine)
    moved = target.affine.copy()
    moved[:3, :3] /= max(1.0, np.linalg.norm((inverse @ moved)[:3, :3], axis=1).max())  # so that nothing is blurred
    moved[:3, 3] = centre - moved[:3, :3] @ (np.array(target.shape) - 1) / 2
    target = Geometry(target.shape, moved)
    slopes = np.array([0.3, -0.7, 1.1])
    old = (source.to_ras(np.stack(np.indices(source.shape), axis=-1)) - centre) @ slopes
    places = target.to_ras(np.stack(np.indices(target.shape), axis=-1))
    index = places @ inverse[:3, :3].T + inverse[:3, 3]
    got = resample(Image(old[None], source), target, outside=-999).array[0]
    last = np.array(source.shape) - 1
    inside = ((index >= 0) & (index <= last)).all(axis=-1)
    outside = ((index < -0.6) | (index > last + 0.6)).any(axis=-1)
    np.testing.assert_allclose(got[inside], ((places - centre) @ slopes)[inside], atol=1e-3)
    assert (got[outside] == -999).all()


@often
@given(geometries(smallest=6, largest=14), st.data())
def test_bright_spot_keeps_its_place(geometry: Geometry, data: st.DataObject) -> None:
    """A blob's centre of mass in space is the same on the model grid and, as a change, back on the native one."""
    middle = np.array([data.draw(st.floats(0.35, 0.65)) for _ in range(3)]) * (np.array(geometry.shape) - 1)
    index = np.stack(np.indices(geometry.shape), axis=-1)
    blob = np.exp(-0.5 * (((index - middle) / 0.9) ** 2).sum(axis=-1))
    image = Image(blob[None].astype(np.float32), geometry)
    size = tuple(2 * count for count in geometry.shape)
    grid = model_grid(geometry, size, None)

    seen = to_model(image, size, None, (0.0, 1.0))
    returned = change_to_native(seen, grid, image, (0.0, 1.0))

    truth = centre_of_mass(blob, geometry)
    tolerance = 0.02 * max(geometry.spacing)
    np.testing.assert_allclose(centre_of_mass(seen[0], grid), truth, atol=tolerance)
    np.testing.assert_allclose(centre_of_mass(returned[0], geometry), truth, atol=tolerance)


def centre_of_mass(weights: np.ndarray, geometry: Geometry) -> np.ndarray:
    index = np.stack(np.indices(geometry.shape), axis=-1).reshape(-1, 3)
    return geometry.to_ras(np.average(index, axis=0, weights=weights.ravel().astype(float)))


@often
@given(geometries(smallest=8, largest=16), st.integers(0, 2**32 - 1))
def test_smooth_change_comes_back(geometry: Geometry, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = Image(rng.normal(size=(1, *geometry.shape)).astype(np.float32), geometry)
    size = tuple(max(4, count // 2) for count in geometry.shape)
    grid = model_grid(geometry, size, None)
    phases = rng.uniform(0, 2 * np.pi, 3)
    waves = [np.cos(np.pi * (np.arange(n) + 0.5) / n / 2 + phase) for n, phase in zip(size, phases, strict=True)]
    change = (0.3 * waves[0][:, None, None] * waves[1][:, None] * waves[2])[None].astype(np.float32)

    native = change_to_native(change, grid, image, (-100.0, 300.0))

    assert native.shape == image.array.shape
    back = resample(Image(native, geometry), grid).array / 400
    assert np.abs(back - change).max() < 0.05
    assert np.abs(back - change).mean() < 0.012


@often
@given(geometries(), st.sampled_from(["a.nrrd", "a.nii.gz", "a.nii"]), st.integers(1, 3))
def test_written_and_read_again(geometry: Geometry, name: str, channels: int) -> None:
    voxels = np.random.default_rng(0).integers(-99, 99, (channels, *geometry.shape)).astype(np.int16)
    image = Image(voxels, geometry, "a")
    with tempfile.TemporaryDirectory() as folder:
        again = read_image(write_image(image, Path(folder) / name))
    assert np.array_equal(again.array, voxels)
    if name.endswith(".nrrd"):
        assert again.geometry.same_as(geometry)
        assert again.sha256 == image.sha256
    else:
        np.testing.assert_allclose(again.geometry.affine, geometry.affine, rtol=1e-6, atol=1e-4)


@often
@given(geometries())
def test_to_itk_and_back_keeps_places(geometry: Geometry) -> None:
    image = Image(np.zeros((1, *geometry.shape), np.uint8), geometry)
    np.testing.assert_allclose(from_itk(to_itk(image)).geometry.affine, geometry.affine, atol=1e-9)


@often
@given(geometries(smallest=3), st.data())
def test_slice_of_a_volume_is_explained_on_that_slice_alone(geometry: Geometry, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, geometry.shape[2] - 1))
    image = Image(np.random.default_rng(0).normal(size=(1, *geometry.shape)).astype(np.float32), geometry)
    size = geometry.shape[:2]
    grid = model_grid(geometry, size, None, slice_index=k)
    np.testing.assert_allclose(grid.to_ras(np.array([1, 2, 0])), geometry.to_ras(np.array([1, 2, k])), atol=1e-6)

    seen = to_model(image, size, None, (-10.0, 10.0), slice_index=k)
    np.testing.assert_allclose(seen[0], (image.array[0, :, :, k] + 10) / 20, atol=1e-6)

    change = np.ones((1, *size), np.float32)
    native = change_to_native(change, grid, image, (0.0, 2.0))
    assert np.flatnonzero(native.any(axis=(0, 1, 2))).tolist() == [k]
    assert native[0, :, :, k] == pytest.approx(2.0)


@often
@given(geometries(smallest=4, largest=40), sizes, st.integers(0, 99))
def test_a_fine_change_carried_to_any_grid_is_seen_from_there_more_as_it_was_meant(
    geometry: Geometry, size: tuple[int, int, int], seed: int
) -> None:
    grid = model_grid(geometry, size, None)
    image = Image(np.zeros((1, *geometry.shape), np.float32), geometry)
    meant = np.random.default_rng(seed).normal(size=(1, *size)).astype(np.float32)

    def missing(change: np.ndarray) -> float:
        carried = image.with_array(change_to_native(change, grid, image, (0, 1)))
        return float(np.linalg.norm(meant - resample(carried, grid).array))

    assert missing(precompensated(meant, precompensation(grid, geometry))) <= missing(meant) * 1.01 + 1e-4


def test_a_flat_change_needs_no_strengthening_and_a_fine_one_does() -> None:
    geometry = Geometry((64, 48, 1), np.diag([0.25, 0.25, 1, 1]))
    grid = model_grid(geometry, (16, 12), None)
    matrices = precompensation(grid, geometry)
    np.testing.assert_allclose(precompensated(np.ones((1, 16, 12)), matrices), 1, atol=1e-6)
    stripes = np.zeros((1, 16, 12))
    stripes[:, ::2] = 1
    assert np.ptp(precompensated(stripes, matrices)[:, 4:-4]) > 2
