"""An edited image with what is said of it, and when the black box has decided for a class."""

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
        likeness: What the student says, ``(classes,)``; None: it has not learned in noise, and is not asked.
    """

    image: np.ndarray
    probabilities: np.ndarray
    strength: float
    likeness: np.ndarray | None = None


def decides(probabilities: np.ndarray, target: int, multi_label: bool) -> np.ndarray:
    """Whether the black box decides for the target: most probable class, or (multi-label) above one half."""
    if multi_label:
        return np.asarray(probabilities[..., target] > 0.5)
    return np.asarray(probabilities.argmax(-1) == target)


def choose_target(probabilities: np.ndarray, multi_label: bool) -> int:
    """The class that is nearest to becoming the answer: the runner-up, or (multi-label) the least certain "no"."""
    if multi_label:
        rest = np.where(probabilities > 0.5, -1.0, probabilities)
        return int(rest.argmax())
    return int(np.argsort(-probabilities, kind="stable")[1])
