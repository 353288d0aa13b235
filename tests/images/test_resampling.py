"""What a classifier is shown, and what comes back of a change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.images.resampling import change_to_native, model_grid, resample
from support.model_view import to_model

RNG = np.random.default_rng(11)


def volume(shape: tuple[int, int, int] = (8, 9, 10), channels: int = 1, spacing: float = 1.0) -> Image:
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    return Image(RNG.uniform(-1000, 400, (channels, *shape)).astype(np.float32), Geometry(shape, affine), "ct")


def test_window_maps_to_unit_range_and_clips() -> None:
    image = volume((4, 4, 4))
    image.array[0, 0, 0, :3] = [-2000, -1000, 500]
    seen = to_model(image, (4, 4, 4), None, (-1000, 0))
    assert seen.dtype == np.float32
    assert seen.shape == (1, 4, 4, 4)
    assert seen[0, 0, 0, :3].tolist() == [0, 0, 1]
    np.testing.assert_allclose(seen, np.clip((image.array + 1000) / 1000, 0, 1), atol=1e-6)


def test_plane_loses_its_third_axis() -> None:
    seen = to_model(volume((20, 30, 1)), (10, 15), None, (-1000, 400))
    assert seen.shape == (1, 10, 15)


def test_field_larger_than_the_image_is_dark_around_it() -> None:
    image = volume((4, 4, 4))
    seen = to_model(image, (8, 8, 8), (1.0, 1.0, 1.0), (-1000, 400))
    np.testing.assert_allclose(seen[0, 2:6, 2:6, 2:6], (image.array[0] + 1000) / 1400, atol=1e-6)
    seen[0, 2:6, 2:6, 2:6] = 0
    assert (seen == 0).all()


def test_field_smaller_than_the_image_changes_nothing_outside() -> None:
    image = volume((12, 12, 12))
    grid = model_grid(image.geometry, (4, 4, 4), (1.0, 1.0, 1.0))
    native = change_to_native(np.full((1, 4, 4, 4), 0.5, np.float32), grid, image, (-1000, 400))
    assert native[0, 4:8, 4:8, 4:8] == pytest.approx(700)
    native[0, 4:8, 4:8, 4:8] = 0
    assert (native == 0).all()


def test_downsampling_averages_instead_of_picking() -> None:
    """Fine stripes turn grey; without a blur they would alias to black or white."""
    stripes = np.zeros((1, 64, 64, 1), np.float32)
    stripes[:, ::2] = 1
    stripes[0, 0, 0] = 0.3
    image = Image(stripes, Geometry((64, 64, 1), np.eye(4)))
    seen = to_model(image, (10, 10), None, (0, 1))
    assert np.abs(seen[:, 1:-1] - 0.5).max() < 0.02


def test_constant_stays_constant_at_any_size() -> None:
    for size in [(3, 5, 7), (8, 9, 10), (16, 31, 10)]:
        image = volume()
        flat = image.with_array(np.full_like(image.array, 37.5))
        grid = model_grid(image.geometry, size, None)
        np.testing.assert_allclose(resample(flat, grid).array, 37.5, rtol=1e-6)


def test_label_maps_keep_their_labels() -> None:
    labels = Image(RNG.integers(0, 5, (1, 8, 8, 8)).astype(np.uint8), Geometry((8, 8, 8), np.eye(4)))
    larger = resample(labels, model_grid(labels.geometry, (16, 16, 16), None), order=0)
    assert larger.array.dtype == np.uint8
    assert np.array_equal(larger.array[:, ::2, ::2, ::2], labels.array)
    assert np.array_equal(larger.array[:, 1::2, 1::2, 1::2], labels.array)


def test_flipped_and_swapped_grids() -> None:
    """The same places in space, counted the other way round or along other axes."""
    image = volume((4, 5, 6))
    flipped = image.geometry.affine @ np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    assert np.array_equal(resample(image, Geometry((4, 5, 6), flipped)).array, image.array[:, ::-1])
    swapped = image.geometry.affine[:, [1, 0, 2, 3]]
    np.testing.assert_allclose(
        resample(image, Geometry((5, 4, 6), swapped)).array, image.array.swapaxes(1, 2), rtol=1e-5
    )


def test_large_steps_are_not_blurred_by_far_away_voxels() -> None:
    image = volume((40, 40, 40))
    image.array[:] = 0
    image.array[0, :20] = 100
    seen = resample(image, model_grid(image.geometry, (10, 10, 10), None)).array[0, :, 5, 5]
    assert seen[:4] == pytest.approx(100, abs=0.5)
    assert seen[6:] == pytest.approx(0, abs=0.5)


def test_two_dimensional_classifier_and_volume() -> None:
    image = volume()
    with pytest.raises(ImageError, match=r"2-D and the image is a volume of 10 slices.*from 0 to 9"):
        to_model(image, (8, 8), None, (-1000, 400))
    with pytest.raises(ImageError, match="no slice 10"):
        to_model(image, (8, 8), None, (-1000, 400), slice_index=10)
    seen = to_model(image, (8, 9), None, (-1000, 400), slice_index=3)
    np.testing.assert_allclose(seen, (image.array[:, :, :, 3] + 1000) / 1400, atol=1e-6)


def test_three_dimensional_classifier_and_plane() -> None:
    with pytest.raises(ImageError, match="3-D and the image has a single slice"):
        to_model(volume((8, 8, 1)), (8, 8, 8), None, (-1000, 400))
    with pytest.raises(ImageError, match="takes no slice"):
        to_model(volume(), (8, 8, 8), None, (-1000, 400), slice_index=1)


def test_channels() -> None:
    grey, color = (replace(volume((8, 8, 1), channels=count), dimension=2) for count in (1, 3))
    window = (-1000.0, 400.0)
    repeated = to_model(grey, (8, 8), None, window, channels=3)
    assert repeated.shape == (3, 8, 8)
    assert np.array_equal(repeated[0], repeated[2])
    equal = color.with_array(np.repeat(grey.array, 3, axis=0))
    assert np.array_equal(to_model(equal, (8, 8), None, window, channels=1)[0], repeated[0])
    assert to_model(color, (8, 8), None, window, channels=3).shape == (3, 8, 8)
    grey_of_colour = np.tensordot([0.299, 0.587, 0.114], color.array, axes=(0, 0))
    shown = to_model(color, (8, 8), None, window, channels=1)
    np.testing.assert_allclose(shown, to_model(color.with_array(grey_of_colour[None]), (8, 8), None, window), atol=1e-5)
    with pytest.raises(ImageError, match="2 channels and the classifier wants 1"):
        to_model(color.with_array(color.array[:2]), (8, 8), None, window, channels=1)

    grid = model_grid(grey.geometry, (8, 8), None)
    change = RNG.normal(size=(3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(
        change_to_native(change, grid, grey, (0, 10))[0, ..., 0], 10 * change.mean(axis=0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(change_to_native(change[:1], grid, color, (0, 1))[2, ..., 0], change[0], rtol=1e-5)
    with pytest.raises(ImageError, match="2 channels does not fit 3"):
        change_to_native(change[:2], grid, color, (0, 1))
    with pytest.raises(ImageError, match="does not fit a grid"):
        change_to_native(change[:, :4], grid, color, (0, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_numbers(value: float) -> None:
    image = volume()
    image.array[0, 1, 2, 3] = value
    with pytest.raises(ImageError, match="not numbers"):
        to_model(image, (4, 4, 4), None, (-1000, 400))


def test_constant_image_and_window_that_sees_nothing() -> None:
    image = volume()
    with pytest.raises(ImageError, match="constant: every voxel"):
        to_model(image.with_array(np.zeros_like(image.array)), (4, 4, 4), None, (-1000, 400))
    with pytest.raises(ImageError, match="constant where the classifier looks, between 5000 and 6000"):
        to_model(image, (4, 4, 4), None, (5000, 6000))


def test_integer_images_are_not_rounded() -> None:
    image = Image(np.array([0, 1], np.uint8).reshape(1, 2, 1, 1), Geometry((2, 1, 1), np.eye(4)))
    assert resample(image, model_grid(image.geometry, (4, 1), None)).array.ravel().tolist() == [0, 0.25, 0.75, 1]


def test_a_slice_lies_where_it_lay_in_the_volume() -> None:
    affine = np.array([[0.0, 0.5, 0.1, 3.0], [0.7, 0.0, 0.0, -2.0], [0.1, 0.0, 2.0, 9.0], [0.0, 0.0, 0.0, 1.0]])
    volume = Image(np.arange(60.0).reshape(1, 3, 4, 5), Geometry((3, 4, 5), affine))
    plane = volume.slice(2)
    assert plane.dimension == 2
    assert (plane.array[..., 0] == volume.array[..., 2]).all()
    assert np.allclose(plane.geometry.to_ras(np.array([1, 2, 0])), volume.geometry.to_ras(np.array([1, 2, 2])))
    with pytest.raises(ImageError, match="no slice 5"):
        volume.slice(5)
