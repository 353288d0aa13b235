"""Occlusion (Zeiler & Fergus, arXiv 1311.2901): the loss of log-odds under a grey window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from otherwise.blackbox.checked import decision_value
from otherwise.blackbox.protocol import BlackBox

Checkpoint = Callable[[float], None]
"""Called with the share done; may raise to cancel."""

MOST_WINDOWS = 256


def occlusion(
    classifier: BlackBox, image: np.ndarray, label: int, checkpoint: Checkpoint = lambda fraction: None
) -> np.ndarray:
    """Slide a window of the image's mean grey over it, half overlapping, and ask the black box each time.

    Args:
        classifier: The black box; no gradients are needed.
        image: ``(channels, *size)`` float32 in [0, 1].
        label: Index of the class.
        checkpoint: Called between batches.

    Returns:
        ``size``: the mean loss of log-odds of the class over the windows that cover a voxel.
    """
    count = int(MOST_WINDOWS ** (1 / (image.ndim - 1)))
    strides = tuple(max(1, -(-edge // count)) for edge in image.shape[1:])
    window = tuple(min(edge, 2 * stride) for edge, stride in zip(image.shape[1:], strides, strict=True))
    return occlude(classifier, image, label, window, strides, checkpoint)


def occlude(
    classifier: BlackBox,
    image: np.ndarray,
    label: int,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    checkpoint: Checkpoint = lambda fraction: None,
) -> np.ndarray:
    """Return the same with a window and strides of choice, in voxels; see ``occlusion``."""
    from captum.attr import Occlusion

    total = np.prod([-(-max(0, e - w) // s) + 1 for e, w, s in zip(image.shape[1:], window, strides, strict=True)])
    asked = 0

    def value(images: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        checkpoint(min(1.0, asked / float(total)))
        asked += len(images)
        return torch.from_numpy(decision_value(classifier.predict(images.numpy()), label, classifier.multi_label))

    channels = image.shape[0]
    found = Occlusion(value).attribute(
        torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None],
        sliding_window_shapes=(channels, *window),
        strides=(channels, *strides),
        baselines=float(image.mean()),
        perturbations_per_eval=32,
    )
    # A window covers all channels at once, so each channel holds the same.
    return np.asarray(found[0, 0].numpy(), dtype=np.float32)
