"""A tiny black box that looks at one bright square, and a tiny agent taught by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.blackbox.protocol import InputSpec
from support.square_models import SquareClassifier, architecture, squares


@pytest.fixture(params=[(16, 16), (8, 8, 8)], ids=["2-D", "3-D"])
def size(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


@pytest.fixture
def classifier(size: tuple[int, ...]) -> SquareClassifier:
    return SquareClassifier(InputSpec(size))


@pytest.fixture
def images(size: tuple[int, ...]) -> np.ndarray:
    return squares(size, 48, seed=0)


@pytest.fixture
def model(size: tuple[int, ...]) -> DiffusionAutoencoder:
    torch.manual_seed(0)
    return DiffusionAutoencoder(architecture(size))


@pytest.fixture
def agent(model: DiffusionAutoencoder, classifier: SquareClassifier) -> Agent:
    return Agent(model.eval(), "tiny", "2" * 64, classifier.version, torch.device("cpu"))


@pytest.fixture
def training_folder(tmp_path: Path) -> Path:
    from otherwise.images.image import Geometry, Image
    from otherwise.images.writing import write_image

    folder = tmp_path / "images"
    folder.mkdir()
    for number, array in enumerate(squares((16, 16), 40, seed=1)):
        image = Image(array[..., None], Geometry((16, 16, 1), np.eye(4)), dimension=2)
        write_image(image, folder / f"{number:02d}.nii.gz")
    return folder


@pytest.fixture
def validation_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop every training by Ctrl-C when it begins to validate."""

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("otherwise.agent.training.finishing.validate", interrupted)
