"""A tiny agent of random weights, images with one bright square, and what its units say of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.annotations.vocabulary import Vocabulary, load_vocabulary
from otherwise.blackbox.protocol import InputSpec
from otherwise.concepts.statistics import UnitStatistics, UnitTable
from otherwise.concepts.units import EncoderUnits
from support.square_models import SquareClassifier, architecture, squares


@pytest.fixture(params=[(32, 32), (16, 16, 16)], ids=["2-D", "3-D"])
def size(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return request.param


@pytest.fixture
def classifier(size: tuple[int, ...]) -> SquareClassifier:
    return SquareClassifier(InputSpec(size))


@pytest.fixture
def reader(size: tuple[int, ...], classifier: SquareClassifier) -> EncoderUnits:
    torch.manual_seed(0)
    model = DiffusionAutoencoder(architecture(size)).eval().requires_grad_(False)
    return EncoderUnits(Agent(model, "tiny", "2" * 64, classifier.version, torch.device("cpu")))


@pytest.fixture
def images(size: tuple[int, ...]) -> np.ndarray:
    return squares(size, 40, seed=0)


@pytest.fixture
def table(reader: EncoderUnits, images: np.ndarray) -> UnitTable:
    maps = reader.read(images)
    statistics = UnitStatistics(reader.version, maps.names)
    statistics.add([f"image-{n}" for n in range(len(images))], maps)
    return statistics.table()


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return load_vocabulary()
