"""Figures measured once on images without labels when an agent is trained, and stored in its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVELS = tuple(np.linspace(0, 1, 21).round(2).tolist())
"""Levels of the quantiles of ``Calibration.errors``."""
USUAL_GOAL = 0.95
"""Probability of the target that convinces where nothing was measured; no more is ever asked for."""
DRAWN = 0.5
"""Least share of images that evidence alone must flip for edits by flow to be tried."""
SHAPED = 0.8
"""Least share of images that a deformation alone must flip for deformations to be tried first."""
SMALL_CHANGE = 0.02
"""Mean absolute change, as a share of the range, that can be added to an image and leaves no ghost."""
MORE_BY_FLOW = 1.5
"""Edits by flow are believed more often than those that the student guides, and may change so many times as much."""


@dataclass(frozen=True)
class Calibration:
    """Figures of an agent and its black box.

    Attributes:
        convincing: For each class, the median of the black box's probability on real images that it calls so; None
            where these are too few.
        evidence_validity: Share of images for which edits by flow, with the evidence as the only condition, flip the
            black box: how well the decoder draws another class by itself.
        student_change: Mean absolute change of the counterfactuals that the student guides, as a share of the range.
        flow_change: The same of counterfactuals by flow, where these convince; None: not measured, or none does.
        follows_shape: Share of images that a smooth deformation alone flips, see ``deformation_search``.
        errors: Quantiles at ``LEVELS`` of the decoder's denoising error on its own reconstructions; see ``realism``.
    """

    convincing: tuple[float | None, ...] = ()
    evidence_validity: float | None = None
    student_change: float | None = None
    errors: tuple[float, ...] = ()
    follows_shape: float | None = None
    flow_change: float | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what ``to_dict`` wrote; absent figures stay unknown."""
        return cls(
            tuple(values.get("convincing", ())),
            values.get("evidence_validity"),
            values.get("student_change"),
            tuple(values.get("errors", ())),
            values.get("follows_shape"),
            values.get("flow_change"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, rounded."""
        return {
            "convincing": [None if value is None else round(value, 4) for value in self.convincing],
            "evidence_validity": self.evidence_validity,
            "student_change": self.student_change,
            "flow_change": self.flow_change,
            "follows_shape": self.follows_shape,
            "errors": [round(value, 6) for value in self.errors],
        }

    def goal(self, target: int) -> float:
        """Return the probability of class ``target`` that convinces: ``convincing``, and at most ``USUAL_GOAL``.

        A classifier that is surer of real images is not asked for more: only the change would grow.
        """
        known = self.convincing[target] if target < len(self.convincing) else None
        return USUAL_GOAL if known is None else min(known, USUAL_GOAL)

    @property
    def draws_other_classes(self) -> bool:
        """Return whether the decoder draws other classes by itself; True if it was not measured."""
        return self.evidence_validity is None or self.evidence_validity >= DRAWN

    @property
    def draws_by_flow(self) -> bool:
        """Return whether the decoder was measured to draw other classes by itself."""
        return self.evidence_validity is not None and self.draws_other_classes

    @property
    def edits_by_flow(self) -> bool:
        """Return whether to try edits by flow first.

        The decoder has to draw other classes. Where small changes that the student guides convince, edits by flow have
        to be nearly as small. False if it was not measured: agents of patches, and bundles without a calibration.
        """
        if self.student_change is None or self.student_change >= SMALL_CHANGE:
            return self.draws_by_flow
        as_small = self.flow_change is not None and self.flow_change <= MORE_BY_FLOW * self.student_change
        return self.draws_by_flow and as_small

    @property
    def edits_by_shape(self) -> bool:
        """Return whether to try deformations first: they were measured to flip most images."""
        return self.follows_shape is not None and self.follows_shape >= SHAPED

    def realism(self, error: float) -> float | None:
        """Return the share of reconstructions with a denoising error of at least ``error``; None where unmeasured."""
        if not self.errors:
            return None
        return float(1 - np.interp(error, self.errors, LEVELS))


UNCALIBRATED = Calibration()
"""The calibration of an agent without measurements."""
