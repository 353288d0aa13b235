"""MR sequences become channels of one image, each where it lies."""

from __future__ import annotations

import numpy as np
import pytest

from otherwise.errors import ImageError
from otherwise.images.combining import as_channels
from otherwise.images.image import Geometry, Image


def ramp(shape: tuple[int, int, int], spacing: float, id: str = "image", origin: float = 0.0) -> Image:
    """Each voxel holds its own place along R."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[0, 3] = origin
    places = origin + spacing * np.arange(shape[0], dtype=np.float32)
    return Image(np.broadcast_to(places[:, None, None], shape)[None].copy(), Geometry(shape, affine), id)


def test_channels_keep_their_order_and_lie_on_the_first_ones_grid() -> None:
    first, second, third = ramp((12, 8, 6), 1.0, "t1"), ramp((24, 16, 12), 0.5), ramp((12, 8, 6), 1.0)
    combined = as_channels([first, second, third.with_array(-third.array)], "all")
    assert combined.id == "all"
    assert combined.geometry.same_as(first.geometry)
    np.testing.assert_array_equal(combined.array[0], first.array[0])
    np.testing.assert_allclose(combined.array[1], first.array[0], atol=0.3)
    np.testing.assert_array_equal(combined.array[2], -first.array[0])


def test_what_cannot_be_combined_is_told() -> None:
    first = ramp((12, 8, 6), 1.0, "t1")
    with pytest.raises(ImageError, match="no others"):
        as_channels([first])
    with pytest.raises(ImageError, match="elsewhere in space"):
        as_channels([first, ramp((12, 8, 6), 1.0, "far", origin=500.0)])
    with pytest.raises(ImageError, match="2 channels"):
        as_channels([first, as_channels([first, first])])
