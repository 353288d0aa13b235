"""A real server on a real socket, with a stand-in for the explainer whose answers are known."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn
from monailabel.config import settings
from monailabel.interfaces.utils.app import apps
from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

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
from otherwise.images.writing import write_image
from otherwise.resources import app_folder

CLASSES = ("benign", "malignant")
OBLIQUE = np.array([[0.28, -0.96, 0, 12.5], [0.96, 0.28, 0, -7.0], [0, 0, 1.5, 3.25], [0, 0, 0, 1]])


@dataclass(frozen=True)
class StandInClassifier:
    name: str = "stand-in"
    version: str = "c0ffee"
    classes: tuple[str, ...] = CLASSES
    inputs: InputSpec = field(default_factory=lambda: InputSpec(size=(8, 6)))
    multi_label: bool = False

    def predict(self, images: np.ndarray) -> np.ndarray:
        raise AssertionError("the stand-in explainer answers by itself")


@dataclass(frozen=True)
class StandInAgent:
    name: str = "stand-in agent"
    version: str = "decade"
    classifier_version: str = "c0ffee"


class StandInExplainer:
    """Bright is malignant; the upper left quarter decides. Can be made to wait, and to fail."""

    def __init__(self) -> None:
        self.classifier = StandInClassifier()
        self.agent = StandInAgent()
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
            id=f"stand-in-{uuid.uuid4().hex[:12]}",
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


@dataclass(frozen=True)
class Running:
    """The server under test."""

    url: str
    app: Any
    explainer: StandInExplainer
    studies: Path
    state: Path

    def infer(self, model: str, params: str = "{}", **arguments: Any) -> requests.Response:
        query = {key: arguments.pop(key) for key in ("image", "session_id", "output") if key in arguments}
        url = f"{self.url}/infer/{model}"
        return requests.post(url, params=query, data={"params": params}, timeout=20, **arguments)

    def get(self, address: str) -> requests.Response:
        return requests.get(self.url + address, timeout=20)


def plane(seed: int, brightness: float, affine: np.ndarray = OBLIQUE) -> Image:
    array = np.random.default_rng(seed).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32) + np.float32(brightness)
    return Image(array, Geometry((8, 6, 1), affine), f"plane-{seed}", dimension=2)


@pytest.fixture(scope="session")
def app_class() -> Any:
    """The app as MONAI Label itself finds it."""
    return get_class_of_subclass_from_file("main", str(app_folder() / "main.py"), "MONAILabelApp")


@pytest.fixture(scope="session")
def new_explainer() -> type[StandInExplainer]:
    """Makes stand-ins."""
    return StandInExplainer


@pytest.fixture(scope="session")
def new_plane() -> Callable[..., Image]:
    """Makes images."""
    return plane


@pytest.fixture(scope="session")
def running(app_class: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("server")
    studies = root / "studies"
    write_image(plane(1, 0.1), studies / "dark.nrrd")
    write_image(plane(2, 0.7), studies / "bright one.nrrd")
    constant = plane(3, 0.1)
    write_image(constant.with_array(np.ones_like(constant.array)), studies / "constant.nrrd")
    write_image(constant.with_array(np.where(constant.array > 0.2, np.nan, 0.5)), studies / "holes.nrrd")
    (studies / "empty.nii").write_bytes(b"")
    (studies / "corrupt.nii.gz").write_bytes((studies / "dark.nrrd").read_bytes()[-80:])
    (root / "secret.nrrd").write_bytes((studies / "dark.nrrd").read_bytes())

    explainer = StandInExplainer()
    conf = {"state": str(root / "state"), "device": "cpu", "upload_mib": "1"}
    app = app_class(str(app_folder()), str(studies), conf, explainer)
    settings.MONAI_LABEL_APP_DIR, settings.MONAI_LABEL_STUDIES = str(app_folder()), str(studies)
    apps[f"{app_folder()}{studies}"] = app

    from monailabel.app import app as fastapi

    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(fastapi, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    yield Running(f"http://127.0.0.1:{door.getsockname()[1]}", app, explainer, studies, root / "state")
    server.should_exit = True
    thread.join(10)
    app.close()
    app.datastore()._observer.stop()
    door.close()
