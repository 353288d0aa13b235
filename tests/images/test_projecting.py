"""A volume seen through is one plane, where its middle slice lies."""

from __future__ import annotations

import numpy as np
import pytest

from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.images.kinds import Projection
from otherwise.images.projecting import project


def test_each_pixel_is_what_lies_behind_each_other() -> None:
    array = np.random.default_rng(0).integers(-1000, 400, (2, 5, 4, 6)).astype(np.int16)
    volume = Image(array, Geometry((5, 4, 6), np.diag([1.0, 1.0, 2.5, 1.0])), "ct")
    for how, reduce in ((Projection.max, np.max), (Projection.min, np.min), (Projection.mean, np.mean)):
        seen = project(volume, how)
        np.testing.assert_allclose(seen.array[..., 0], reduce(array, axis=3), rtol=1e-6)
        assert seen.dimension == 2
        assert seen.geometry.same_as(volume.geometry.slice(3))
    assert project(volume, Projection.max).array.dtype == np.int16


def test_a_plane_cannot_be_seen_through() -> None:
    with pytest.raises(ImageError, match="one plane already"):
        project(Image(np.zeros((1, 4, 4, 1)), Geometry((4, 4, 1), np.eye(4)), "x", 2), Projection.max)
