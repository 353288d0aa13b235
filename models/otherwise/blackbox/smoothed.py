"""Average a classifier's answers, or a model's values, over a few noisy copies of an image.

Randomised smoothing (Cohen et al., arXiv 1902.02918) removes the effect of faint grain on the answer.
"""

from __future__ import annotations

import numpy as np
import torch

from otherwise.blackbox.output_kind import curves_of, output_kind
from otherwise.blackbox.perturbations import white_noise
from otherwise.blackbox.protocol import BlackBox


class SmoothedBlackBox:
    """A classifier averaged over noisy copies of each image. The noise is fixed, so equal images get equal answers.

    Args:
        inner: Any black box.
        noise: Standard deviation of the noise, as a share of the range.
        copies: Number of copies; each image costs as many queries.
        seed: Seed of the noise.
    """

    def __init__(self, inner: BlackBox, noise: float = 0.05, copies: int = 8, seed: int = 0) -> None:
        self.inner = inner
        self.noise = noise
        self.copies = copies
        self.seed = seed
        self.name = f"{inner.name} under noise of {100 * noise:g} %"
        self.version = inner.version
        self.classes = inner.classes
        self.inputs = inner.inputs
        self.multi_label = inner.multi_label

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Classify a batch; see ``BlackBox.predict``."""
        images, kind = np.asarray(images, np.float32), output_kind(self.inner)
        answers = [np.zeros((0, len(self.classes)))]
        for image in images:
            predicted = self.inner.predict(self._noisy(image))
            if kind.is_value:  # the mean of the values, not of the probabilities that stand for them
                answers.append(kind.answer(kind.value_of(predicted).mean(keepdims=True)))
            else:
                answers.append(predicted.mean(axis=0, keepdims=True))
        return np.concatenate(answers)

    def mean_curves(self, images: np.ndarray) -> np.ndarray | None:
        """Return the mean survival curves of images, see ``output_kind.curves_of``; None where the model says none."""
        means = []
        for image in np.asarray(images, np.float32):
            curves = curves_of(self.inner, self._noisy(image))
            if curves is None:
                return None
            means.append(curves.mean(axis=0))
        return np.array(means)

    def _noisy(self, image: np.ndarray) -> np.ndarray:
        """Return the noisy copies of an image, ``(copies, channels, *size)``."""
        generator = torch.Generator().manual_seed(self.seed)
        copies = torch.from_numpy(np.repeat(image[None], self.copies, axis=0))
        return white_noise(copies, self.noise, generator).numpy()
