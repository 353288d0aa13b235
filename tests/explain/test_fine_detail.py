"""Detail finer than the classifier's grid: it stays where an edit changes little, and leaves no ghost elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from otherwise.blackbox.protocol import InputSpec
from otherwise.explain.view import ClassifierView
from otherwise.images.image import Geometry, Image
from support.square_models import SquareClassifier


def ringed(turn: bool, dtype: type = np.float32, channels: int = 1) -> tuple[Image, np.ndarray]:
    """Return an image of grain with a thin bright ring, and where the ring is."""
    geometry = Geometry((96, 80, 1), np.diag([0.5, 0.5, 1.0, 1.0]))
    if turn:
        affine = np.eye(4)
        affine[:3, :3] = Rotation.from_euler("z", 180, degrees=True).as_matrix() @ np.diag([0.5, 0.5, 1.0])
        affine[:3, 3] = (20, -7, 3)
        geometry = Geometry(geometry.shape, affine)
    i, j = np.indices((96, 80))
    ring = np.abs(np.hypot(i - 48, j - 40) - 18) < 1.0
    array = 80 + 12 * np.random.default_rng(0).standard_normal((channels, 96, 80, 1)) + 110 * ring[None, ..., None]
    return Image(array.clip(0, 255).astype(dtype), geometry, "ring", 2), ring


def view_of(image: Image, channels: int = 1) -> ClassifierView:
    spec = InputSpec((24, 20), channels=channels, spacing=(2.0, 2.0), intensity=(0.0, 255.0))
    return ClassifierView(image, SquareClassifier(spec), None)


def without_ring(view: ClassifierView) -> np.ndarray:
    """Return what the classifier sees, with everything about the ring made dark grey."""
    edited = view.array.copy()
    i, j = np.indices(view.array.shape[1:])
    edited[:, np.abs(np.hypot(i - 11.6, j - 9.6) - 4.5) < 2.5] = 80 / 255
    return edited


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_thin_ring_that_is_removed_leaves_no_ghost(turn: bool, dtype: type) -> None:
    image, ring = ringed(turn, dtype)
    view = view_of(image)
    made = view.carry(without_ring(view)).array[0, ..., 0].astype(float)
    inside = image.array[0, ..., 0].astype(float)
    assert inside[ring].mean() - 80 > 95
    # Along the ring the image is as around it, up to the grain: at least 0.85 of the contrast is gone.
    beside = made[np.roll(ring, 4, axis=0) & ~ring].mean()
    assert abs(made[ring].mean() - beside) < 17
    assert made[ring].std() < 25


def test_detail_stays_to_the_bit_where_nothing_changes() -> None:
    image, _ = ringed(turn=False)
    view = view_of(image)
    change = view.change(without_ring(view))
    assert np.count_nonzero(change[:, :6]) == 0
    assert np.abs(change[:, 46:51, 38:43]).max() < 5
    np.testing.assert_array_equal(view.put(change).array[:, :6], image.array[:, :6])


def test_detail_stays_where_the_change_is_small() -> None:
    image, ring = ringed(turn=False)
    view = view_of(image)
    made = view.carry(view.array + np.float32(0.03)).array
    np.testing.assert_allclose((made - image.array)[0, 8:-8, 8:-8, 0], 0.03 * 255, atol=0.6)
    assert (made - image.array)[0, ring].std() < 0.5


@pytest.mark.parametrize("turn", [False, True])
def test_the_classifier_sees_the_edit_as_before(turn: bool) -> None:
    image, _ = ringed(turn)
    view = view_of(image)
    edited = without_ring(view)
    seen = view.see(view.carry(edited))
    assert np.abs(seen - edited).mean() < 0.01
    assert np.abs(seen - edited).max() < 0.12


@pytest.mark.filterwarnings("error")
def test_a_change_beyond_the_image_takes_no_detail() -> None:
    """The grid of a narrow image is larger than the image."""
    image, _ = ringed(turn=False)
    view = view_of(image.crop((0, 0, 0), (96, 20, 1)))
    edited = view.array.copy()
    edited[:, :, [0, -1]] = 1.0
    change = view.change(edited)
    assert np.isfinite(change).all()
    np.testing.assert_allclose(change, 0, atol=0.5)


def test_the_colours_of_an_image_stay_where_the_classifier_sees_grey() -> None:
    image, _ = ringed(turn=False, channels=3)
    view = view_of(image)
    made = view.carry(without_ring(view)).array
    np.testing.assert_allclose(made[0] - made[1], image.array[0] - image.array[1], atol=30)
