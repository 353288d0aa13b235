"""Patches of whole images for an agent to learn from, where the classifier looks at patches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import show
from otherwise.finding.finder import Finder
from otherwise.images.image import Image

BEST = 4
"""Finds of each image, the most probable first: what people will have explained."""
OTHERS = 8
"""Patches of each image from anywhere else that has foreground."""
MUCH_LARGER = 1.25
"""An image that is larger than a patch by less is taken for one."""


def patches_to_learn_from(
    classifier: BlackBox, rng: np.random.Generator, best: int = BEST, others: int = OTHERS
) -> Callable[[Image], list[np.ndarray]]:
    """Make the function that turns an image into what the classifier sees of it.

    Args:
        classifier: Looks at patches.
        rng: Chooses among patches that are no finds.
        best, others: See ``BEST`` and ``OTHERS``.

    Returns:
        From an image to arrays ``(channels, *size)`` in [0, 1]: of a whole image its finds and some other patches, of
        one that is a patch itself that one. It raises ImageError for what the classifier cannot look at.

    Raises:
        ClassifierError: if the classifier looks at whole images.
    """
    finder = Finder(classifier)
    inputs, spacing = finder.inputs, np.array(finder.spacing)

    def patches(image: Image) -> list[np.ndarray]:
        dims = len(inputs.size)
        extent = (np.array(image.geometry.shape) * image.geometry.spacing)[:dims]
        if (extent <= MUCH_LARGER * spacing * inputs.size).all():
            return [show(image, inputs)]
        scores = finder.score(image)
        chosen = finder.best(scores)[:best]
        left = np.setdiff1d(np.arange(len(scores.starts)), chosen)
        chosen += rng.choice(left, min(others, len(left)), replace=False).tolist()
        return [finder.voxels(image, scores, number) for number in chosen]

    return patches
