"""The images of the path from the original to the target, each with the black box's answer."""

from __future__ import annotations

from dataclasses import dataclass

from otherwise.explain.explanation import Explanation, PathPoint
from otherwise.report import value_words, words
from otherwise.report.panels import FigurePanel, Panels


@dataclass(frozen=True)
class PathStep:
    """One image of the path; ``value`` is the predicted value with its unit, for models of values."""

    panel: FigurePanel
    point: PathPoint
    flipped: bool
    value: str = ""


def steps(explanation: Explanation, panels: Panels) -> list[PathStep]:
    """Return the images of the path."""
    return [
        PathStep(
            panels.small(image, f"Path at strength {point.strength:g}"),
            point,
            words.answers(point.probabilities, explanation.target) if point.flipped is None else point.flipped,
            value_words.of_point(explanation, point.probabilities) if explanation.value else "",
        )
        for point, image in zip(explanation.path, explanation.volumes.path, strict=True)
    ]
