"""Occlusion and Grad-CAM++ by MONAI."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import nn

from otherwise.blackbox.checked import decision_value
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import ClassifierError


def monai_occlusion(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Occlude with Gaussian noise of the image's own mean (MONAI)."""
    from monai.visualize import OcclusionSensitivity

    edge = max(2, image.shape[1] // 8)
    windows = [min(edge + edge % 2, length - length % 2) for length in image.shape[1:]]
    asked = OcclusionSensitivity(
        _Module(classifier), mask_size=windows, n_batch=32, verbose=False, mode="mean_img", overlap=0.5
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using a non-tuple sequence")  # MONAI indexes by lists
        found, _ = asked(torch.from_numpy(image)[None])
    # MONAI returns the class's value where something is covered: low where it matters.
    return np.asarray(-found[0, label].numpy(), dtype=np.float32)


def grad_cam_plus(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Run Grad-CAM++ at the layer of Grad-CAM (Chattopadhay et al., arXiv 1710.11063; MONAI)."""
    from monai.visualize import GradCAMpp

    from otherwise.attribution.gradients import feature_layer

    module = _module_of(classifier)
    pixels = torch.from_numpy(image)[None]
    with torch.enable_grad():
        layer = feature_layer(module, pixels)
        name = next(name for name, part in module.named_modules() if part is layer)
        wanted = pixels.requires_grad_()
        found = GradCAMpp(module, target_layers=name)(wanted, class_idx=label)
    # MONAI scales it to [0, 1] with 0 for the most important.
    return np.asarray(1 - found[0, 0].detach().float().cpu().numpy(), dtype=np.float32)


def _module_of(classifier: BlackBox) -> nn.Module:
    module = getattr(classifier, "module", None)
    if not isinstance(module, nn.Module):
        raise ClassifierError(f"{classifier.name} gives no gradients.", "Choose another method.")
    return module


class _Module(nn.Module):
    """A black box for libraries that want a module: log-odds of each class."""

    def __init__(self, classifier: BlackBox) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers = self.classifier.predict(images.clamp(0, 1).float().numpy())
        values = [
            decision_value(answers, index, self.classifier.multi_label) for index in range(len(self.classifier.classes))
        ]
        return torch.from_numpy(np.stack(values, axis=1).astype(np.float32))
