"""The student leads: its gradient points to where its own logits rise, and a guided rendering ends there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.bounds import Bounds
from otherwise.agent.editing.guidance import (
    MOST_ATTENTION,
    attention,
    guided,
    student_gradient,
)
from otherwise.agent.flow import render
from otherwise.agent.guidance_style import EVERYWHERE, STRONGEST_VOXELS
from otherwise.agent.networks import Architecture, DiffusionAutoencoder

TOWARDS = torch.tensor([[-1.0, 1.0]])


@pytest.fixture
def student(model: DiffusionAutoencoder) -> DiffusionAutoencoder:
    return model.eval().requires_grad_(False)


def margin(model: DiffusionAutoencoder, images: torch.Tensor) -> torch.Tensor:
    """What the student says for the second class against the first, of images in [-1, 1]."""
    return model.classify(model.encode((images + 1) / 2)).diff(dim=1)[:, 0]


@torch.inference_mode()
def test_a_small_step_along_the_gradient_raises_what_it_is_about(
    student: DiffusionAutoencoder, images: np.ndarray
) -> None:
    before = 2 * torch.from_numpy(images[:4]) - 1
    before = before.clamp(-0.9, 0.9)
    gradient = student_gradient(student, before, TOWARDS.expand(4, -1))
    length = gradient.square().flatten(1).mean(dim=1).sqrt()
    torch.testing.assert_close(length, torch.ones(4))
    for sign in (1, -1):
        moved = margin(student, before + sign * 1e-3 * gradient)
        assert (sign * (moved - margin(student, before)) > 0).all()


@torch.inference_mode()
def test_attention_says_where_the_student_looks_beside_elsewhere(
    student: DiffusionAutoencoder, images: np.ndarray
) -> None:
    given = torch.from_numpy(images[:4])
    weights = attention(student, given, TOWARDS.expand(4, -1))
    assert weights.shape == (4, 1, *given.shape[2:])
    assert (weights >= 0).all()
    assert weights.max() <= MOST_ATTENTION
    assert (weights.flatten(1).mean(dim=1) <= 1 + 1e-5).all()
    assert weights.flatten(1).mean(dim=1).min() > 0.5
    torch.testing.assert_close(weights, attention(student, given, -3 * TOWARDS.expand(4, -1)))
    student.student.weight.zero_()
    assert (attention(student, given, TOWARDS.expand(4, -1)) == 0).all()


@torch.inference_mode()
def test_where_the_student_sees_nothing_there_is_no_way(student: DiffusionAutoencoder, images: np.ndarray) -> None:
    student.student.weight.zero_()
    gradient = student_gradient(student, torch.from_numpy(images[:2]), TOWARDS.expand(2, -1))
    assert (gradient == 0).all()


@torch.inference_mode()
def test_a_guided_rendering_ends_where_the_student_sees_more_of_the_target(
    student: DiffusionAutoencoder, images: np.ndarray
) -> None:
    start = (2 * torch.from_numpy(images[:1]) - 1).clamp(-0.8, 0.8)

    def still(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    margins = []
    for weight in (0.0, 0.02, 0.1):
        field = guided(still, student, TOWARDS, torch.tensor([weight]))
        margins.append(float(margin(student, render(field, start, 0.5, 4))))
    assert margins[0] < margins[1] < margins[2]
    assert margins[0] == pytest.approx(float(margin(student, start)), abs=1e-6)


@torch.inference_mode()
def test_few_voxels_are_led_and_none_alone(student: DiffusionAutoencoder, images: np.ndarray) -> None:
    start, towards = 2 * torch.from_numpy(images[:4]) - 1, TOWARDS.expand(4, -1)
    gradient = student_gradient(student, start, towards, STRONGEST_VOXELS)
    led = gradient.ne(0).flatten(1)
    assert (led.sum(1) <= round(STRONGEST_VOXELS.share * led.shape[1])).all()
    assert led.any(1).all()


@torch.inference_mode()
def test_where_there_is_no_room_left_nothing_is_led(student: DiffusionAutoencoder, images: np.ndarray) -> None:
    start, towards = (2 * torch.from_numpy(images[:4]) - 1).clamp(-0.9, 0.9), TOWARDS.expand(4, -1)
    free = student_gradient(student, start, towards, STRONGEST_VOXELS)
    roomy = Bounds(torch.full_like(start, -1.0), torch.full_like(start, 1.0))
    torch.testing.assert_close(student_gradient(student, start, towards, STRONGEST_VOXELS, roomy), free)
    only_darker = student_gradient(student, start, towards, STRONGEST_VOXELS, Bounds(start - 0.1, start))
    assert (only_darker <= 0).all()
    assert only_darker.flatten(1).lt(0).any(dim=1).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("student_noise", [0.0, 0.9])
def test_an_edit_of_a_volume_is_not_led_along_a_lattice(seed: int, student_noise: float) -> None:
    """The guidance of adjacent voxels is alike, although strided convolutions leave a lattice in the raw gradient."""
    torch.manual_seed(seed)
    architecture = Architecture(3, (16, 16, 16), channels=(16, 16), latent=16, encoder_channels=(16, 16, 16, 16))
    model = DiffusionAutoencoder(architecture).eval().requires_grad_(False)
    agent = Agent(model, "of volumes", "", "", torch.device("cpu"), student_noise)
    volumes = 2 * torch.rand(2, 1, 16, 16, 16) - 1
    raw, led = (
        student_gradient(model, volumes, TOWARDS.expand(2, -1), style) for style in (EVERYWHERE, agent.guidance_style)
    )
    assert likeness_of_neighbours(raw) < 0.3
    assert likeness_of_neighbours(led) > 0.5


def likeness_of_neighbours(maps: torch.Tensor) -> float:
    """Return the smallest correlation between adjacent voxels of ``(b, channels, *size)``, over the spatial axes."""
    pairs = [(maps.narrow(a, 0, n - 1), maps.narrow(a, 1, n - 1)) for a, n in enumerate(maps.shape) if a > 1]
    return min(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]) for one, other in pairs)
