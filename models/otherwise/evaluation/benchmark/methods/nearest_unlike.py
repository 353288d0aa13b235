"""The nearest real image of another answer."""

from __future__ import annotations

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.evaluation.benchmark.methods.editing import is_valid
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod, MakeEdit, ReferenceImages


def nearest_unlike(references: ReferenceImages) -> MakeEdit:
    """Return the nearest real image of another answer (Euclidean): the floor of plausibility and the ceiling of change.

    Args:
        references: The real images.
    """
    neighbours, answers = references.images, references.answers

    def make(agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
        rule = DecisionRule.of(classifier)
        target = rule.nearest_other(classifier.predict(image[None])[0])
        unlike = np.flatnonzero(rule.predicts(answers, target))
        if not len(unlike):
            return Edit(image, target, False)
        distances = [float(np.square(neighbours[n] - image).sum()) for n in unlike]
        chosen = neighbours[unlike[int(np.argmin(distances))]]
        return Edit(chosen, target, is_valid(classifier, chosen, target))

    return make


def nearest_neighbours(references: ReferenceImages) -> tuple[EditMethod, ...]:
    """Return the method."""
    return (EditMethod("nearest-unlike", "Nearest unlike neighbour", "the floor", nearest_unlike(references)),)
