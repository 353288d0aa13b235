"""Measure by how much noise, streaks, blur and contrast move the value that a model says, in its unit.

A value has no answer that flips. What counts is how far it moves, beside the distance within which a target counts as
reached. Labels are not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from otherwise.blackbox.output_kind import OutputKind, with_unit
from otherwise.blackbox.robustness import BATCH, DISTURBANCES, Disturbance, Predict, table_of

MOST_SPREADS_MOVED = 1 / 3
"""A model goes by grain if noise of ``GRAIN_LEVEL`` moves the middle image by more spreads than that. Of images whose
values spread normally about a threshold, a move of a third of their spread changes the side of one in ten, which is the
limit for classes."""


@dataclass(frozen=True)
class Move:
    """Effect of one disturbance on a model's values.

    Attributes:
        disturbance: The disturbance.
        median: Distance by which the middle image moves, in the unit.
        largest: Distance by which the image that moves most does.
        towards: Mean change, with its sign.
    """

    disturbance: Disturbance
    median: float
    largest: float
    towards: float


@dataclass(frozen=True)
class ValueRobustness:
    """Effect of all disturbances on a model's values.

    Attributes:
        images: Number of images.
        kind: What the model says.
        moves: Effect of each disturbance.
    """

    images: int
    kind: OutputKind
    moves: tuple[Move, ...]

    @property
    def worst_grain(self) -> Move:
        """Return the noise of at most ``GRAIN_LEVEL`` that moves values furthest."""
        return max((one for one in self.moves if one.disturbance.is_grain), key=lambda one: one.median)

    @property
    def goes_by_grain(self) -> bool:
        """Return whether the model depends on an image's grain."""
        return self.worst_grain.median > MOST_SPREADS_MOVED * self.kind.spread

    @property
    def sentence(self) -> str:
        """Return the judgement in words."""
        worst, kind = self.worst_grain, self.kind
        measured = (
            f"{worst.disturbance.text} of the range moves the {kind.name} by {distance(worst.median, kind.unit)} "
            f"(median of {self.images} images, at most {distance(worst.largest, kind.unit)}); the tolerance is "
            f"{distance(kind.tolerance, kind.unit)}."
        )
        if self.goes_by_grain:
            return f"The model goes by grain: {measured} Its counterfactuals may be grain, too."
        beyond = worst.median > kind.tolerance
        return f"Grain moves the value {'by more' if beyond else 'by no more'} than the tolerance: {measured}"

    @property
    def table(self) -> str:
        """Return the median moves by kind, such as ``white noise 0.05: 1.2, 0.1: 3.1 months; blur 0.5: 0.2 months``."""
        return table_of({one.disturbance: f"{one.median:.3g}" for one in self.moves})


def distance(amount: float, unit: str) -> str:
    """Return the distance between two values for people; that of percentages is in percentage points."""
    return with_unit(abs(amount), "percentage points" if unit == "%" else unit)


def measure_value_robustness(
    predict: Predict,
    images: np.ndarray,
    kind: OutputKind,
    *,
    seed: int = 0,
    disturbances: Sequence[Disturbance] = DISTURBANCES,
) -> ValueRobustness:
    """Compare a model's values for images and for disturbed ones.

    Args:
        predict: The model, as a black box of two classes.
        images: ``(count, channels, *size)`` float32 in [0, 1].
        kind: What it says.
        seed: Seed of the noise.
        disturbances: The disturbances to measure.

    Returns:
        How far the values move.
    """
    generator = torch.Generator().manual_seed(seed)
    images = np.ascontiguousarray(images, np.float32)

    def values(asked: np.ndarray) -> np.ndarray:
        answers = [predict(asked[start : start + BATCH]) for start in range(0, len(asked), BATCH)]
        return kind.value_of(np.concatenate(answers))

    before = values(images)
    moves = []
    for disturbance in disturbances:
        change = values(disturbance.apply(images, generator)) - before
        size = np.abs(change)
        moves.append(Move(disturbance, float(np.median(size)), float(size.max()), float(change.mean())))
    return ValueRobustness(len(images), kind, tuple(moves))
