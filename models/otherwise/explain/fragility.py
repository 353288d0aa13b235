"""Can grain move the classifier on this very image, and does the counterfactual outlive a faint disturbance?

A change that half a pixel of blur or a little noise undoes shows where the classifier can be misled, not what it looks
for. Each question costs the classifier a few answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.robustness import Disturbance
from otherwise.warning import AnswerWarning

GRAIN = tuple(
    tuple(Disturbance(kind, level) for kind in ("white noise", "streaky noise")) for level in (0.02, 0.05, 0.1)
)
"""What may move a classifier on an image without changing what a radiologist sees, by level; the faintest first."""
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


def mean_answers(
    classifier: BlackBox, image: np.ndarray, disturbances: Sequence[Disturbance], seed: int = 0
) -> np.ndarray:
    """Return the mean answer over disturbed copies of ``image (channels, *size)``: ``(disturbances, classes)``.

    The classifier is asked about all copies at once.
    """
    batches = []
    for disturbance in disturbances:
        copies = np.repeat(np.asarray(image, np.float32)[None], _copies(disturbance), axis=0)
        batches.append(disturbance.apply(copies, torch.Generator().manual_seed(seed)))
    answers = classifier.predict(np.concatenate(batches))
    ends = np.cumsum([len(batch) for batch in batches])[:-1]
    return np.stack([part.mean(axis=0) for part in np.split(answers, ends)])


def moved_by(
    classifier: BlackBox,
    image: np.ndarray,
    levels: Sequence[Sequence[Disturbance]] = GRAIN,
    seed: int = 0,
    answer: np.ndarray | None = None,
) -> Moved | None:
    """Return the first disturbance after which the classifier decides otherwise than for the image as it is.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        levels: What is tried: one group after the other, each asked about at once.
        seed: Decides the noise.
        answer: What it says of the image as it is, ``(classes,)``; None: it is asked.
    """
    rule = DecisionRule.of(classifier)
    before = rule.said(classifier.predict(image[None])[0] if answer is None else answer)
    for disturbances in levels:
        answers = mean_answers(classifier, image, disturbances, seed)
        for disturbance, mean in zip(disturbances, answers, strict=True):
            after = rule.said(mean)
            if (after != before).any():
                # Of several labels: the surest that is new, or else the one that went.
                new = np.where(after & ~before, mean, -1.0)
                some = bool((after & ~before).any())
                label = classifier.classes[int(new.argmax())] if some else _without(classifier, before)
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
        disturbances: What is tried, all at once; the first in this order counts.
        seed: Decides the noise.
    """
    holds = DecisionRule.of(classifier).says(mean_answers(classifier, image, disturbances, seed), target)
    return next((each for each, held in zip(disturbances, holds, strict=True) if not held), None)


def fragility_warnings(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray | None,
    target: int,
    seed: int = 0,
    answer: np.ndarray | None = None,
) -> tuple[AnswerWarning, ...]:
    """Say in words what grain does to an answer and to its counterfactual.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: The same, for which the classifier says the target; None: there is none.
        target: Index of the class.
        seed: Decides the noise.
        answer: What it says of the image, ``(classes,)``; None: it is asked.
    """
    warnings = []
    moved = moved_by(classifier, image, seed=seed, answer=answer)
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


def _copies(disturbance: Disturbance) -> int:
    return COPIES if "noise" in disturbance.kind else 1
