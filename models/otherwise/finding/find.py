"""One find, and the answers for all patches of an image that finds are chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from otherwise.blackbox.output_kind import far_sentence
from otherwise.errors import ImageError
from otherwise.images.image import Geometry
from otherwise.warning import AnswerWarning


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
        far: How many patches were left out, since the value that the model says of them cannot be read back.
    """

    native: Geometry
    grid: Geometry
    starts: np.ndarray
    answers: np.ndarray
    coarse: int
    far: int = 0

    def with_more(self, starts: np.ndarray, answers: np.ndarray) -> PatchScores:
        """Add patches of the fine pass; see ``readable``."""
        more = replace(
            self,
            starts=np.concatenate([self.starts, starts]),
            answers=np.concatenate([self.answers, answers]),
        )
        return more.readable()

    def readable(self) -> PatchScores:
        """Leave out the patches without an answer (NaN), and count them in ``far``.

        Raises:
            ImageError: if none is left.
        """
        known = ~np.isnan(self.answers).any(axis=1)
        if not known.any():
            raise ImageError(
                "Of no patch can the model's value be read back: each lies too far from its reference.",
                "Import it again with --reference and --spread: median and standard deviation over real images.",
            )
        coarse, far = int(known[: self.coarse].sum()), self.far + int((~known).sum())
        return replace(self, starts=self.starts[known], answers=self.answers[known], coarse=coarse, far=far)

    @property
    def warnings(self) -> tuple[AnswerWarning, ...]:
        """Return the warning that patches were left out; none if none was."""
        return (AnswerWarning("far-values", far_sentence(self.far, "patch")),) if self.far else ()
