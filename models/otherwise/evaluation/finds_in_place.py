"""What it costs to explain a find in its place, and whether it stays there to the last voxel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from otherwise.agent.editing.search import Progress
from otherwise.evaluation.costs import resident_gib, timed
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import Explanation
from otherwise.explain.placed import explain_find
from otherwise.finding.find import Find, PatchScores
from otherwise.finding.finder import Finder
from otherwise.images.image import Image
from otherwise.phantoms.phantom import WholePhantom


@dataclass(frozen=True)
class InPlaceFigures:
    """Figures of the first find of each whole phantom.

    Attributes:
        images: How many.
        validity: Share that flips the black box, asked about the patch of the full image.
        median_seconds: To explain a find in its place, once the patches have been looked at.
        median_ratio: Time in the place to that of the patch cut out and explained by itself, of pairs.
        worst_ratio: The same, the worst pair.
        geometry_error_mm: Largest distance of any corner of any volume from where the whole image's grid has it.
        changed_outside: Voxels outside the patch that are not bit for bit those of the image.
        peak_gib: Memory of this process, at most; drawing the phantoms included.
    """

    images: int
    validity: float
    median_seconds: float
    median_ratio: float
    worst_ratio: float
    geometry_error_mm: float
    changed_outside: int
    peak_gib: float

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_finds_in_place(
    explainer: Explainer,
    finder: Finder,
    phantoms: Iterable[WholePhantom],
    count: int,
    progress: Progress = lambda stage, part: None,
) -> InPlaceFigures:
    """Explain the first find of every phantom in its place and by itself, one after the other.

    Args:
        explainer: With the same classifier as ``finder``.
        finder: Finds.
        phantoms: Unseen ones.
        count: How many there are.
        progress: Called with the share done.
    """
    pairs, valid, error, outside, peak = [], [], 0.0, 0, 0.0
    for number, phantom in enumerate(phantoms, start=1):
        image = phantom.image
        scores = finder.score(image)
        find = finder.rank(scores, 1)

        def in_place(image: Image = image, find: Find = find, scores: PatchScores = scores) -> Explanation:
            return explain_find(explainer.explain, finder, image, scores, find)

        def bare(image: Image = image, find: Find = find) -> Explanation:
            return explainer.explain(image.crop(find.low, find.high), centre=find.centre_ras)

        # Each is the first of a pair equally often, so that caches help both alike.
        first, second = (in_place, bare) if number % 2 else (bare, in_place)
        results = {each: timed(each) for each in (first, second)}
        (found, placed), (_, alone) = results[in_place], results[bare]
        pairs.append((placed, alone))
        valid.append(found.counterfactual.valid)
        error = max(error, geometry_error(found, image))
        outside += changed_outside(found, image, find)
        peak = max(peak, resident_gib())
        progress("explain", number / count)
    ratios = [placed / alone for placed, alone in pairs]
    return InPlaceFigures(
        images=len(pairs),
        validity=round(float(np.mean(valid)), 4),
        median_seconds=round(float(np.median([placed for placed, _ in pairs])), 2),
        median_ratio=round(float(np.median(ratios)), 3),
        worst_ratio=round(max(ratios), 3),
        geometry_error_mm=error,
        changed_outside=outside,
        peak_gib=round(peak, 2),
    )


def geometry_error(explanation: Explanation, image: Image) -> float:
    """Return the largest distance (mm) of a volume's corner from its place on the whole image's grid."""
    place = explanation.place
    assert place is not None
    corners = np.array([place.low, np.array(place.high) - 1])
    wanted = image.geometry.to_ras(corners)
    volumes = explanation.volumes
    every = (volumes.original, volumes.counterfactual, volumes.effect, volumes.regions, volumes.minimal, *volumes.path)
    last = np.array(place.high) - place.low - 1
    return max(
        float(np.linalg.norm(v.geometry.to_ras(np.array([[0, 0, 0], last])) - wanted, axis=1).max()) for v in every
    )


def changed_outside(explanation: Explanation, image: Image, find: Find) -> int:
    """Return how many voxels of the counterfactual outside the find's patch differ from the image's."""
    place = explanation.place
    assert place is not None
    edited = explanation.volumes.counterfactual.array
    same = edited == image.crop(place.low, place.high).array.astype(edited.dtype)
    inside = tuple(slice(a - b, c - b) for a, c, b in zip(find.low, find.high, place.low, strict=True))
    same[(slice(None), *inside)] = True
    return int((~same).sum())
