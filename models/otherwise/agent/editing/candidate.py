"""An edited image and the answers to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """One edited image and the black box's answer.

    Attributes:
        image: ``(channels, *size)`` float32 in [0, 1].
        probabilities: ``(classes,)``.
        strength: See ``SearchSettings.strengths``; 0: unchanged.
        student_probabilities: ``(classes,)``; None for a student not trained in noise, which is not asked.
        displacement: ``(dims, *size)`` float32 voxels, of an edit that only deforms the image; see ``deformation``.
    """

    image: np.ndarray
    probabilities: np.ndarray
    strength: float
    student_probabilities: np.ndarray | None = None
    displacement: np.ndarray | None = None
