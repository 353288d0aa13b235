"""Models that say a number: the mean of the central square, in units where the truth is simple."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from otherwise.blackbox.output_kind import OutputKind, two_classes
from otherwise.blackbox.question import Question, ask
from otherwise.explain.explanation import Counterfactual, Explanation, PathPoint, Prediction, Probabilities
from otherwise.explain.value import SurvivalCurves, ValueAnswer


class SquareValue(torch.nn.Module):
    """A value: ``slope`` times the mean of the central square of ``(batch, 1, *size)``."""

    def __init__(self, slope: float = 100.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.slope * central(images)


class SquareHazards(torch.nn.Module):
    """Logits of the hazards of three intervals, which rise with the mean of the central square."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = central(images)
        return torch.cat([8 * mean - 6, 8 * mean - 5, 6 * mean - 5], dim=1)


def central(images: torch.Tensor) -> torch.Tensor:
    """Return the mean of the central square ``(batch, 1)`` of images ``(batch, 1, rows, columns)``."""
    rows, columns = images.shape[2], images.shape[3]
    inside = images[:, 0, rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    return inside.mean(dim=(1, 2))[:, None]


def save(module: torch.nn.Module, path: Path, size: tuple[int, int] = (16, 12)) -> Path:
    """Save a module as TorchScript; ``size`` is columns, rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(module, torch.zeros(1, 1, size[1], size[0]), check_trace=False).save(str(path))
    return path


def says(question: Question, value: float) -> Probabilities:
    """Return the answer to a question that stands for a value."""
    answer = two_classes(np.array((value - question.cut) / question.spread))
    return dict(zip(question.classes, answer.tolist(), strict=True))


def as_value(made: Explanation, kind: OutputKind, original: float, target: str, reached: float) -> Explanation:
    """Return an explanation of classes as one that brings a value to another one."""
    question = ask(kind, original, target)
    found = Counterfactual(question.reached(reached), says(question, reached), 0.2, 0.05)
    curves = None
    if kind.kind == "survival":
        before, after = (tuple(np.linspace(1, 1 - value / 100, 4).tolist()) for value in (original, reached))
        curves = SurvivalCurves(kind.times, before, after, kind.time_unit)
    along = np.linspace(original, reached + 0.4 * (reached - original), len(made.path)).tolist()
    return replace(
        made,
        prediction=Prediction(question.classes[1 - question.target], says(question, original)),
        target=question.classes[question.target],
        counterfactual=found,
        minimal=found,
        alternatives=(found,) * len(made.alternatives),
        path=tuple(
            PathPoint(point.strength, says(question, value), question.reached(value))
            for point, value in zip(made.path, along, strict=True)
        ),
        value=ValueAnswer(kind, question, original, reached, curves),
    )
