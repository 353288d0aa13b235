"""Features of a network that needs no download: a classifier of the same images with another architecture.

Distances on them are comparable within one run only; they say nothing beside figures of other papers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 32


def penultimate(module: nn.Module, images: np.ndarray) -> np.ndarray:
    """Return what goes into the last linear layer.

    Args:
        module: A classifier that can be looked into.
        images: ``(n, channels, *size)`` float32 in [0, 1].

    Returns:
        ``(n, d)`` float64.

    Raises:
        ValueError: if it has no linear layer.
    """
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise ValueError("the module has no linear layer")
    seen: list[Tensor] = []
    handle = layers[-1].register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0].detach().flatten(1)))
    try:
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                module(torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH], dtype=np.float32)))
    finally:
        handle.remove()
    return np.asarray(torch.cat(seen).double().cpu().numpy())


def perceptual_distance(module: nn.Module, image: np.ndarray, other: np.ndarray) -> float:
    """Return the mean squared distance of unit-length feature vectors, over voxels and convolutions.

    As LPIPS without its learned weights (Zhang et al., arXiv 1801.03924), on the features of ``module``.

    Args:
        module: A classifier with convolutions that can be looked into.
        image: ``(channels, *size)`` in [0, 1].
        other: Likewise.

    Returns:
        0 for equal images, at most 4.
    """
    pair = np.stack([image, other]).astype(np.float32)
    distances = []
    for features in _convolutions(module, torch.from_numpy(pair)):
        unit = features / features.norm(dim=1, keepdim=True).clamp_min(1e-10)
        distances.append(float((unit[0] - unit[1]).square().sum(0).mean()))
    return float(np.mean(distances))


def _convolutions(module: nn.Module, images: Tensor) -> Sequence[Tensor]:
    seen: list[Tensor] = []
    parts = [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Conv3d))]
    handles = [part.register_forward_hook(lambda part, inputs, output: seen.append(output.detach())) for part in parts]
    try:
        with torch.no_grad():
            module(images)
    finally:
        for handle in handles:
            handle.remove()
    return seen
