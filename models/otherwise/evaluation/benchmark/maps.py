"""Methods that say where a classifier looks, by the libraries that users would take: ours are measured beside them.

Every map is ``size`` float32 for one class: larger speaks more for it. None is given more than a thousand or so
queries: what a user would wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from otherwise.attribution.methods import METHODS, Method
from otherwise.blackbox.checked import decision_value
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import ClassifierError

SEED = 0
MASKS = 1000
"""Random masks of RISE, and samples of KernelSHAP: a quarter of what the papers take for photographs."""
SUPERPIXELS = 64

Draw = Callable[[BlackBox, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class MapMethod:
    """A way to draw a map.

    Attributes:
        name: For machines.
        title: For people.
        source: Paper and library.
        draw: Black box, image ``(channels, *size)`` in [0, 1], class -> ``size``.
        suits: Whether the black box gives what the method needs.
        slow: It is given only every second image.
    """

    name: str
    title: str
    source: str
    draw: Draw
    suits: Callable[[BlackBox], bool] = lambda classifier: True
    slow: bool = False


def rise(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Random masks, weighted by the probability that is left (xaitk-saliency); planes only."""
    from xaitk_saliency.impls.gen_image_classifier_blackbox_sal.rise import RISEStack

    return _xaitk(RISEStack(n=MASKS, s=8, p1=0.5, seed=SEED), classifier, image, label)


def sliding_window(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Slide a window over the image (xaitk-saliency); planes only."""
    from xaitk_saliency.impls.gen_image_classifier_blackbox_sal.slidingwindow import SlidingWindowStack

    edge, stride = max(2, image.shape[1] // 8), max(1, image.shape[1] // 16)
    return _xaitk(SlidingWindowStack((edge, edge), (stride, stride)), classifier, image, label)


def kernel_shap(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Shapley values of superpixels by weighted regression (Captum; superpixels by scikit-image)."""
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


def monai_occlusion(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Occlusion with Gaussian noise of the image's own mean (MONAI)."""
    from monai.visualize import OcclusionSensitivity

    edge = max(2, image.shape[1] // 8)
    windows = [min(edge + edge % 2, length - length % 2) for length in image.shape[1:]]
    asked = OcclusionSensitivity(
        _Module(classifier), mask_size=windows, n_batch=32, verbose=False, mode="mean_img", overlap=0.5
    )
    found, _ = asked(torch.from_numpy(image)[None])
    # It tells the class's value where something is covered: low where it matters.
    return np.asarray(-found[0, label].numpy(), dtype=np.float32)


def rex(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Causal responsibility (Chockler et al., arXiv 2411.08875; rex-xai); planes only."""
    from rex_xai.explanation.rex import calculate_responsibility
    from rex_xai.input.config import CausalArgs
    from rex_xai.input.input_data import Data
    from rex_xai.responsibility.prediction import Prediction

    pixels = torch.from_numpy(image)[None]

    def predict(images: Any, target: Any = None, **more: Any) -> list[Any]:
        batch = images if isinstance(images, torch.Tensor) else torch.stack(list(images))
        answers = classifier.predict(batch.reshape(-1, *image.shape).float().numpy())
        told = []
        for answer in answers:
            found = Prediction(int(answer.argmax()), float(answer.max()))
            if target is not None:
                found.target, found.target_confidence = target.classification, float(answer[target.classification])
            told.append(found)
        return told

    args = CausalArgs()
    args.seed, args.progress_bar, args.iters, args.min_box_size = SEED, False, 10, 6
    data = Data(pixels, list(pixels.shape), "cpu", mode="RGB")
    data.data = pixels
    data.mask_value = float(image.mean())
    data.target = predict(pixels)[0]
    if data.target.classification != label:
        raise ClassifierError("ReX explains the class that is answered.", "Ask it for that class.")
    maps, _ = calculate_responsibility(data, args, predict)
    return np.asarray(maps.get(label), dtype=np.float32).reshape(image.shape[1:])


def grad_cam_plus(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Grad-CAM++ at the same layer as Grad-CAM (Chattopadhay et al., arXiv 1710.11063; MONAI)."""
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


def peers() -> tuple[MapMethod, ...]:
    """Return every method, in the order of the table."""
    flat = [
        MapMethod("rise", "RISE", "Petsiuk et al., arXiv 1806.07421; xaitk-saliency", rise, _is_flat),
        MapMethod("sliding-window", "Sliding window", "xaitk-saliency", sliding_window, _is_flat),
        MapMethod("rex", "ReX", "Chockler et al., arXiv 2411.08875; rex-xai", rex, _is_flat, slow=True),
    ]
    any_dimension = [
        MapMethod("occlusion-monai", "Occlusion (MONAI)", "Zeiler & Fergus, arXiv 1311.2901; MONAI", monai_occlusion),
        MapMethod("kernel-shap", "KernelSHAP", "Lundberg & Lee, arXiv 1705.07874; Captum", kernel_shap),
        MapMethod(
            "grad-cam++", "Grad-CAM++", "Chattopadhay et al., arXiv 1710.11063; MONAI", grad_cam_plus, _has_layers
        ),
    ]
    return (*(_known(method) for method in METHODS), *flat, *any_dimension)


def _known(method: Method) -> MapMethod:
    """Return one of the methods that users meet in Slicer too."""
    return MapMethod(method.name, method.title, method.source, method, method.suits)


def _is_flat(classifier: BlackBox) -> bool:
    return classifier.inputs.spatial_dims == 2


def _has_layers(classifier: BlackBox) -> bool:
    return next(method for method in METHODS if method.name == "grad-cam").suits(classifier)


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


def _xaitk(generator: Any, classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Run one of xaitk-saliency's generators; covered parts get the image's mean grey."""
    from smqtk_classifier.interfaces.classify_image import ClassifyImage

    names = list(range(len(classifier.classes)))

    class Asked(ClassifyImage):
        def get_labels(self) -> list[int]:
            return names

        def classify_images(self, images: Iterable[np.ndarray]) -> Iterator[dict[int, float]]:
            for batch in _batches(images, 64):
                channels_first = np.stack([_first(plane) for plane in batch]).astype(np.float32)
                for answer in classifier.predict(channels_first.clip(0, 1)):
                    yield dict(zip(names, answer.tolist(), strict=True))

        def get_config(self) -> dict[str, Any]:
            return {}

    generator.fill = [float(value) for value in image.mean(axis=(1, 2))]
    found = generator.generate(np.ascontiguousarray(np.moveaxis(image, 0, -1)), Asked())
    return np.asarray(found[label], dtype=np.float32)


def _first(plane: np.ndarray) -> np.ndarray:
    return plane[None] if plane.ndim == 2 else np.moveaxis(plane, -1, 0)


def _batches(images: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    batch = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
