"""An edited image and the answers to it, and when an answer is the target class."""

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
    """

    image: np.ndarray
    probabilities: np.ndarray
    strength: float
    student_probabilities: np.ndarray | None = None


def predicts_target(probabilities: np.ndarray, target: int, multi_label: bool) -> np.ndarray:
    """Return whether the target is the answer: most probable class, or (multi-label) above one half."""
    if multi_label:
        return np.asarray(probabilities[..., target] > 0.5)
    return np.asarray(probabilities.argmax(-1) == target)


def choose_target(probabilities: np.ndarray, multi_label: bool) -> int:
    """Return the class nearest to becoming the answer: the runner-up, or (multi-label) the least certain "no"."""
    if multi_label:
        rest = np.where(probabilities > 0.5, -1.0, probabilities)
        return int(rest.argmax())
    return int(np.argsort(-probabilities, kind="stable")[1])
