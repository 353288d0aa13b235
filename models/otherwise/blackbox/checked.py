"""Wrappers of a black box: check its answers, count queries, and cache answers."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy as np

from otherwise.blackbox.memory import BatchSplitter
from otherwise.blackbox.outputs import TOLERANCE
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import ClassifierError, ImageError

LEAST = 1e-300
"""Least probability in log-odds."""


class CheckedBlackBox:
    """A black box whose inputs and answers are checked.

    Args:
        inner: Any host.

    Attributes:
        inner: The host.
        module: The host's differentiable module (see ``HostedClassifier``), or None.
    """

    def __init__(self, inner: BlackBox) -> None:
        self.inner = inner
        self.name = inner.name
        self.version = inner.version
        self.classes = inner.classes
        self.inputs = inner.inputs
        self.multi_label = inner.multi_label
        self.module: Any = getattr(inner, "module", None)
        self._splitter = BatchSplitter()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Classify a batch; see ``BlackBox.predict``. A batch that does not fit into memory is split.

        Raises:
            ImageError: if the images are not ``(batch, channels, *size)`` numbers in [0, 1].
            ClassifierError: if the answer is not one set of probabilities for each image.
        """
        images = self._check_images(np.asarray(images))
        if len(images) == 0:
            return np.zeros((0, len(self.classes)))
        return self._check_answer(self._splitter(self.inner.predict, images), len(images))

    def _check_images(self, images: np.ndarray) -> np.ndarray:
        wanted = (self.inputs.channels, *self.inputs.size)
        shape = images.shape[1:2] + self.inputs.size if self.inputs.any_size else images.shape[1:]
        if images.ndim != len(wanted) + 1 or shape != wanted:
            raise ImageError(
                f"Images of shape {images.shape} do not fit classifier {self.name}, which wants {wanted} for each.",
                "Resample them to its input size.",
            )
        if not np.issubdtype(images.dtype, np.floating):
            raise ImageError(f"Images are of type {images.dtype}.", "Give float32 in [0, 1].")
        if images.size and not (images.min() >= -TOLERANCE and images.max() <= 1 + TOLERANCE):
            raise ImageError(f"Images span {images.min():.4g} to {images.max():.4g}.", "Give finite values in [0, 1].")
        return images.astype(np.float32, copy=False)

    def _check_answer(self, answer: np.ndarray, batch: int) -> np.ndarray:
        wanted = (batch, len(self.classes))
        if answer.shape != wanted:
            self._refuse(f"returned shape {answer.shape} instead of {wanted}", "Compare its outputs with its classes.")
        if not np.issubdtype(answer.dtype, np.number) or np.iscomplexobj(answer):
            self._refuse(f"returned values of type {answer.dtype}", "It should return numbers.")
        answer = answer.astype(np.float64)
        for fault, broken in (("NaN", np.isnan(answer)), ("infinity", np.isinf(answer))):
            if broken.any():
                count = int(broken.any(axis=1).sum())
                self._refuse(f"returned {fault} for {count} of {batch} images", "Check its weights and value range.")
        if answer.min() < -TOLERANCE or answer.max() > 1 + TOLERANCE:
            self._refuse(
                f"returned values from {answer.min():.4g} to {answer.max():.4g}, no probabilities",
                "Set its activation to softmax or sigmoid.",
            )
        sums = answer.sum(axis=1)
        off = np.abs(sums - 1) > TOLERANCE
        if not self.multi_label and off.any():
            count, worst = int(off.sum()), sums[np.abs(sums - 1).argmax()]
            self._refuse(
                f"returned rows that do not sum to one for {count} of {batch} images (for example {worst:.4g})",
                "Set its activation to softmax, or multi_label to true.",
            )
        return np.clip(answer, 0.0, 1.0)

    def _refuse(self, fault: str, hint: str) -> None:
        raise ClassifierError(f"Classifier {self.name} {fault}.", hint)


class CountingBlackBox:
    """A black box with batches of bounded size, which counts the images that it classifies.

    Args:
        inner: Any black box.
        batch_size: Largest batch; it bounds memory.

    Attributes:
        inner: The black box.
        module: Its differentiable module, or None.
    """

    def __init__(self, inner: BlackBox, batch_size: int = 64) -> None:
        self.inner = inner
        self.name = inner.name
        self.version = inner.version
        self.classes = inner.classes
        self.inputs = inner.inputs
        self.multi_label = inner.multi_label
        self.module: Any = getattr(inner, "module", None)
        self.batch_size = max(1, batch_size)
        self._queries = 0
        self._lock = threading.Lock()

    @property
    def queries(self) -> int:
        """Return the number of images classified so far."""
        with self._lock:
            return self._queries

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Classify a batch of any length; see ``BlackBox.predict``."""
        answers = [np.zeros((0, len(self.classes)))]
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            # Counted before the answer: a failed query has the same cost.
            with self._lock:
                self._queries += len(batch)
            answers.append(self.inner.predict(batch))
        return np.concatenate(answers)


class RememberingBlackBox(CountingBlackBox):
    """A black box that caches its answers: an image with equal voxels is classified once.

    Only images that are classified count as queries.

    Args:
        inner: Any black box.
        batch_size: Largest batch.
    """

    def __init__(self, inner: BlackBox, batch_size: int = 64) -> None:
        super().__init__(inner, batch_size)
        self._answers: dict[bytes, np.ndarray] = {}

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Classify a batch of any length; see ``BlackBox.predict``."""
        keys = [_digest(image) for image in images]
        new = {key: place for place, key in enumerate(keys) if key not in self._answers}
        if new:
            asked = np.asarray(images)[list(new.values())]
            self._answers.update(zip(new, super().predict(asked), strict=True))
        return np.array([self._answers[key] for key in keys]).reshape(len(keys), len(self.classes))


def _digest(image: np.ndarray) -> bytes:
    array = np.ascontiguousarray(image, dtype=np.float32)
    return hashlib.blake2b(array.data, digest_size=16, key=str(array.shape).encode()).digest()


def decision_value(
    probabilities: np.ndarray, target: int, multi_label: bool = False, least: float = LEAST
) -> np.ndarray:
    """Return the log-odds of the target class, ``log p - log(1 - p)``; zero at ``p = 1/2``.

    For mutually exclusive classes, ``1 - p`` is computed as the sum of the other probabilities. This keeps digits where
    ``p`` is exactly 1 in single precision.

    Args:
        probabilities: ``(..., classes)`` in [0, 1].
        target: Index of the class.
        multi_label: Whether each class is a yes or no of its own.
        least: Smaller probabilities are raised to this one.

    Returns:
        ``(...)`` float64, finite.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    p = values[..., target]
    rest = 1.0 - p if multi_label else np.delete(values, target, axis=-1).sum(axis=-1)
    return np.log(np.maximum(p, least)) - np.log(np.maximum(rest, least))
