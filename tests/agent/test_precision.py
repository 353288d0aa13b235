"""The precision in which an agent draws: chosen by name, followed, and without an effect on what is kept or learned."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from otherwise.agent import precision
from otherwise.agent.bundle import load_agent
from otherwise.agent.conditioning import Conditioning
from otherwise.agent.editing.flow_edit import FlowStrength, flow_edit
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.agent.precision import Precision, compute_in_bf16
from support.square_models import with_random_weights

Draw = Callable[[DiffusionAutoencoder], torch.Tensor]


@pytest.fixture
def model(model: DiffusionAutoencoder) -> DiffusionAutoencoder:
    return with_random_weights(model).eval()


@pytest.fixture
def rounded(model: DiffusionAutoencoder) -> DiffusionAutoencoder:
    """Return the same network, which draws in bf16."""
    other = copy.deepcopy(model)
    compute_in_bf16(other.denoiser)
    return other


@pytest.fixture
def velocity(images: np.ndarray) -> Draw:
    pixels = 2 * torch.from_numpy(images[:3]) - 1

    def asked(model: DiffusionAutoencoder) -> torch.Tensor:
        condition = Conditioning.of(torch.zeros(3, model.architecture.latent), torch.tensor([[0.4, -0.4]] * 3))
        with torch.inference_mode():
            return model.velocity(pixels, torch.full((3,), 0.5), condition)

    return asked


def test_bf16_draws_nearly_the_same_and_always_the_same(
    model: DiffusionAutoencoder, rounded: DiffusionAutoencoder, velocity: Draw
) -> None:
    exact, near = velocity(model), velocity(rounded)
    assert near.dtype == torch.float32
    assert not torch.equal(near, exact)
    assert (near - exact).square().mean() < 0.02**2 * exact.square().mean()
    assert torch.equal(near, velocity(rounded))


def test_encoder_and_student_stay_in_single_precision(
    model: DiffusionAutoencoder, rounded: DiffusionAutoencoder, images: np.ndarray
) -> None:
    pixels = torch.from_numpy(images[:3])
    with torch.inference_mode():
        assert torch.equal(rounded.predict(pixels, False), model.predict(pixels, False))


def test_what_is_kept_and_what_learns_is_not_rounded(
    model: DiffusionAutoencoder, rounded: DiffusionAutoencoder, velocity: Draw
) -> None:
    kept, known = rounded.state_dict(), model.state_dict()
    assert kept.keys() == known.keys()
    for name, value in kept.items():
        assert torch.equal(value, known[name]), name
    assert torch.equal(velocity(rounded.train()), velocity(model.train()))


def test_a_region_edit_in_bf16_leaves_the_outside_to_the_bit(rounded: DiffusionAutoencoder, images: np.ndarray) -> None:
    pixels = 2 * torch.from_numpy(images[:1]) - 1
    mask = torch.zeros(1, 1, *pixels.shape[2:])
    mask[:, :, 2:6, 3:7] = 0.5
    latent = torch.zeros(1, rounded.architecture.latent)
    present, target = (Conditioning.of(latent, torch.tensor([row])).withheld() for row in ([1.0, -1.0], [-1.0, 1.0]))
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        edited = flow_edit(rounded, pixels, present, target, noise, [FlowStrength(0.9, 3.0)], mask)
    outside = (mask == 0).expand_as(pixels)
    assert torch.equal(edited[outside], pixels[outside])
    assert not torch.equal(edited, pixels)


@pytest.mark.parametrize(
    ("asked", "device", "amx", "vanish", "drawn_in"),
    [
        ("auto", "cpu", True, True, "bf16"),
        ("auto", "cpu", True, False, "fp32"),
        ("auto", "cpu", False, True, "fp32"),
        ("auto", "cuda", True, True, "fp32"),
        ("bf16", "cpu", False, False, "bf16"),
        ("bf16", "cuda", False, True, "bf16"),
        ("fp32", "cpu", True, True, "fp32"),
    ],
)
def test_a_precision_is_followed_and_auto_follows_from_the_machine_and_the_agent(
    monkeypatch: pytest.MonkeyPatch, asked: str, device: str, amx: bool, vanish: bool, drawn_in: str
) -> None:
    monkeypatch.setattr(precision, "has_matrix_units", lambda: amx)
    assert Precision(asked).on(torch.device(device), vanish) == drawn_in


@pytest.mark.parametrize("name", ["mammogram_agent", "nodule_agent"])
def test_a_loaded_agent_draws_in_the_precision_that_was_asked_for(name: str) -> None:
    exact, near = (load_agent(name, precision=each) for each in ("fp32", "bf16"))
    assert (exact.precision, near.precision) == (Precision.FP32, Precision.BF16)
    known = exact.model.architecture
    noise = torch.randn(2, known.image_channels, *known.size, generator=torch.Generator().manual_seed(0))
    condition = Conditioning.of(torch.zeros(2, known.latent), torch.tensor([[0.8, -0.8]] * 2))
    with torch.inference_mode():
        one, other = (each.model.velocity(noise, torch.full((2,), 0.7), condition) for each in (exact, near))
    error = float(((one - other).square().mean() / one.square().mean()).sqrt())
    assert 0 < error < 0.02


@pytest.mark.parametrize(
    ("known", "device", "emulated"),
    [
        ({"avx512_bf16": False, "amx_bf16": False}, "cpu", True),
        ({"avx512_bf16": True, "amx_bf16": False}, "cpu", False),
        ({"avx512_bf16": False, "amx_bf16": True}, "cpu", False),
        ({"avx512_bf16": False, "amx_bf16": False}, "cuda", False),
        ({"bf16": True}, "cpu", False),
        ({}, "cpu", False),
    ],
)
def test_bf16_is_emulated_on_x86_cpus_without_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, bool], device: str, emulated: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert precision.emulates_bf16(torch.device(device)) is emulated


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16"):
        load_agent("mammogram_agent", precision="fp16")
