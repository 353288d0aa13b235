"""Explain a find: a patch of a large image, in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import Explanation, Place
from otherwise.finding.finder import Find, Finder
from otherwise.images.image import Image

MARGIN = 0.25
"""Share of the patch that is shown around it on either side."""


def explain_find(explainer: Explainer, finder: Finder, image: Image, find: Find, **options: Any) -> Explanation:
    """Explain one find, put the counterfactual into the whole image, and ask again about the whole.

    Only the patch and its margin are handled, so the cost does not grow with the image; the volumes of the explanation
    are that part of the image's own voxels, and nothing outside the patch changes.

    Args:
        explainer: Of the same classifier as ``finder``.
        finder: Has found it.
        image: The whole image.
        find: What was found in it.
        options: See ``Explainer.explain``; without ``slice_index`` and ``centre``.

    Raises:
        OtherwiseError: see ``Explainer.explain``.
    """
    low, high = around(find, image)
    crop = image.crop(low, high)
    found = explainer.explain(crop, centre=find.centre_ras, **options)
    slice_index = low[2] if high[2] - low[2] == 1 < image.geometry.shape[2] else None
    changed = image.with_array(paste(image.array, found.volumes.counterfactual.array, low))
    before = finder.find(image, slice_index, most=1)[0].probabilities
    after = finder.find(changed, slice_index, most=1)[0].probabilities
    place = Place(image.geometry.shape, low, high, dict(before), dict(after))
    return replace(found, image_sha256=image.sha256, place=place)


def around(find: Find, image: Image) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The native voxels of a find with its margin, first and one past the last; a single slice stays one."""
    low, high = np.array(find.low), np.array(find.high)
    grown = np.where(high - low > 1, np.ceil(MARGIN * (high - low)), 0).astype(int)
    i, j, k = (int(x) for x in np.maximum(low - grown, 0))
    a, b, c = (int(x) for x in np.minimum(high + grown, image.geometry.shape))
    return (i, j, k), (a, b, c)


def paste(whole: np.ndarray, part: np.ndarray, low: tuple[int, int, int]) -> np.ndarray:
    """A copy of ``whole (channels, i, j, k)`` in the type of ``part``, with ``part`` in it from ``low`` on."""
    pasted = whole.astype(part.dtype)
    window = tuple(slice(a, a + count) for a, count in zip(low, part.shape[1:], strict=True))
    pasted[(slice(None), *window)] = part
    return pasted
