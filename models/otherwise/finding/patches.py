"""Patches of whole images for an agent to learn from, or for a check, where the classifier looks at patches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from otherwise.agent.training.views import Views, state_key
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import show
from otherwise.finding.finder import Finder
from otherwise.images.image import Image

BEST = 4
"""Finds of each image, the most probable first: what people will have explained."""
OTHERS = 8
"""Patches of each image from anywhere else that holds tissue, at most."""
FEWEST = 2
"""Patches of each image that are called nothing wanted, at least, however rare the wanted classes are."""
CHECKED = 2
"""Finds, and other patches, of each image that a check asks about."""
MUCH_LARGER = 1.25
"""An image that is larger than a patch by less is taken for one."""


def patches_to_learn_from(
    classifier: BlackBox, rng: np.random.Generator, best: int = BEST, others: int = OTHERS
) -> Views:
    """Return the patches of an image that an agent learns from.

    Args:
        classifier: Looks at patches.
        rng: Chooses among patches that are no finds.
        best, others: See ``BEST`` and ``OTHERS``.

    Returns:
        Views: of a whole image its finds and some other patches, of one that is a patch itself that one. Patches are
        balanced by the classifier's own answers: of an image with something wanted as many as there are up to
        ``best + others``, and of the rest no more than keeps both alike over the images so far, but ``FEWEST``.

    Raises:
        ClassifierError: if the classifier looks at whole images.
    """
    finder = Finder(classifier)
    inputs, spacing = finder.inputs, np.array(finder.spacing)

    drawn = {True: 0, False: 0}
    key = f"{best} and {others} patches, {classifier.version}, {state_key(rng)}"

    def patches(image: Image) -> list[np.ndarray]:
        dims = len(inputs.size)
        extent = (np.array(image.geometry.shape) * image.geometry.spacing)[:dims]
        if (extent <= MUCH_LARGER * spacing * inputs.size).all():
            return [show(image, inputs)]
        scores = finder.score(image)
        predicted = finder.suspicious(scores)
        chosen = finder.best(scores)[:best]
        left = np.setdiff1d(np.arange(len(scores.starts)), chosen)
        chosen += _some(rng, left[predicted[left]], best + others - len(chosen))
        drawn[True] += int(predicted[chosen].sum())
        have = int((~predicted[chosen]).sum())
        missing = max(FEWEST, min(others, drawn[True] - drawn[False])) - have
        chosen += _some(rng, left[~predicted[left]], missing)
        drawn[False] += int((~predicted[chosen]).sum())
        return [finder.voxels(image, scores, number) for number in chosen]

    return Views(patches, key)


def patches_to_check(classifier: BlackBox) -> Callable[[Image], list[np.ndarray]]:
    """Make the function that takes a few patches out of an image, to ask a classifier about; always the same ones."""
    return patches_to_learn_from(classifier, np.random.default_rng(0), best=CHECKED, others=CHECKED).of


def _some(rng: np.random.Generator, numbers: np.ndarray, most: int) -> list[int]:
    """Draw some numbers without repetition; none where none are wanted."""
    return [int(n) for n in rng.choice(numbers, min(max(0, most), len(numbers)), replace=False)]
