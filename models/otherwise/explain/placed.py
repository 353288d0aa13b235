"""Explain a find: a patch of a large image, in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from otherwise.blackbox.decision import DecisionRule
from otherwise.explain.explanation import Explanation, Place, WholeStep
from otherwise.finding.find import Find, PatchScores
from otherwise.finding.finder import Finder
from otherwise.images.image import Image
from otherwise.images.resampling import model_grid, resample

MARGIN = 0.25
"""Share of the patch that is shown around it on either side."""
OVERVIEW = 600
"""Longest side of the picture of the whole image, in pixels."""
MOST_STEPS = 8
"""Most patches that are changed one after the other."""


def explain_find(
    explain: Callable[..., Explanation],
    finder: Finder,
    image: Image,
    scores: PatchScores,
    find: Find,
    whole: bool = False,
    **options: Any,
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
        whole: Go on with the most suspicious patch that is left until the whole image is called otherwise; the steps
            are told in ``Place.steps``, at most ``MOST_STEPS``.
        options: See ``Explainer.explain``; without ``slice_index`` and ``centre``.

    Raises:
        OtherwiseError: see ``Explainer.explain``.
    """
    low, high = around(find, image)
    found = explain(image.crop(low, high), centre=find.centre_ras, **options)
    changed = finder.rescore(scores, image, found.volumes.counterfactual, low)
    before, after = _best(finder, scores), _best(finder, changed)
    steps = _steps(explain, finder, image, scores, (find, found, changed), options) if whole else ()
    place = Place(
        shape=image.geometry.shape,
        low=low,
        high=high,
        before=dict(before.probabilities),
        after=dict(after.probabilities),
        label_before=_label(finder, before),
        label_after=_label(finder, after),
        patch_low=find.low,
        patch_high=find.high,
        centre_ras=find.centre_ras,
        steps=steps,
    )
    return replace(
        found,
        image_sha256=image.sha256,
        place=place,
        overview=overview_of(image, find),
        warnings=(*found.warnings, *scores.warnings),
    )


def _steps(
    explain: Callable[..., Explanation],
    finder: Finder,
    image: Image,
    scores: PatchScores,
    first: tuple[Find, Explanation, PatchScores],
    options: dict[str, Any],
) -> tuple[WholeStep, ...]:
    """Change one patch after the other until the whole image is called otherwise, or a patch does not change."""
    called = _label(finder, _best(finder, scores))
    find, found, changed = first
    steps = []
    while True:
        valid = found.counterfactual.valid
        left = changed if valid else scores
        steps.append(
            WholeStep(
                find.centre_ras,
                dict(find.probabilities),
                dict(found.counterfactual.probabilities),
                dict(_best(finder, left).probabilities),
                valid,
            )
        )
        following = _best(finder, left)
        if not valid or _label(finder, following) != called or len(steps) == MOST_STEPS:
            return tuple(steps)
        image = put_back(image, found.volumes.counterfactual, around(find, image)[0])
        scores, find = left, following
        low, high = around(find, image)
        found = explain(image.crop(low, high), centre=find.centre_ras, **options)
        changed = finder.rescore(scores, image, found.volumes.counterfactual, low)


def overview_of(image: Image, find: Find) -> Image:
    """Return the plane of the image through a find's middle, reduced to at most ``OVERVIEW`` pixels a side."""
    middle = round(float(image.geometry.to_index(np.array(find.centre_ras))[2]))
    depth = image.geometry.shape[2]
    plane = image if depth == 1 else image.slice(min(max(middle, 0), depth - 1))
    width, height, _ = plane.geometry.shape
    ratio = min(1.0, OVERVIEW / max(width, height))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    reduced = resample(plane, model_grid(plane.geometry, size, None), interpolation="area")
    return Image(reduced.array.astype(np.float32), reduced.geometry, image.id, 2, image.modality, image.unit)


def put_back(image: Image, part: Image, low: tuple[int, int, int]) -> Image:
    """Return an image with some of its voxels replaced; it is of a type that holds both.

    Args:
        image: The whole image.
        part: The voxels.
        low: Where they begin in ``image``.
    """
    array = image.array.astype(np.result_type(image.array, part.array))
    window = tuple(slice(a, a + edge) for a, edge in zip(low, part.geometry.shape, strict=True))
    array[(slice(None), *window)] = part.array
    return image.with_array(array)


def _best(finder: Finder, scores: PatchScores) -> Find:
    return finder.finds(scores, most=1)[0]


def _label(finder: Finder, find: Find) -> str:
    answer = np.array(list(find.probabilities.values()))
    return finder.classifier.classes[DecisionRule.of(finder.classifier).label(answer)]


def around(find: Find, image: Image, margin: float = MARGIN) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the first native voxel, and one past the last, of a find and its surroundings; one slice stays one."""
    low, high = np.array(find.low), np.array(find.high)
    grown = np.where(high - low > 1, np.ceil(margin * (high - low)), 0).astype(int)
    i, j, k = (int(x) for x in np.maximum(low - grown, 0))
    a, b, c = (int(x) for x in np.minimum(high + grown, image.geometry.shape))
    return (i, j, k), (a, b, c)
