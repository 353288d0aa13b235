"""Defaults of a training that follow from the images: the denoiser's patch, widths and prediction, and the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHORT_EDGE = 32
"""Below this longest edge (voxels) cubes of two are folded, otherwise of four or more."""
MOST_CELLS = {2: 32, 3: 12}
"""Cells along the longest edge of the folded grid, by spatial dimensions; a step's time grows with their number."""
WIDTHS = (64, 48, 32)
"""Widths of the denoiser's first level; the second has one and a half times as many channels, the third twice."""
WEIGHTS = {2: 4.0e6, 3: 10.8e6}
"""Weights of an agent of the first of these widths, by spatial dimensions; they grow with the width's square."""
WIDEST = {2: 64, 3: 48}
"""Of volumes, a step of the greatest width takes so long that a training of hours sees too few of them."""
VALUES_A_WEIGHT = 2.0
"""Voxels of the training images for each weight, at least. The shipped agents of slices have three and more."""
USUAL_IMAGES = 7_000 * 16
"""Images that a training sees at least, if there are enough; shipped agents took 7,434 steps of 16 and more."""
LEAST_PASSES, MOST_PASSES = 10, 400
"""Passes over the images: every image is seen several times, and few images are not learned by heart."""


def default_patch(size: Sequence[int]) -> int:
    """Return the edge of the cubes folded into channels for images of ``size`` voxels, a power of two."""
    longest = max(size)
    patch = 2 if longest < SHORT_EDGE else 4
    while longest > patch * MOST_CELLS[len(size)]:
        patch *= 2
    return patch


def default_channels(size: Sequence[int], images: int, image_channels: int = 1) -> tuple[int, int, int]:
    """Return the denoiser's widths for so many training images: the widest that these can teach.

    A wide network learns few images by heart, and takes longer for each step.

    Args:
        size: Voxels along each axis, 2 or 3 of them.
        images: Number of training images.
        image_channels: Channels of an image.
    """
    dims, values = len(size), images * image_channels * math.prod(size)
    allowed = [width for width in WIDTHS if width <= WIDEST[dims]]
    taught = [w for w in allowed if values >= VALUES_A_WEIGHT * WEIGHTS[dims] * (w / WIDTHS[0]) ** 2]
    width = (taught or allowed[-1:])[0]
    return width, 3 * width // 2, 2 * width


def default_prediction(dims: int, patch: int, image_channels: int, width: int) -> str:
    """Return what a denoiser predicts whose first level has ``width`` channels: the ``image`` or the ``velocity``.

    The velocity holds the noise of all voxels. Where a folded cube has as many of them as the first level has channels,
    or more, the denoiser cannot carry it.
    """
    return "image" if image_channels * patch**dims >= width else "velocity"


def default_steps(images: int, batch: int) -> int:
    """Return the number of steps for so many images, ``batch`` of them a step.

    The training sees 112,000 images, but each image between 10 and 400 times.
    """
    seen = min(max(USUAL_IMAGES, LEAST_PASSES * images), MOST_PASSES * images)
    return max(1, round(seen / batch))
