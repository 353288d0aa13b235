"""Map probabilities to predicted classes, by thresholds where they are declared.

The search, the measured regions, reports and tables use this one rule for whether an answer has flipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.blackbox.protocol import BlackBox


@dataclass(frozen=True)
class DecisionRule:
    """Rule by which a class is predicted.

    Attributes:
        multi_label: Whether each class is a yes or no of its own.
        thresholds: Threshold of each class, in the order of the classes; None: the most probable class is predicted or,
            of several labels, each above one half. Of mutually exclusive classes the one with the largest ratio of
            probability to threshold is predicted: for two classes with thresholds ``1 - t`` and ``t``, the second from
            ``t`` on.
    """

    multi_label: bool = False
    thresholds: tuple[float, ...] | None = None

    @classmethod
    def of(cls, classifier: BlackBox) -> DecisionRule:
        """Return the rule that a classifier's bundle declares."""
        return cls(classifier.multi_label, thresholds_of(classifier))

    def label(self, probabilities: np.ndarray) -> int:
        """Return the index of the class to name as the answer, for probabilities ``(classes,)``.

        Of several labels it is the surest one, also if none is predicted.
        """
        return int(self._leading(np.asarray(probabilities, np.float64)))

    def predicted(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the predicted classes, ``(..., classes)`` bool, for probabilities of the same shape."""
        values = np.asarray(probabilities, np.float64)
        if not self.multi_label:
            return np.asarray(np.arange(values.shape[-1]) == self._leading(values)[..., None])
        return values > 0.5 if self.thresholds is None else values >= np.array(self.thresholds) * (1 - _TIE)

    def predicts(self, probabilities: np.ndarray, target: int) -> np.ndarray:
        """Return whether the class with the index ``target`` is predicted, ``(...)`` bool."""
        return np.asarray(self.predicted(probabilities)[..., target])

    def nearest_other(self, probabilities: np.ndarray) -> int:
        """Return the class that is nearest to being predicted, for probabilities ``(classes,)``.

        It is the runner-up or, of several labels, the least certain "no".
        """
        ratios = self._ratios(np.asarray(probabilities, np.float64))
        return int(np.where(self.predicted(probabilities), -1.0, ratios).argmax())

    def boundary(self, target: int) -> float | None:
        """Return the probability from which a class is predicted; None where it depends on other classes."""
        if self.thresholds is None:
            return 0.5
        return self.thresholds[target] if self.multi_label or len(self.thresholds) == 2 else None

    def _ratios(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities if self.thresholds is None else probabilities / np.array(self.thresholds)

    def _leading(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the index of the largest ratio, ``(...)``; with thresholds, of equal ones the last."""
        ratios = self._ratios(probabilities)
        if self.thresholds is None:
            return np.asarray(ratios.argmax(axis=-1))
        largest = ratios >= ratios.max(axis=-1, keepdims=True) * (1 - _TIE)
        return np.asarray(ratios.shape[-1] - 1 - largest[..., ::-1].argmax(axis=-1))


MOST_PROBABLE = DecisionRule()
"""The rule of mutually exclusive classes without thresholds."""
_TIE = 1e-7
"""Relative difference below which a probability counts as equal to its threshold; networks answer in float32."""


def thresholds_of(classifier: BlackBox) -> tuple[float, ...] | None:
    """Return the thresholds that a classifier's bundle declares; None: the most probable class is predicted."""
    inner = getattr(classifier, "inner", None)
    if inner is not None:
        return thresholds_of(inner)
    return getattr(getattr(classifier, "spec", None), "thresholds", None)
