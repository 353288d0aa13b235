"""Views of a training image with the field of view moved, so that an agent knows more than the middle of images."""

from __future__ import annotations

import numpy as np

from otherwise.agent.training.views import Views, state_key
from otherwise.blackbox.field import is_movable, moved_centre, reach
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import show
from otherwise.errors import AgentError, ImageError
from otherwise.images.image import Image

LEAST_REACH = 0.5
"""Least reach, in voxels of an image, for moved views to differ from the usual one."""


def moved_views(inputs: InputSpec, count: int, rng: np.random.Generator) -> Views:
    """Return views of an image: the usual one, and variants with the field of view moved at random.

    Args:
        inputs: What the classifier wants.
        count: Moved views of each image.
        rng: Draws the places, uniformly where the field stays within the image.

    Returns:
        Views: the usual one of an image and up to ``count`` others. An image that is no larger than the field has no
        others.

    Raises:
        AgentError: if the field is always all of an image, or the count is negative.
    """
    if count < 0:
        raise AgentError(f"An image cannot have {count} moved views.", "Give --moved-views 0 or more.")
    if not is_movable(inputs) or inputs.patches is not None:
        raise AgentError(
            "The field of view of this classifier cannot be moved: it is all of an image, or is moved already.",
            "Leave --moved-views out.",
        )

    def views(image: Image) -> list[np.ndarray]:
        seen = [show(image, inputs)]
        free = reach(image.geometry, inputs)
        if free.max() < LEAST_REACH:
            return seen
        for share in rng.uniform(-1, 1, (count, 3)):
            try:
                seen.append(show(image, inputs, centre=moved_centre(image.geometry, free * share)))
            except ImageError:  # Nothing to be seen there, though there is in the middle.
                continue
        return seen

    return Views(views, f"{count} moved, {state_key(rng)}", variants=True)
