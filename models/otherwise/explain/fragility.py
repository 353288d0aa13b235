"""Check whether grain flips the classifier on this image, and whether the counterfactual survives a faint disturbance.

A change that half a pixel of blur or a little noise undoes shows where the classifier can be misled, not what it looks
for. Each question costs the classifier a few answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from otherwise.blackbox.checked import decision_value
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
DOUBT, SPREAD = 1.5, 1.0
"""How far the log-odds of further noisy copies may lie from those of the first: so much, and so many times as far as
the first one moved."""


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
    classifier: BlackBox,
    image: np.ndarray,
    disturbances: Sequence[Disturbance],
    answer: np.ndarray,
    seed: int = 0,
    every: bool = False,
) -> np.ndarray:
    """Return the mean answer over disturbed copies of ``image (channels, *size)``: ``(disturbances, classes)``.

    The first copy of each is asked about at once. Where it is far from any other decision its answer stands for all
    copies, and the others are asked about where it is not (see ``_in_doubt``).

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        disturbances: What is done to it.
        answer: What the classifier says of the image as it is, ``(classes,)``.
        seed: Decides the noise.
        every: Ask about every copy in any case.
    """
    batches = []
    for disturbance in disturbances:
        copies = np.repeat(np.asarray(image, np.float32)[None], copies_of(disturbance), axis=0)
        batches.append(np.asarray(disturbance.apply(copies, torch.Generator().manual_seed(seed))))
    means = np.array(classifier.predict(np.stack([batch[0] for batch in batches])))
    rule = DecisionRule.of(classifier)
    again = [n for n, batch in enumerate(batches) if len(batch) > 1 and (every or _in_doubt(rule, answer, means[n]))]
    if again:
        answers = classifier.predict(np.concatenate([batches[n][1:] for n in again]))
        ends = np.cumsum([len(batches[n]) - 1 for n in again])[:-1]
        for n, others in zip(again, np.split(answers, ends), strict=True):
            means[n] = np.concatenate([means[n][None], others]).mean(axis=0)
    return means


def _in_doubt(rule: DecisionRule, answer: np.ndarray, copy: np.ndarray) -> bool:
    """Return whether other copies with the same disturbance may lead to another decision than ``answer``.

    In log-odds, they are taken to move each class towards another decision by at most ``DOUBT`` and ``SPREAD`` times as
    far as this copy did. An answer of exactly 0 or 1 says nothing about how far that is.

    Args:
        rule: When a class is predicted.
        answer: For the image as it is, ``(classes,)``.
        copy: For one disturbed copy, ``(classes,)``.
    """
    if (copy <= 0).any() or (rule.multi_label and (copy >= 1).any()):
        return True
    before, after = (
        np.stack([decision_value(each, label, rule.multi_label) for label in range(len(copy))])
        for each in (answer, copy)
    )
    reach = DOUBT + SPREAD * np.abs(after - before)
    predicted = rule.predicted(answer)
    pulled = 1 / (1 + np.exp(-np.where(predicted, after - reach, after + reach).clip(-500, 500)))
    return bool((rule.predicted(pulled) != predicted).any())


def moved_by(
    classifier: BlackBox,
    image: np.ndarray,
    levels: Sequence[Sequence[Disturbance]] = GRAIN,
    seed: int = 0,
    answer: np.ndarray | None = None,
) -> Moved | None:
    """Return the first disturbance after which the classifier decides otherwise than for the image as it is.

    Few copies tell that nothing moves it. Where something does, every copy up to there is asked about, so that what is
    returned is the faintest.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        levels: What is tried: one group after the other, each asked about at once.
        seed: Decides the noise.
        answer: What it says of the image as it is, ``(classes,)``; None: it is asked.
    """
    answer = classifier.predict(image[None])[0] if answer is None else answer
    for last, level in enumerate(levels):
        if _first_moved(classifier, level, answer, mean_answers(classifier, image, level, answer, seed)):
            for again in levels[: last + 1]:
                means = mean_answers(classifier, image, again, answer, seed, every=True)
                moved = _first_moved(classifier, again, answer, means)
                if moved:
                    return moved
    return None


def _first_moved(
    classifier: BlackBox, disturbances: Sequence[Disturbance], answer: np.ndarray, means: np.ndarray
) -> Moved | None:
    """Return the first disturbance whose mean answer is another decision than ``answer``."""
    rule = DecisionRule.of(classifier)
    before = rule.predicted(answer)
    for disturbance, mean in zip(disturbances, means, strict=True):
        after = rule.predicted(mean)
        if (after != before).any():
            # Of several labels: the surest that is new, or else the one that went.
            new = np.where(after & ~before, mean, -1.0)
            some = bool((after & ~before).any())
            return Moved(disturbance, classifier.classes[int(new.argmax())] if some else _without(classifier, before))
    return None


def undone_by(
    classifier: BlackBox,
    image: np.ndarray,
    target: int,
    disturbances: Sequence[Disturbance] = FAINT,
    seed: int = 0,
    answer: np.ndarray | None = None,
) -> Disturbance | None:
    """Return the first faint disturbance after which the classifier no longer says the target of a counterfactual.

    Args:
        classifier: The black box.
        image: The counterfactual, ``(channels, *size)`` in [0, 1], for which it says the target.
        target: Index of the class.
        disturbances: What is tried, all at once; the first in this order counts.
        seed: Decides the noise.
        answer: What it says of the counterfactual, ``(classes,)``; None: it is asked.
    """
    answer = classifier.predict(image[None])[0] if answer is None else answer
    holds = DecisionRule.of(classifier).predicts(mean_answers(classifier, image, disturbances, answer, seed), target)
    return next((each for each, held in zip(disturbances, holds, strict=True) if not held), None)


def fragility_warnings(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray | None,
    target: int,
    seed: int = 0,
    answer: np.ndarray | None = None,
    flipped: np.ndarray | None = None,
) -> tuple[AnswerWarning, ...]:
    """Say in words what grain does to an answer and to its counterfactual.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: The same, for which the classifier says the target; None: there is none.
        target: Index of the class.
        seed: Decides the noise.
        answer: What it says of the image, ``(classes,)``; None: it is asked.
        flipped: What it says of the counterfactual, likewise.
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
    undone = (
        undone_by(classifier, counterfactual, target, seed=seed, answer=flipped) if counterfactual is not None else None
    )
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


def copies_of(disturbance: Disturbance) -> int:
    """Return the number of disturbed copies per image: several of noise, which differs from copy to copy, else one."""
    return COPIES if disturbance.is_noise else 1
