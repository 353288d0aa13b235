"""Explain a find: a patch of a large image, in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from otherwise.explain.explanation import Explanation, Place
from otherwise.finding.finder import Find, Finder, PatchScores
from otherwise.images.image import Image

MARGIN = 0.25
"""Share of the patch that is shown around it on either side."""


def explain_find(
    explain: Callable[..., Explanation], finder: Finder, image: Image, scores: PatchScores, find: Find, **options: Any
) -> Explanation:
    """Explain one find, put the counterfactual into the whole image, and ask again about the whole.

    Only the patch and its margin are handled, so the cost hardly grows with the image; the volumes of the explanation
    are that part of the image's own voxels, and nothing outside the patch changes.

    Args:
        explain: ``Explainer.explain`` with the same classifier as ``finder``.
        finder: Has looked.
        image: The whole image.
        scores: What was said of all its patches.
        find: One of the finds.
        options: See ``Explainer.explain``; without ``slice_index`` and ``centre``.

    Raises:
        OtherwiseError: see ``Explainer.explain``.
    """
    low, high = around(find, image)
    found = explain(image.crop(low, high), centre=find.centre_ras, **options)
    changed = finder.rescore(scores, image, found.volumes.counterfactual, low)
    before, after = (dict(finder.finds(each, most=1)[0].probabilities) for each in (scores, changed))
    place = Place(image.geometry.shape, low, high, before, after)
    return replace(found, image_sha256=image.sha256, place=place)


def around(find: Find, image: Image, margin: float = MARGIN) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the first native voxel, and one past the last, of a find and its surroundings; one slice stays one."""
    low, high = np.array(find.low), np.array(find.high)
    grown = np.where(high - low > 1, np.ceil(margin * (high - low)), 0).astype(int)
    i, j, k = (int(x) for x in np.maximum(low - grown, 0))
    a, b, c = (int(x) for x in np.minimum(high + grown, image.geometry.shape))
    return (i, j, k), (a, b, c)
