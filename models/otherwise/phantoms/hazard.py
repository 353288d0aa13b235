"""The known hazard of phantoms of prognosis: from features to a risk, and to the least change that reaches a target.

The model is that of proportional hazards (Cox, Journal of the Royal Statistical Society B 34:187, 1972) with a constant
baseline: the cumulative hazard at the horizon is ``exp(BASELINE + sum of weight * feature)``, and the risk at the
horizon is ``1 - exp(-cumulative hazard)``. Event times are exponential; follow-up ends at random (censoring).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from otherwise.errors import ImageError

HORIZON = 730.0
"""Days after which the risk is stated: two years."""
WEIGHTS: Mapping[str, float] = {"spiculation": 2.0, "size": 1.6, "fibrosis": 1.2, "calcification": -1.4}
"""Change of the log hazard from a feature's least (0) to its greatest (1) value."""
BASELINE = -2.9
"""Log of the cumulative hazard at the horizon where all features are 0; the median risk is then about 0.3."""
FOLLOW_UP = (0.5, 2.5)
"""Follow-up ends between these multiples of the horizon."""
_SLOPES = np.array(list(WEIGHTS.values()))


@dataclass(frozen=True)
class Outcome:
    """What is true about the prognosis of a phantom.

    Attributes:
        features: Value of each of ``WEIGHTS`` in [0, 1].
        risk: Probability of the event up to ``HORIZON``, by the known hazard.
        time: Days to the event, or to the end of follow-up.
        event: Whether the event was observed; False: censored at ``time``.
        target_risk: Risk of the true counterfactual.
        target_features: Its features: those of the least change.
    """

    features: Mapping[str, float]
    risk: float
    time: float
    event: bool
    target_risk: float
    target_features: Mapping[str, float]

    def effects(self) -> dict[str, float]:
        """Return what each feature's change towards the target does to the risk, all others being as they are."""
        return {
            name: risk_of({**self.features, name: self.target_features[name]}) - self.risk for name in self.features
        }


def risk_of(features: Mapping[str, float]) -> float:
    """Return the risk at the horizon in (0, 1) for features in [0, 1]."""
    return -math.expm1(-math.exp(BASELINE + sum(weight * features[name] for name, weight in WEIGHTS.items())))


def least_change(features: Mapping[str, float], target_risk: float) -> dict[str, float]:
    """Return the features nearest to the given ones (sum of squares) that have a risk.

    The nearest point of the plane of equal risk lies in the direction of the weights; features stay within [0, 1]. The
    length of the step is found by bisection, since the risk rises with it.

    Args:
        features: In [0, 1].
        target_risk: In the range that features in [0, 1] reach.

    Raises:
        ImageError: if no features have that risk.
    """
    start = np.array([features[name] for name in WEIGHTS])

    def moved(step: float) -> np.ndarray:
        return np.clip(start + step * _SLOPES, 0, 1)

    def risk(step: float) -> float:
        return risk_of(dict(zip(WEIGHTS, moved(step).tolist(), strict=True)))

    low, high = -1 / np.abs(_SLOPES).min(), 1 / np.abs(_SLOPES).min()
    if not risk(low) <= target_risk <= risk(high):
        raise ImageError(
            f"No features have a risk of {target_risk:g}.", f"Give one from {risk(low):.3f} to {risk(high):.3f}."
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if risk(middle) < target_risk else (low, middle)
    return dict(zip(WEIGHTS, moved((low + high) / 2).tolist(), strict=True))


def draw_features(rng: np.random.Generator) -> dict[str, float]:
    """Draw features independently and uniformly; calcification is absent in three of ten."""
    drawn = {name: float(rng.random()) for name in WEIGHTS}
    drawn["calcification"] = max(0.0, (drawn["calcification"] - 0.3) / 0.7)
    return drawn


def draw_outcome(rng: np.random.Generator, features: Mapping[str, float], target_risk: float) -> Outcome:
    """Draw when the event happens and when follow-up ends, and compute the least change to the target risk."""
    risk = risk_of(features)
    happens = float(rng.exponential(HORIZON / -math.log1p(-risk)))
    ends = HORIZON * float(rng.uniform(*FOLLOW_UP))
    changed = least_change(features, target_risk)
    return Outcome(dict(features), risk, min(happens, ends), happens <= ends, target_risk, changed)
