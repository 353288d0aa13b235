"""The student leads: its gradient points to where its own logits rise, and a guided rendering ends there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from otherwise.agent.flow import render
from otherwise.agent.guidance import (
    MOST_ATTENTION,
    WHERE_IT_COUNTS,
    attention,
    guided,
    smoothed,
    sparse,
    student_gradient,
)
from otherwise.agent.networks import DiffusionAutoencoder

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
    told = attention(student, given, TOWARDS.expand(4, -1))
    assert told.shape == (4, 1, *given.shape[2:])
    assert (told >= 0).all()
    assert told.max() <= MOST_ATTENTION
    assert (told.flatten(1).mean(dim=1) <= 1 + 1e-5).all()
    assert told.flatten(1).mean(dim=1).min() > 0.5
    torch.testing.assert_close(told, attention(student, given, -3 * TOWARDS.expand(4, -1)))
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
    gradient = student_gradient(student, start, towards, WHERE_IT_COUNTS)
    led = gradient.ne(0).flatten(1)
    assert (led.sum(1) <= round(WHERE_IT_COUNTS.share * led.shape[1])).all()
    assert led.any(1).all()


@pytest.mark.parametrize("size", [(9, 12), (6, 7, 9)])
def test_blurring_takes_grain_keeps_what_is_even_and_never_turns_a_way_back(size: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        map_ = torch.randn((2, 1, *size), generator=generator)
        assert ((map_ * smoothed(map_)).flatten(1).sum(1) > 0).all()
    inside = (slice(None), slice(None), *[slice(2, -2)] * len(size))
    even = torch.full((1, 1, *size), 3.0)
    torch.testing.assert_close(smoothed(even)[inside], even[inside])
    places = torch.stack(torch.meshgrid(*[torch.arange(edge) for edge in size], indexing="ij")).sum(0)
    checks = (1.0 - 2.0 * (places % 2))[None, None]
    assert smoothed(checks)[inside].abs().max() < 1e-6


def test_what_is_greatest_is_kept_in_its_order_whatever_its_sign() -> None:
    kept = sparse(torch.tensor([[[1.0, -5.0, 2.0, 0.5, 4.0, -3.0, 0.0, 1.5]]]), share=0.375)
    torch.testing.assert_close(kept, torch.tensor([[[0.0, -3.0, 0.0, 0.0, 2.0, -1.0, 0.0, 0.0]]]))
