"""Choose a network's answer among its outputs, and find how to read it.

Nothing is guessed: if two outputs or two readings fit, the caller has to choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from otherwise.errors import BundleError

ACTIVATIONS = ("softmax", "sigmoid", "none", "log", "share")
"""Conversions of a model's outputs to probabilities. ``none``: they are probabilities already; ``log``: they are
logarithms of probabilities; ``share``: each row is divided by its sum (a quantised softmax)."""
READINGS = {
    "logits": "softmax",
    "sigmoid-logits": "sigmoid",
    "probabilities": "none",
    "log-probabilities": "log",
    "quantised": "share",
}
"""Kind of a model's outputs, as the user names it -> its activation."""
TOLERANCE = 1e-3
"""Tolerance of probabilities outside [0, 1], and of sums of rows that are not one."""
LEAST_SPREAD = 0.02
"""Answers that vary by less over all kinds of images cannot be read."""
SATURATED = 7.0
"""Log-odds beyond which an answer is 0 or 1 to three digits."""
_SCORES = ("float", "double", "uint8")
"""Types of answers, as arrays and tensors name them."""
QUANTISED = 0.05
"""Tolerance of sums of rows of a softmax with 8 bits."""


PERCENT = 0.5
"""Tolerance of sums of rows of rounded percentages."""
BYTE = 255.0
"""A probability of one in models that answer in whole numbers of 8 bits without sign."""
NO_SCORES = "Export it without its last step (argmax), so that it returns a score for each class."
"""Remedy for a model that returns class numbers."""


class AmbiguousOutputError(BundleError):
    """Two readings fit; the message names the option that decides."""


class InputTypeError(BundleError):
    """A model needs its input in another type.

    Args:
        dtype: The needed type, one of ``tensor.DTYPES``.
    """

    def __init__(self, dtype: str) -> None:
        super().__init__(f"The model wants its input as {dtype}.", f"Say so at import: --dtype {dtype}.")
        self.dtype = dtype


@dataclass(frozen=True)
class Reading:
    """Reading of a model's outputs.

    Attributes:
        activation: One of ``ACTIVATIONS``.
        why: The observation behind it, one sentence; empty where the user chose it.
    """

    activation: str
    why: str = ""


def choose(outputs: Any, wanted: str | int | None, strict: bool, rank: int = 2) -> Any:
    """Return the answer among the outputs of a network.

    Args:
        outputs: An array, or a dictionary, tuple or list of them.
        wanted: Key or index of the answer; None: the only one that fits.
        strict: Refuse if several fit; else the first one is taken, as for bundles of the first version.
        rank: Dimensions of an answer, ``(batch, outputs)``.

    Raises:
        BundleError: if there is no such output, or several fit.
    """
    if isinstance(outputs, Mapping):
        parts: dict[str | int, Any] = {str(key): value for key, value in outputs.items()}
        kind = "a dictionary"
    elif isinstance(outputs, (tuple, list)):
        parts, kind = dict(enumerate(outputs)), f"{len(outputs)} outputs"
    else:
        if wanted not in (None, 0, "0"):
            raise BundleError(f"The model has a single output, not {wanted!r}.", "Leave --output out.")
        return outputs
    shapes = ", ".join(f"{key} {_shape(value)}" for key, value in parts.items())
    if wanted is not None:
        key = next((key for key in parts if str(key) == str(wanted)), None)
        if key is None:
            raise BundleError(f"The model returns {kind} ({shapes}), and none is called {wanted}.", "Correct --output.")
        return parts[key]
    fitting = [key for key, value in parts.items() if _fits(value, rank)]
    if not fitting:
        deeper = any(isinstance(value, Mapping | tuple | list) for value in parts.values())
        hint = "Save a module that returns the scores alone" + (", not within other things." if deeper else ".")
        raise BundleError(f"The model returns {kind} ({shapes}), none of which has a row for each image.", hint)
    if len(fitting) > 1 and strict:
        raise AmbiguousOutputError(
            f"The model returns {kind}, of which several could be the answer ({shapes}).",
            f"Say which one it is, for example --output {fitting[0]}.",
        )
    return parts[fitting[0]]


def rows_of(scores: Any) -> Any:
    """Return scores ``(batch, outputs, 1, 1)``, as a convolution at the end leaves them, as ``(batch, outputs)``.

    Args:
        scores: Array or tensor.
    """
    if scores.ndim > 2 and len(scores) and set(scores.shape[2:]) == {1}:
        return scores.reshape(scores.shape[:2])
    return scores


