"""Measure on the black box what each part of an edit does, and describe the regions that decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.search_result import SearchResult
from otherwise.blackbox.protocol import BlackBox
from otherwise.explain.explanation import Region
from otherwise.images.image import Image
from otherwise.influence.along_path import effect_along_path
from otherwise.influence.effect import Sensitivity, measure_effect
from otherwise.influence.minimal import minimal_mask
from otherwise.influence.regions import MeasuredRegion, measure_regions


@dataclass(frozen=True, eq=False)
class MeasuredEdit:
    """The effects of the parts of an edit.

    Attributes:
        effect: ``size``: change of the log-odds at each voxel.
        along_path: ``size``: the same along the path to the edit, see ``influence.along_path``; this one is shown.
        minimal: bool ``size``: the least part that suffices.
        regions: Those that decide, the strongest first.
        saturated: Whether all answers were exactly 0 or 1, see ``influence.tipping``.
    """

    effect: np.ndarray
    along_path: np.ndarray
    minimal: np.ndarray
    regions: list[MeasuredRegion]
    saturated: bool

    def in_unit(self, spread: float) -> MeasuredEdit:
        """Return effects in a value's unit, of which ``spread`` is one log-odds."""
        regions = [replace(region, effect=spread * region.effect) for region in self.regions]
        effect, along_path = (np.asarray(spread * each, np.float32) for each in (self.effect, self.along_path))
        return replace(self, effect=effect, along_path=along_path, regions=regions)


def measure_edit(
    classifier: BlackBox,
    original: np.ndarray,
    edit: Candidate,
    floor: np.ndarray,
    result: SearchResult,
    sensitivity: Sensitivity | None,
    checkpoint: Callable[[float], None],
) -> MeasuredEdit:
    """Measure an edit.

    Args:
        classifier: The black box.
        original: ``(channels, *size)`` float32 in [0, 1].
        edit: The edit.
        floor: ``size``: the autoencoder's own error.
        result: Of the search that made the edit.
        sensitivity: See ``measure_effect``.
        checkpoint: Called with the share done; may raise to cancel.
    """
    target, edited = result.target, edit.image

    def first_two_thirds(part: float) -> None:
        checkpoint(2 / 3 * part)

    measured = measure_effect(classifier, original, edited, target, first_two_thirds, sensitivity=sensitivity)
    effect = measured.values
    mask = (
        minimal_mask(classifier, original, edited, effect, target)
        if result.valid
        else np.ones(effect.shape, dtype=bool)
    )
    regions = measure_regions(classifier, original, edited, effect, floor, target, measured.saturated)
    lesser = result.nearest_to_boundary(edit, classifier.multi_label)
    along_path = measured.located
    if lesser is not None:

        def last_third(part: float) -> None:
            checkpoint((2 + part) / 3)

        along_path = effect_along_path(classifier, original, measured, lesser.image, target, last_third, sensitivity)
    return MeasuredEdit(effect, along_path, mask, regions, measured.saturated)


def label_map(regions: Sequence[MeasuredRegion], size: tuple[int, ...]) -> np.ndarray:
    """Return uint8 ``size``: the number of the region from 1, or 0."""
    labels = np.zeros(size, dtype=np.uint8)
    for number, region in enumerate(regions, start=1):
        labels[region.mask] = number
    return labels


def describe_regions(regions: Sequence[MeasuredRegion], labels: Image) -> tuple[Region, ...]:
    """Return the regions in millimetres or, where the spacing is unknown, in pixels.

    Args:
        regions: On the classifier's grid.
        labels: Their label map on the image's own grid. A region that is smaller than a voxel there is left out.
    """
    described = []
    for number, region in enumerate(regions, start=1):
        inside = labels.array[0] == number
        count = int(np.count_nonzero(inside))
        if not count:
            continue
        centre = tuple(_mean_index(inside, axis) for axis in range(3))
        measured, plane = labels.unit == "mm", labels.dimension == 2
        described.append(
            Region(
                label=number,
                centroid_ras=tuple(labels.geometry.to_ras(np.array(centre)).tolist()) if measured else None,
                volume_mm3=count * labels.geometry.voxel_volume if measured else None,
                effect=region.effect,
                sufficient=region.sufficient,
                necessary=region.necessary,
                above_floor=region.above_floor,
                voxels=count,
                centroid_index=centre,
                area_mm2=count * labels.geometry.pixel_area if measured and plane else None,
            )
        )
    return tuple(described)


def _mean_index(inside: np.ndarray, axis: int) -> float:
    """Return the mean index along an axis of the true voxels; no list of voxels is made, which may be many."""
    counts = np.count_nonzero(inside, axis=tuple(other for other in range(3) if other != axis))
    return float(np.average(np.arange(len(counts)), weights=counts))
