"""What an explanation says of a value: before, after, what was asked for, and survival curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.question import Question


@dataclass(frozen=True)
class SurvivalCurves:
    """Survival of the original and of the counterfactual.

    Attributes:
        times: In ``unit``, 0 first.
        before: Probability of survival at each time, in [0, 1].
        after: The same for the counterfactual.
        unit: Of the times.
    """

    times: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    unit: str


@dataclass(frozen=True)
class ValueAnswer:
    """The value of an explanation.

    Attributes:
        kind: What the model says.
        question: What was asked.
        original: The value of the image.
        counterfactual: The value of the counterfactual.
        curves: Of a survival network; else None.
    """

    kind: OutputKind
    question: Question
    original: float
    counterfactual: float
    curves: SurvivalCurves | None = None

    @property
    def reached(self) -> bool:
        """Return whether the counterfactual has the value that was asked for."""
        return self.question.reached(self.counterfactual)

    @property
    def change(self) -> float:
        """Return by how much the value changes, in the unit."""
        return self.counterfactual - self.original

    def of_whole(self, probabilities: Mapping[str, float]) -> float:
        """Return the value of a larger image; the two classes of its answer are the sides of the model's reference."""
        return float(self.kind.value_of(np.array(list(probabilities.values()))))

    def of(self, probabilities: Mapping[str, float]) -> float:
        """Return the value that an answer of this explanation stands for."""
        return float(self.question.value_of(np.array(list(probabilities.values()))))
