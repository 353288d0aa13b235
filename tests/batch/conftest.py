"""A small pair of models as bundles, images to explain with them, and the command that does it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import otherwise
from otherwise.agent.bundle import write_agent
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.batch.worker import BatchOrder
from otherwise.blackbox.bundle import write_bundle
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import classifier_metadata
from otherwise.explain.request import ExplainRequest
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support.quick_search import EXPLAINER, ONE_ATTEMPT
from support.square_models import architecture

SIZE = (16, 16)
BRIGHTNESS = '''
"""Says bright by the mean; dies at a black image, and at a nearly black one if nobody has died of it before."""

import os
import signal
from pathlib import Path

import numpy as np


def classify(images):
    mean = images.reshape(len(images), -1).mean(axis=1)
    died = Path({grave!r})
    if mean[0] < 0.01 and (mean[0] < 0.001 or not died.exists()):
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    bright = 1 / (1 + np.exp(-20 * (mean - 0.5)))
    return np.stack([1 - bright, bright], axis=1)
'''
Batch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def order(tmp_path_factory: pytest.TempPathFactory) -> BatchOrder:
    """A classifier by brightness, which some images kill, and an agent that has learned nothing: quick to ask."""
    place = tmp_path_factory.mktemp("models")
    inputs = InputSpec(SIZE)
    own = {"callable": "brightness:classify"}
    metadata = classifier_metadata(
        name="brightness", classes=("dark", "bright"), inputs=inputs, weights=None, activation="none", own=own
    )
    bundle = write_bundle(place / "brightness", metadata, {}, None, "# Brightness")
    (bundle.folder / "brightness.py").write_text(BRIGHTNESS.format(grave=str(place / "died")))
    torch.manual_seed(0)
    model = DiffusionAutoencoder(architecture(SIZE))
    hosted = load_classifier(bundle.folder, trust_code=True)
    agent = write_agent(place / "agent", model, hosted, name="untaught", card="# Untaught", figures={})
    return BatchOrder(str(bundle.folder), str(agent.folder), "cpu", ExplainRequest(), trust_code=True)


@pytest.fixture
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search by one attempt in this process: an agent that has learned nothing would try everything."""
    monkeypatch.setattr(EXPLAINER, lambda **_: ONE_ATTEMPT)


@pytest.fixture
def draw() -> Callable[..., Path]:
    """Write an image of some brightness."""

    def write(path: Path, level: float, seed: int = 0) -> Path:
        noise = 0.02 * np.random.default_rng(seed).random((1, 20, 20, 1)) if level > 0.01 else 1e-4
        edge = np.zeros((1, 20, 20, 1))
        edge[0, 0, 0] = 0.1  # a constant image would be refused
        affine = np.diag([-0.5, -0.5, 1.0, 1.0])
        return write_image(Image((level + noise + edge).astype(np.float32), Geometry((20, 20, 1), affine)), path)

    return write


@pytest.fixture
def archive(tmp_path: Path, draw: Callable[..., Path]) -> Path:
    """Three images, one of them under two names and one of them broken, and a file that is no image."""
    folder = tmp_path / "archive"
    draw(folder / "a.nrrd", 0.3, seed=1)
    draw(folder / "deep" / "b.nii.gz", 0.7, seed=2)
    (folder / "deep" / "copy of a.nrrd").write_bytes((folder / "a.nrrd").read_bytes())
    (folder / "broken.nrrd").write_bytes((folder / "a.nrrd").read_bytes()[:300])
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def batch(order: BatchOrder) -> Batch:
    """Begin ``otherwise explain --all`` as a user does, with the small models."""

    def begin(archive: Path, out: Path, *words: object, order: BatchOrder = order) -> subprocess.Popen[str]:
        models = ("--classifier", order.classifier, "--agent", order.agent, "--trust-code")
        command = [sys.executable, "-m", "otherwise", "explain", "--all", str(archive), "--out", str(out), *models]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(otherwise.__file__).parents[1])}
        return subprocess.Popen(
            [*command, *map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return begin


@pytest.fixture
def finished() -> Callable[[Path], dict[str, bytes]]:
    """Read the explanations that are there, whole."""
    return lambda out: {path.parent.name: path.read_bytes() for path in out.glob("explanations/[!.]*/explanation.json")}


@pytest.fixture
def first(finished: Callable[[Path], dict[str, bytes]]) -> Callable[[Path], dict[str, bytes]]:
    """Wait until a batch has finished an explanation."""

    def wait(out: Path, seconds: float = 240) -> dict[str, bytes]:
        deadline = time.monotonic() + seconds
        while not (found := finished(out)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    return wait


@pytest.fixture
def asking(order: BatchOrder) -> Callable[..., BatchOrder]:
    """The same models, asked otherwise."""
    return lambda **request: replace(order, request=replace(order.request, **request))
