"""A tiny black box that looks at one bright square, and a tiny agent taught by it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.blackbox.protocol import InputSpec


@dataclass(frozen=True)
class SquareClassifier:
    """Says "bright" by the mean of the central square: simple enough to know the truth."""

    inputs: InputSpec
    name: str = "square"
    version: str = "1" * 64
    classes: tuple[str, ...] = ("dark", "bright")
    multi_label: bool = False

    def predict(self, images: np.ndarray) -> np.ndarray:
        centre = tuple(slice(edge // 4, edge - edge // 4) for edge in self.inputs.size)
        mean = images[(slice(None), 0, *centre)].reshape(len(images), -1).mean(axis=1).astype(np.float64)
        bright = 1 / (1 + np.exp(-20 * (mean - 0.5)))
        return np.stack([1 - bright, bright], axis=1)


def squares(size: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = 0.1 * rng.random((count, 1, *size), dtype=np.float32)
    centre = tuple(slice(edge // 4, edge - edge // 4) for edge in size)
    for image in images:
        image[(0, *centre)] += np.float32(rng.uniform(0.2, 0.7))
    return images.clip(0, 1)


def architecture(size: tuple[int, ...]) -> Architecture:
    return Architecture(len(size), size, latent=8, channels=(16, 16), encoder_channels=(8, 16))


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
