"""A fake explainer whose answers are known, and images for it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import CancelledError
from otherwise.explain.explanation import (
    Counterfactual,
    Explanation,
    ModelRef,
    PathPoint,
    Prediction,
    Region,
    Volumes,
)
from otherwise.images.image import Geometry, Image

CLASSES = ("benign", "malignant")
OBLIQUE = np.array([[0.28, -0.96, 0, 12.5], [0.96, 0.28, 0, -7.0], [0, 0, 1.5, 3.25], [0, 0, 0, 1]])


@dataclass(frozen=True)
class FakeClassifier:
    name: str = "fake"
    version: str = "c0ffee"
    classes: tuple[str, ...] = CLASSES
    inputs: InputSpec = field(default_factory=lambda: InputSpec(size=(8, 6)))
    multi_label: bool = False

    def predict(self, images: np.ndarray) -> np.ndarray:
        raise AssertionError("the fake explainer answers by itself")


@dataclass(frozen=True)
class FakeAgent:
    name: str = "fake agent"
    version: str = "decade"
    classifier_version: str = "c0ffee"


class FakeExplainer:
    """An explainer: bright is malignant, and the upper left quarter decides. It can wait or fail on request."""

    def __init__(self) -> None:
        self.classifier = FakeClassifier()
        self.agent = FakeAgent()
        self.calls: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.stopped = threading.Event()
        self.failure: Exception | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Explanations that begin inside do not end before the block does, unless they are cancelled."""
        self.entered.clear()
        self.go_on.clear()
        self.stopped.clear()
        try:
            yield
        finally:
            self.go_on.set()

    @contextmanager
    def failing(self, failure: Exception) -> Iterator[None]:
        self.failure = failure
        try:
            yield
        finally:
            self.failure = None

    def classify(self, image: Image, slice_index: int | None = None) -> Prediction:
        self.threads.add(threading.current_thread().name)
        if self.failure:
            raise self.failure
        malignant = 0.9 if image.array.mean() > 0.5 else 0.2
        probabilities = dict(zip(CLASSES, (1 - malignant, malignant), strict=True))
        return Prediction(max(probabilities, key=lambda name: probabilities[name]), probabilities)

    def explain(
        self,
        image: Image,
        *,
        target: str | None = None,
        seed: int = 0,
        slice_index: int | None = None,
        progress: Callable[[str, float], None] = lambda stage, fraction: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Explanation:
        self.calls.append({"image": image.id, "target": target, "seed": seed, "slice_index": slice_index})
        prediction = self.classify(image)
        progress("search", 0.5)
        self.entered.set()
        while not self.go_on.wait(0.01):
            if cancelled():
                self.stopped.set()
                raise CancelledError("Stopped.")
        target = target or ("benign" if prediction.label == "malignant" else "malignant")
        flipped = {name: 0.9 if name == target else 0.1 for name in CLASSES}
        change = np.zeros(image.array.shape, np.float32)
        change[:, : image.array.shape[1] // 2, : image.array.shape[2] // 2] = 0.25
        regions = (change[:1] > 0).astype(np.uint8)
        other = image.with_array(image.array.astype(np.float32) + change)
        found = Counterfactual(True, flipped, 0.25, 0.06)
        return Explanation(
            id=f"fake-{uuid.uuid4().hex[:12]}",
            image_id=image.id,
            image_sha256=image.sha256,
            classifier=ModelRef(self.classifier.name, self.classifier.version),
            agent=ModelRef(self.agent.name, self.agent.version),
            created="2026-11-22T08:00:00+00:00",
            seconds=0.1,
            queries=7,
            prediction=prediction,
            target=target,
            counterfactual=found,
            reconstruction_l1=0.01,
            minimal=found,
            path=(PathPoint(0.0, prediction.probabilities), PathPoint(1.0, flipped)),
            alternatives=(),
            regions=(Region(1, (0.0, 0.0, 0.0), 12.0, 2.0, True, True, True),),
            notes=(),
            volumes=Volumes(
                original=image,
                counterfactual=other,
                difference=image.with_array(change),
                effect=image.with_array(change),
                floor=image.with_array(np.full(change[:1].shape, 0.01, np.float32)),
                regions=image.with_array(regions),
                minimal=other,
                path=(image.with_array(image.array.astype(np.float32)), other),
            ),
        )

    def attribute(
        self,
        image: Image,
        method: str,
        *,
        label: str | None = None,
        slice_index: int | None = None,
        progress: Callable[[str, float], None] = lambda stage, fraction: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Image:
        self.calls.append({"image": image.id, "method": method, "label": label, "slice_index": slice_index})
        if self.failure:
            raise self.failure
        return image.with_array(image.array.astype(np.float32) / 2)


def plane(seed: int, brightness: float, affine: np.ndarray = OBLIQUE) -> Image:
    array = np.random.default_rng(seed).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32) + np.float32(brightness)
    return Image(array, Geometry((8, 6, 1), affine), f"plane-{seed}", dimension=2)
