"""Make a black box of a specification and a function that scores images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, softmax

from otherwise.blackbox.spec import ClassifierSpec

if TYPE_CHECKING:
    from torch import nn

Scores = Callable[[np.ndarray], np.ndarray]
"""The network's tensor (see ``TensorSpec``) -> ``(batch, outputs)``, any real dtype."""


class HostedClassifier:
    """A black box of a specification and a function; its answers are not checked (see ``CheckedBlackBox``).

    Args:
        spec: Inputs and outputs of the model.
        scores: The model.
        module: Maps images in [0, 1] to the log-odds of each class, where the model has gradients; else None. No
            explanation depends on it.
    """

    def __init__(self, spec: ClassifierSpec, scores: Scores, module: nn.Module | None = None) -> None:
        self.spec = spec
        self.scores = scores
        self.name = spec.name
        self.version = spec.version
        self.classes = spec.classes
        self.inputs = spec.inputs
        self.multi_label = spec.multi_label
        self.module = module

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Classify ``(batch, channels, *size)`` images in [0, 1]; see ``BlackBox.predict``."""
        answer = self.spec.answer
        if answer.is_value:
            return answer.answer(answer.values(self.outputs(images)))
        return probabilities(self.outputs(images), self.spec.activation, len(self.classes), self.multi_label)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Return the model's raw outputs, float64, for ``(batch, channels, *size)`` images in [0, 1]."""
        return np.asarray(self.scores(self.spec.tensor.of(images)), dtype=np.float64)


def in_batches(scores: Scores, size: int, images: np.ndarray) -> np.ndarray:
    """Score images in batches of exactly ``size``; the last batch is padded with its last image.

    For models with a fixed batch size.
    """
    answers = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        filling = np.repeat(batch[-1:], size - len(batch), axis=0)
        answers.append(scores(np.concatenate([batch, filling]))[: len(batch)])
    return np.concatenate(answers)


def probabilities(scores: np.ndarray, activation: str, classes: int, multi_label: bool = False) -> np.ndarray:
    """Turn a model's outputs into probabilities.

    Args:
        scores: ``(batch, outputs)``. One output for two classes stands for the second class.
        activation: One of ``spec.ACTIVATIONS``.
        classes: Number of classes.
        multi_label: Whether each class is a yes or no of its own.

    Returns:
        ``(batch, classes)`` float64 for ``scores`` as described; other shapes are kept.
    """
    single = classes == 2 and not multi_label and (scores.ndim == 1 or scores.shape[1:] == (1,))
    if activation == "sigmoid" or (single and activation == "softmax"):
        if single:  # both sides are computed, since 1 - p loses digits where p is close to 1
            return np.concatenate([expit(-scores.reshape(-1, 1)), expit(scores.reshape(-1, 1))], axis=1)
        scores = expit(scores)
    elif activation == "softmax" and scores.ndim > 1:
        scores = softmax(scores, axis=1)
    elif activation == "log":
        scores = np.exp(scores)
    elif activation == "share" and scores.ndim > 1:
        sums = scores.sum(axis=1, keepdims=True)
        scores = scores / np.where(sums == 0, 1, sums)
    if single:
        second = scores.reshape(-1, 1)
        return np.concatenate([1.0 - second, second], axis=1)
    return scores
