"""The student's sensitivity: where a change between two images moves it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from otherwise.agent.bundle import Agent
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.agent.sensitivity import StudentSensitivity


class LinearStudent(DiffusionAutoencoder):
    """Encodes an image as its voxels, and weighs them for each class."""

    def __init__(self, weights: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.weights = weights  # (classes, channels, *size)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)

    def classify(self, latent: torch.Tensor) -> torch.Tensor:
        return latent @ self.weights.flatten(1).T


def agent_with(model: nn.Module) -> Agent:
    return Agent(model, "student", "1" * 64, "", torch.device("cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(8, 6), (5, 6, 4)])
@pytest.mark.parametrize("multi_label", [False, True])
def test_of_a_linear_student_it_is_the_size_of_its_weights(size: tuple[int, ...], multi_label: bool) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 2, *size)).astype(np.float32)
    begin, end = rng.random((2, 2, *size), dtype=np.float32)
    found = StudentSensitivity(agent_with(LinearStudent(torch.from_numpy(weights))), 1, multi_label)(begin, end)
    towards = weights[1] if multi_label else weights[1] - weights[0]
    np.testing.assert_allclose(found, np.abs(towards).max(axis=0), rtol=1e-4)


@pytest.mark.parametrize("size", [(16, 24), (16, 16, 16)])
def test_the_networks_of_an_agent_are_asked_even_where_no_gradients_are_kept(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = DiffusionAutoencoder(Architecture(len(size), size, latent=16)).eval().requires_grad_(False)
    begin, end = np.random.default_rng(0).random((2, 1, *size), dtype=np.float32)
    measure = StudentSensitivity(agent_with(model), 1)
    with torch.inference_mode():
        found = measure(begin, end)
    assert found.shape == size
    assert found.min() >= 0
    assert found.max() > 0
    np.testing.assert_array_equal(found, measure(begin, end))


def test_it_belongs_to_the_path_between_the_images() -> None:
    """The mean gradient times the change equals the change of the log-odds, as in integrated gradients."""
    torch.manual_seed(0)
    model = DiffusionAutoencoder(Architecture(2, (16, 16), latent=16)).eval().requires_grad_(False)
    begin = np.random.default_rng(0).random((1, 16, 16), dtype=np.float32)
    end = begin.copy()
    end[0, 5, 7] += 0.01  # of one voxel, so that nothing cancels
    slope = StudentSensitivity(agent_with(model), 1)(begin, end)[5, 7]
    with torch.inference_mode():
        before, after = model.classify(model.encode(torch.from_numpy(np.stack([begin, end])))).double()
    gain = float((after[1] - after[0]) - (before[1] - before[0]))
    assert abs(gain) == pytest.approx(0.01 * slope, rel=0.05)
