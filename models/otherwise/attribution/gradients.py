"""Attribution by gradients, for classifiers that give them; explanations do not need these."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from otherwise.attribution.occlusion import Checkpoint

STEPS = 32
"""Points of the path of integrated gradients."""


def integrated_gradients(
    module: nn.Module, image: np.ndarray, label: int, checkpoint: Checkpoint = lambda fraction: None
) -> np.ndarray:
    """Integrate gradients along the straight path from a black image (Sundararajan et al., arXiv 1703.01365).

    Args:
        module: Maps images in [0, 1] to log-odds of each class, differentiably.
        image: ``(channels, *size)`` float32 in [0, 1].
        label: Index of the class.
        checkpoint: Called once.

    Returns:
        ``size``: the sum over channels; over the image it sums to the difference of the log-odds.
    """
    from captum.attr import IntegratedGradients

    checkpoint(0.0)
    pixels = _pixels(module, image)
    with torch.enable_grad():
        found = IntegratedGradients(module).attribute(pixels, target=label, n_steps=STEPS, internal_batch_size=16)
    return np.asarray(found.detach()[0].sum(0).float().cpu().numpy(), dtype=np.float32)


def grad_cam(
    module: nn.Module, image: np.ndarray, label: int, checkpoint: Checkpoint = lambda fraction: None
) -> np.ndarray:
    """Weight the feature maps of the last layer that has any by their gradients (Selvaraju et al., arXiv 1610.02391).

    Arguments as for ``integrated_gradients``; the result is coarse, and never negative.
    """
    from captum.attr import LayerGradCam

    checkpoint(0.0)
    pixels = _pixels(module, image).requires_grad_()
    with torch.enable_grad():
        layer = feature_layer(module, pixels)
        if layer is None:
            raise ValueError("the module has no layer with feature maps")
        found = LayerGradCam(module, layer).attribute(pixels, target=label, relu_attributions=True)
    mode = "bilinear" if image.ndim == 3 else "trilinear"
    full = functional.interpolate(found.detach().float(), image.shape[1:], mode=mode, align_corners=False)
    return np.asarray(full[0, 0].cpu().numpy(), dtype=np.float32)


def has_feature_maps(module: nn.Module) -> bool:
    """Return whether layers can be looked into: not in TorchScript, and not without a convolution."""
    return any(isinstance(part, (nn.Conv2d, nn.Conv3d)) for part in module.modules())


def feature_layer(module: nn.Module, pixels: Tensor) -> nn.Module | None:
    """Return the last convolution, in the order of the computation, whose output still has more than one voxel."""
    last: list[nn.Module] = []

    def note(part: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == pixels.ndim and max(output.shape[2:]) > 1:
            last.append(part)

    parts = [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Conv3d))]
    handles = [part.register_forward_hook(note) for part in parts]
    try:
        module(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return last[-1] if last else None


def _pixels(module: nn.Module, image: np.ndarray) -> Tensor:
    where = next(module.parameters(), torch.empty(0)).device
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None].to(where)
