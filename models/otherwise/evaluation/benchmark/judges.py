"""What a judge of counterfactuals is worth: whether it sees what the classifier sees, and whether grain moves it.

A verifier that calls noise malignant proves nothing when it believes a malignant counterfactual. So what each judge
makes of real images and of noise stands beside what it believes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.robustness import Robustness, measure_robustness
from otherwise.evaluation.benchmark.features import perceptual_distance


@dataclass(frozen=True)
class JudgeFigures:
    """A judge on real images.

    Attributes:
        name: Of the judge.
        version: Its content hash.
        agreement: Share of the real images on which it decides as the explained classifier does: no counterfactual can
            be expected to be believed more often.
        robustness: What noise, blur and contrast make of its answers.
    """

    name: str
    version: str
    agreement: float
    robustness: Robustness

    @property
    def sentence(self) -> str:
        """Return the figures in words."""
        grain = "goes by grain" if self.robustness.goes_by_grain else "is not moved by grain"
        worst = self.robustness.worst_grain
        return (
            f"{self.name} decides as the classifier does on {self.agreement:.2f} of {self.robustness.images} real "
            f"images and {grain} ({worst.disturbance.text} changes {100 * worst.share:.0f} % of its answers)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "agreement": round(self.agreement, 4),
            "robustness": self.robustness.to_dict(),
        }


def judged(judges: Sequence[BlackBox], image: np.ndarray, made: np.ndarray, target: int) -> dict[str, float]:
    """Ask judges whether they believe a counterfactual.

    Args:
        judges: The verifier, and judges of other makes; none: no figures.
        image: ``(channels, *size)`` in [0, 1].
        made: The counterfactual, likewise.
        target: Index of the class that it should have.

    Returns:
        ``validity_of_verifier``, ``validity_of_judge_1`` and so on, each 0 or 1; ``perceptual``, how far the verifier
        sees the two images apart, if it can be looked into.
    """
    figures: dict[str, float] = {}
    for number, judge in enumerate(judges):
        name = f"validity_of_judge_{number}" if number else "validity_of_verifier"
        figures[name] = float(DecisionRule.of(judge).predicts(judge.predict(made[None])[0], target))
    module = getattr(judges[0], "module", None) if judges else None
    if module is not None:
        figures["perceptual"] = perceptual_distance(module, image, made)
    return figures


def measure_judges(classifier: BlackBox, judges: Sequence[BlackBox], images: np.ndarray) -> list[JudgeFigures]:
    """Ask each judge about real images, as they are and disturbed.

    Args:
        classifier: The one that is explained.
        judges: Classifiers of the same classes.
        images: ``(count, channels, *size)`` float32 in [0, 1].
    """
    own = DecisionRule.of(classifier).predicted(classifier.predict(images))
    return [
        JudgeFigures(
            judge.name,
            judge.version,
            float((DecisionRule.of(judge).predicted(judge.predict(images)) == own).all(axis=1).mean()),
            measure_robustness(judge.predict, images, judge.classes, rule=DecisionRule.of(judge)),
        )
        for judge in judges
    ]
