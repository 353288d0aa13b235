"""What does not fit into memory is refused before the work, with what would fit."""

from __future__ import annotations

import numpy as np
import pytest

from otherwise.errors import ImageError
from otherwise.explain.memory import BYTES_PER_VOXEL, WORKSPACE, available_bytes, refuse_too_large
from otherwise.images.image import Geometry, Image


@pytest.mark.parametrize("shape", [(6000, 5000, 1), (600, 500, 400)])
def test_an_image_that_does_not_fit_is_refused_with_what_would(shape: tuple[int, int, int]) -> None:
    image = Image(np.broadcast_to(np.uint8(0), (1, *shape)), Geometry(shape, np.eye(4)))
    needed = image.array.size * BYTES_PER_VOXEL + WORKSPACE
    refuse_too_large(image, needed)
    with pytest.raises(ImageError, match="Close other programs"):
        refuse_too_large(image, WORKSPACE)
    with pytest.raises(ImageError, match=r"voxels needs about .* GiB, and .* GiB are free. .*million voxels"):
        refuse_too_large(image, needed - 1)


def test_what_is_available_is_asked_of_the_system() -> None:
    assert available_bytes() > 0