def read_scores(
    scores: np.ndarray, classes: int, multi_label: bool = False, stressed: np.ndarray | None = None
) -> Reading:
    """Find the reading of a model's outputs for several images.

    Args:
        scores: ``(count, outputs)`` answers to images of many kinds.
        classes: Number of classes named.
        multi_label: Whether each class is a yes or no of its own.
        stressed: Answers to inputs far beyond the usual range: probabilities stay in [0, 1] there, logits do not.

    Raises:
        AmbiguousOutputError: if two readings fit, or none does; it names the option that decides.
    """
    low, high = float(scores.min()), float(scores.max())
    beyond = stressed is not None and not _within(stressed)
    within = _within(scores) and not beyond
    single = scores.shape[1] == 1
    if not (single or multi_label) and low >= -TOLERANCE and np.abs(scores.sum(axis=1) - 100).max() <= PERCENT:
        return Reading("share", "rows lie between 0 and 100 and sum to 100: percentages")
    if (single or classes == 2) and _looks_like_a_value(scores):
        raise AmbiguousOutputError(
            f"The outputs ({low:.4g} to {high:.4g}) look like a measured value, not like {classes} classes: read as "
            "logits, nearly every answer would be exactly 0 or 1.",
            f"Classes are what is hosted. If they are logits, say so: --output {_logits(multi_label or single)}.",
        )
    if within and (multi_label or single):
        if stressed is not None and high - low > LEAST_SPREAD:
            return Reading("none", f"outputs lie between {low:.3f} and {high:.3f}: probabilities")
        raise AmbiguousOutputError(
            f"The outputs lie between {low:.3f} and {high:.3f}: small logits, or probabilities.",
            "Say which: --output sigmoid-logits or --output probabilities.",
        )
    sums = scores.sum(axis=1)
    if within and np.abs(sums - 1).max() <= TOLERANCE:
        return Reading("none", "rows lie between 0 and 1 and sum to one: probabilities")
    if within and np.abs(sums - 1).max() <= QUANTISED and _in_steps(scores):
        return Reading("share", f"rows sum to {sums.min():.3f} to {sums.max():.3f} in steps: a quantised softmax")
    if within:
        raise AmbiguousOutputError(
            f"The outputs lie between {low:.3f} and {high:.3f}, and rows sum to {sums.min():.3f} to {sums.max():.3f}: "
            "answers look like one yes/no for each class, or like small logits.",
            "Say which: --multi-label, or --output logits.",
        )
    if not (multi_label or single) and high <= TOLERANCE and np.abs(np.exp(scores).sum(axis=1) - 1).max() <= TOLERANCE:
        return Reading("log", "exponentials of rows sum to one: a log-softmax")
    if single:
        raise AmbiguousOutputError(
            f"The only output ({low:.4g} to {high:.4g}) is the logit of a class, or a value such as a log-risk.",
            "If it is a logit, say so: --output sigmoid-logits. A value or a risk is no class.",
        )
    if multi_label:
        return Reading("sigmoid", f"outputs lie between {low:.3f} and {high:.3f}: logits of a sigmoid")
    return Reading("softmax", f"outputs lie between {low:.3f} and {high:.3f}: logits of a softmax")


def reading_of(output: str, multi_label: bool, outputs: int) -> Reading | None:
    """Return the reading that ``--output`` names.

    Returns:
        None if it names something else: an output by its name or index.
    """
    if output not in READINGS:
        return None
    activation = READINGS[output]
    if activation == "softmax" and (multi_label or outputs == 1):
        activation = "sigmoid"
    return Reading(activation)


def _logits(sigmoid: bool) -> str:
    return "sigmoid-logits" if sigmoid else "logits"


def _looks_like_a_value(scores: np.ndarray) -> bool:
    """Return whether outputs are far from any logit: of one sign, and so large that hardly an answer would be open."""
    if scores.shape[1] > 2:
        return False
    evidence = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
    same_sign = bool((evidence > 0).all() or (evidence < 0).all())
    return same_sign and float((np.abs(evidence) > SATURATED).mean()) >= 0.9


def _within(scores: np.ndarray) -> bool:
    return bool(scores.min() >= -TOLERANCE and scores.max() <= 1 + TOLERANCE)


def _in_steps(scores: np.ndarray) -> bool:
    """Return whether numbers are multiples of a step of at least 1/512, as 8 bits give."""
    return any(np.abs(scores * levels - np.rint(scores * levels)).max() < 1e-3 for levels in (255, 256, 127, 128))


def _shape(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return str(tuple(shape)) if shape is not None else type(value).__name__


def _fits(value: Any, rank: int) -> bool:
    shape = tuple(getattr(value, "shape", ()))
    kind = str(getattr(value, "dtype", ""))
    flat = len(shape) > rank and set(shape[rank:]) == {1}
    return (len(shape) in (1, rank) or flat) and bool(shape) and any(name in kind for name in _SCORES)
