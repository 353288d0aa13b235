"""RISE and a sliding window by xaitk-saliency, for planes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.methods.method import MASKS, SEED


def rise(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Weight random masks by the probability that is left (xaitk-saliency); planes only."""
    from xaitk_saliency.impls.gen_image_classifier_blackbox_sal.rise import RISEStack

    return _xaitk(RISEStack(n=MASKS, s=8, p1=0.5, seed=SEED), classifier, image, label)


def sliding_window(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Slide a window over the image (xaitk-saliency); planes only."""
    from xaitk_saliency.impls.gen_image_classifier_blackbox_sal.slidingwindow import SlidingWindowStack

    edge, stride = max(2, image.shape[1] // 8), max(1, image.shape[1] // 16)
    return _xaitk(SlidingWindowStack((edge, edge), (stride, stride)), classifier, image, label)


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
