"""KernelSHAP by Captum."""

from __future__ import annotations

import numpy as np
import torch

from otherwise.blackbox.checked import decision_value
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.methods.method import MASKS, SEED

SUPERPIXELS = 64


def kernel_shap(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Return Shapley values of superpixels by weighted regression (Captum; superpixels by scikit-image)."""
    from captum.attr import KernelShap
    from skimage.segmentation import slic

    segments = slic(image.mean(axis=0), n_segments=SUPERPIXELS, compactness=0.1, channel_axis=None, start_label=0)
    mask = torch.from_numpy(np.broadcast_to(segments, image.shape).copy())[None]

    def value(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(decision_value(classifier.predict(images.numpy()), label, classifier.multi_label))

    # Captum draws from the global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        np_state = np.random.get_state()  # noqa: NPY002 - its regression draws from there
        np.random.seed(SEED)  # noqa: NPY002
        try:
            found = KernelShap(value).attribute(
                torch.from_numpy(image)[None],
                baselines=float(image.mean()),
                feature_mask=mask,
                n_samples=MASKS,
                perturbations_per_eval=32,
            )
        finally:
            np.random.set_state(np_state)  # noqa: NPY002
    return np.asarray(found[0, 0].numpy(), dtype=np.float32)
