"""Check by how much grain moves a value on this image, and whether its counterfactual outlives a faint disturbance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from otherwise.blackbox.output_kind import with_unit
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.question import Question
from otherwise.blackbox.robustness import Disturbance
from otherwise.blackbox.value_robustness import distance
from otherwise.explain.fragility import FAINT, GRAIN, copies_of
from otherwise.warning import AnswerWarning

TOO_FAR = 0.5
"""Share of the way to the target that grain, or a faint disturbance of the counterfactual, may take."""
CALM = 1 / 3
"""Share of that way below which the move of one copy stands for those of all."""


@dataclass(frozen=True)
class MovedValue:
    """A disturbance that moves a value too far.

    Attributes:
        disturbance: What was done to the image.
        value: What the model then says: the mean over disturbed copies.
    """

    disturbance: Disturbance
    value: float


def mean_values(
    classifier: BlackBox,
    question: Question,
    image: np.ndarray,
    disturbances: Sequence[Disturbance],
    seed: int = 0,
    copies: int | None = None,
) -> np.ndarray:
    """Return the mean value over disturbed copies of ``image (channels, *size)``: ``(disturbances,)``.

    Args:
        classifier: The model as the two sides of the question's cut.
        question: The question.
        image: ``(channels, *size)`` in [0, 1].
        disturbances: What is done to it.
        seed: Decides the noise.
        copies: Copies for each; None: as many as the disturbance needs.
    """
    batches = []
    for disturbance in disturbances:
        same = np.repeat(np.asarray(image, np.float32)[None], copies or copies_of(disturbance), axis=0)
        batches.append(np.asarray(disturbance.apply(same, torch.Generator().manual_seed(seed))))
    values = question.value_of(classifier.predict(np.concatenate(batches)))
    ends = np.cumsum([len(batch) for batch in batches])[:-1]
    return np.array([each.mean() for each in np.split(values, ends)])


def value_warnings(
    classifier: BlackBox,
    question: Question,
    image: np.ndarray,
    original: float,
    counterfactual: np.ndarray | None,
    reached: float,
    seed: int = 0,
) -> tuple[AnswerWarning, ...]:
    """Say in the value's unit what grain does to it, and a faint disturbance to its counterfactual.

    Args:
        classifier: The model as the two sides of the question's cut.
        question: What was asked.
        image: ``(channels, *size)`` in [0, 1].
        original: Its value.
        counterfactual: The same, for which the target is reached; None: there is none.
        reached: Its value.
        seed: Decides the noise.
    """
    warnings = []
    moved = _moved(classifier, question, image, original, seed)
    if moved is not None:
        move, tolerance = (distance(x, question.unit) for x in (moved.value - original, question.tolerance))
        warnings.append(
            AnswerWarning(
                "moved-by-grain",
                f"Grain moves the value on this image: {moved.disturbance.text} of the range moves the "
                f"{question.name} by {move}, to {with_unit(moved.value, question.unit)}; the tolerance is {tolerance}.",
            )
        )
    if counterfactual is None:
        return tuple(warnings)
    change = reached - original
    for disturbance, value in zip(FAINT, mean_values(classifier, question, counterfactual, FAINT, seed), strict=True):
        back = (reached - float(value)) / change if change else 0.0
        if back > TOO_FAR:
            noisy = "of the range " if "noise" in disturbance.kind else ""
            warnings.append(
                AnswerWarning(
                    "artefact",
                    f"The change is an artefact of the model, not a counterfactual: {disturbance.text} {noisy}undoes "
                    f"{distance(reached - float(value), question.unit)} of its {distance(change, question.unit)}.",
                )
            )
            break
    return tuple(warnings)


def _moved(
    classifier: BlackBox, question: Question, image: np.ndarray, original: float, seed: int
) -> MovedValue | None:
    """Return the faintest noise that moves the value further than allowed, either way; None: none does.

    One copy for each disturbance is asked about first; where none of them moves it by a good part of that, none does.
    """
    most = TOO_FAR * abs(question.cut - original)
    every = [disturbance for level in GRAIN for disturbance in level]
    if np.abs(mean_values(classifier, question, image, every, seed, copies=1) - original).max() < CALM * most:
        return None
    for level in GRAIN:
        values = mean_values(classifier, question, image, level, seed)
        worst = int(np.abs(values - original).argmax())
        if abs(values[worst] - original) > most:
            return MovedValue(level[worst], float(values[worst]))
    return None
