"""A moved field of view stays within the image, and can reach its edges."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from otherwise.blackbox.field import moved_centre, reach
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import grid_of
from otherwise.images.image import Geometry

SPACING = st.floats(0.3, 3.0)
TURNED = st.tuples(st.integers(0, 360), st.integers(0, 360), st.integers(0, 360))


def edges_in_voxels(grid: Geometry, image: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest voxel index, ``(3,)`` each, that a grid covers of an image."""
    corners = np.array(list(product(*((-0.5, edge - 0.5) for edge in grid.shape))))
    index = image.to_index(grid.to_ras(corners))
    return index.min(axis=0), index.max(axis=0)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(3, 60)] * 3),
    st.tuples(SPACING, SPACING, SPACING),
    TURNED,
    st.permutations([0, 1, 2]),
    st.sampled_from([(8, 6), (8, 6, 5)]),
    st.tuples(SPACING, SPACING, SPACING),
    st.tuples(*[st.floats(-1, 1)] * 3),
)
def test_a_moved_field_stays_within_the_image_and_can_reach_its_edges(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    angles: tuple[int, int, int],
    order: list[int],
    size: tuple[int, ...],
    field: tuple[float, float, float],
    share: tuple[float, float, float],
) -> None:
    dims = len(size)
    shape = shape if dims == 3 else (*shape[:2], 1)
    axes = np.eye(3)[:, order] if dims == 3 else np.eye(3)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ axes @ np.diag(spacing)
    affine[:3, 3] = (10, -20, 30)
    image = Geometry(shape, affine)
    inputs = InputSpec(size, spacing=field[:dims])
    free = reach(image, inputs)
    low, high = edges_in_voxels(grid_of(image, inputs), image)
    for axis in range(dims):
        assert free[axis] == pytest.approx(max(0.0, (shape[axis] - (high - low)[axis]) / 2), abs=1e-6)

    movable = free > 0
    low, high = edges_in_voxels(grid_of(image, inputs, centre=moved_centre(image, free * share)), image)
    assert (low[movable] >= -0.5 - 1e-6).all()
    assert (high[movable] <= np.array(shape)[movable] - 0.5 + 1e-6).all()
    _, high = edges_in_voxels(grid_of(image, inputs, centre=moved_centre(image, free)), image)
    np.testing.assert_allclose(high[movable], np.array(shape)[movable] - 0.5, atol=1e-6)


def test_along_the_axes_that_the_classifier_wants() -> None:
    """The image's axes are permuted and flipped relative to the classifier's."""
    affine = np.array([[0, 0, 2.0, 0], [-1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    image = Geometry((40, 20, 30), affine)
    inputs = InputSpec((10, 20, 20), spacing=(2.0, 1.0, 1.0), orientation="RAS")
    assert reach(image, inputs).tolist() == [10, 0, 10]


@pytest.mark.parametrize("inputs", [InputSpec((8, 8)), InputSpec((8, 8), fit="pad")])
def test_a_field_that_is_all_of_an_image_is_not_moved(inputs: InputSpec) -> None:
    assert not reach(Geometry((40, 40, 1), np.eye(4)), inputs).any()
