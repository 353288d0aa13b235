"""One find, and the answers for all patches of an image that finds are chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from otherwise.images.image import Geometry


@dataclass(frozen=True)
class Find:
    """A patch that is worth explaining.

    Attributes:
        rank: From 1; the most probable first. 0: a patch that somebody chose.
        probability: Of the wanted classes together; of a value, see ``Concern.scores``.
        probabilities: Of every class, by name; of a value, of the two sides of its reference.
        centre_ras: Of the patch, millimetres.
        size_mm: Of the patch along the image's own axes i, j, k.
        low, high: The native voxels that the patch covers, first and one past the last; within the image.
        value: What a model of values says of the patch, in ``unit``; None: the model says classes.
        unit: Of the value.
    """

    rank: int
    probability: float
    probabilities: Mapping[str, float]
    centre_ras: tuple[float, float, float]
    size_mm: tuple[float, float, float]
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    value: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class PatchScores:
    """The classifier's answers for the patches of an image.

    Attributes:
        native: The image's own grid.
        grid: The classifier's spacing over the whole image.
        starts: ``(patches, 2 or 3)`` first voxel of each patch on ``grid``.
        answers: ``(patches, classes)`` probabilities.
        coarse: How many of the patches, the first ones, are of the coarse pass.
    """

    native: Geometry
    grid: Geometry
    starts: np.ndarray
    answers: np.ndarray
    coarse: int

    def with_more(self, starts: np.ndarray, answers: np.ndarray) -> PatchScores:
        """Add patches of the fine pass."""
        return replace(
            self,
            starts=np.concatenate([self.starts, starts]),
            answers=np.concatenate([self.answers, answers]),
        )
