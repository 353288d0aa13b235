"""Defaults of a training that follow from the images: the patch that the denoiser folds, and the number of steps."""

from __future__ import annotations

from collections.abc import Sequence

SHORT_EDGE = 32
"""Below this longest edge (voxels) cubes of two are folded, otherwise of four or more."""
MOST_CELLS = {2: 32, 3: 12}
"""Cells along the longest edge of the folded grid, by spatial dimensions; a step's time grows with their number."""
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


def default_steps(images: int, batch: int) -> int:
    """Return the number of steps for so many images, ``batch`` of them a step.

    The training sees 112,000 images, but each image between 10 and 400 times.
    """
    seen = min(max(USUAL_IMAGES, LEAST_PASSES * images), MOST_PASSES * images)
    return max(1, round(seen / batch))
