"""Can grain move the classifier on this very image, and does the counterfactual outlive a faint disturbance?

A change that half a pixel of blur or a little noise undoes shows where the classifier can be misled, not what it looks
for. Each question costs the classifier a few answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.robustness import Disturbance, decided
from otherwise.warning import AnswerWarning

GRAIN = tuple(Disturbance(kind, level) for level in (0.02, 0.05, 0.1) for kind in ("white noise", "streaky noise"))
"""What may move a classifier on an image without changing what a radiologist sees; the faintest first."""
FAINT = (Disturbance("blur", 0.5), Disturbance("white noise", 0.02))
"""What a counterfactual has to outlive."""
COPIES = 4
"""Noisy copies of an image; their mean answer counts."""


@dataclass(frozen=True)
class Moved:
    """A disturbance after which the classifier decides otherwise.

    Attributes:
        disturbance: What was done to the image.
        label: What the classifier then says.
    """

    disturbance: Disturbance
    label: str


def mean_answer(classifier: BlackBox, image: np.ndarray, disturbance: Disturbance, seed: int = 0) -> np.ndarray:
    """Return the classifier's mean answer, ``(classes,)``, over copies of ``image (channels, *size)``, disturbed."""
    copies = COPIES if "noise" in disturbance.kind else 1
    batch = np.repeat(np.asarray(image, np.float32)[None], copies, axis=0)
    return classifier.predict(disturbance.apply(batch, torch.Generator().manual_seed(seed))).mean(axis=0)


def moved_by(
    classifier: BlackBox, image: np.ndarray, disturbances: Sequence[Disturbance] = GRAIN, seed: int = 0
) -> Moved | None:
    """Return the first disturbance after which the classifier decides otherwise than for the image as it is.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        disturbances: What is tried, in this order.
        seed: Decides the noise.
    """
    before = decided(classifier.predict(image[None]), classifier.multi_label)[0]
    for disturbance in disturbances:
        answer = mean_answer(classifier, image, disturbance, seed)
        after = decided(answer[None], classifier.multi_label)[0]
        if (after != before).any():
            # Of several labels: the surest that is new, or else the one that went.
            new = np.where(after & ~before, answer, -1.0)
            label = classifier.classes[int(new.argmax())] if (after & ~before).any() else _without(classifier, before)
            return Moved(disturbance, label)
    return None


def undone_by(
    classifier: BlackBox, image: np.ndarray, target: int, disturbances: Sequence[Disturbance] = FAINT, seed: int = 0
) -> Disturbance | None:
    """Return the first faint disturbance after which the classifier no longer says the target of a counterfactual.

    Args:
        classifier: The black box.
        image: The counterfactual, ``(channels, *size)`` in [0, 1], for which it says the target.
        target: Index of the class.
        disturbances: What is tried, in this order.
        seed: Decides the noise.
    """
    for disturbance in disturbances:
        answer = mean_answer(classifier, image, disturbance, seed)
        if not decided(answer[None], classifier.multi_label)[0][target]:
            return disturbance
    return None


def fragility_warnings(
    classifier: BlackBox, image: np.ndarray, counterfactual: np.ndarray | None, target: int, seed: int = 0
) -> tuple[AnswerWarning, ...]:
    """Say in words what grain does to an answer and to its counterfactual.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: The same, for which the classifier says the target; None: there is none.
        target: Index of the class.
        seed: Decides the noise.
    """
    warnings = []
    moved = moved_by(classifier, image, seed=seed)
    if moved is not None:
        warnings.append(
            AnswerWarning(
                "moved-by-grain",
                f"Grain moves the classifier on this image: {moved.disturbance.text} of the range makes it say "
                f"{moved.label}.",
            )
        )
    undone = undone_by(classifier, counterfactual, target, seed=seed) if counterfactual is not None else None
    if undone is not None:
        warnings.append(
            AnswerWarning(
                "artefact",
                f"The change is an artefact of the classifier, not a counterfactual: {undone.text} "
                f"{'of the range ' if 'noise' in undone.kind else ''}undoes it.",
            )
        )
    return tuple(warnings)


def _without(classifier: BlackBox, before: np.ndarray) -> str:
    return f"not {classifier.classes[int(before.argmax())]}"
