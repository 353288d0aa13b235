"""The code of an image: evidence that stays in bounds, ways that reach the boundary, guidance that exaggerates."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from otherwise.agent.code import LEAST_MOVEMENT, Code, edit_velocity, evidence, way_across
from otherwise.agent.networks import Architecture, DiffusionAutoencoder


@pytest.fixture
def model() -> DiffusionAutoencoder:
    torch.manual_seed(1)
    return DiffusionAutoencoder(
        Architecture(2, (8, 8), classes=3, latent=8, channels=(16, 16), encoder_channels=(8, 8, 16, 16))
    )


def test_evidence_is_ordered_bounded_and_zero_at_even_odds() -> None:
    told = evidence(torch.tensor([[0.0, 0.1, 0.5, 0.9, 1.0]]))[0]
    assert told[0] == -1
    assert told[4] == 1
    assert told[2].abs() < 1e-6
    assert told.diff().min() > 0


def test_once_reaches_the_boundary_in_evidence_and_twice_mirrors_it(model: DiffusionAutoencoder) -> None:
    code = Code.of(torch.randn(1, 8), torch.tensor([[0.6, -0.4, -0.8]]))
    target = torch.tensor([1])
    way = way_across(model, code, target, multi_label=False)
    once, twice = code.moved(way, torch.tensor([1.0])).evidence[0], code.moved(way, torch.tensor([2.0])).evidence[0]
    torch.testing.assert_close(once[0], once[1])
    torch.testing.assert_close(twice, torch.tensor([-0.4, 0.6, -0.8]))
    far = code.moved(way, torch.tensor([50.0])).evidence
    assert far.abs().max() == 1


@pytest.mark.parametrize("present", [0.01, -0.01])
def test_an_image_on_the_boundary_moves_all_the_same(model: DiffusionAutoencoder, present: float) -> None:
    code = Code.of(torch.randn(1, 8), torch.full((1, 3), present))
    target = torch.tensor([2])
    single = way_across(model, code, target, multi_label=False).evidence[0, 2]
    assert single >= LEAST_MOVEMENT
    several = way_across(model, code, target, multi_label=True).evidence[0, 2]
    assert several.abs() >= LEAST_MOVEMENT
    assert (several > 0) == (present <= 0), "away from what it says now"


def test_what_is_withheld_cannot_be_told() -> None:
    one, other = (Code.of(latent, torch.full((2, 3), 0.5)).withheld() for latent in torch.randn(2, 2, 8))
    assert torch.equal(one.tensor(), other.tensor())


def test_guidance_exaggerates_what_the_answer_alone_says() -> None:
    def velocity(x: Tensor, t: Tensor, code: Code) -> Tensor:
        return x + code.evidence[:, :1] + 10 * code.known * code.latent[:, :1]

    stand_in = SimpleNamespace(velocity=velocity)
    code = Code.of(torch.ones(2, 1), torch.zeros(2, 2))
    moved = Code.of(2 * torch.ones(2, 1), torch.tensor([[0.5, 0.0], [1.0, 0.0]]))
    x, t = torch.zeros(2, 1), torch.zeros(2)
    plain = edit_velocity(stand_in, code, moved, torch.zeros(2))(x, t)
    strong = edit_velocity(stand_in, code, moved, torch.tensor([2.0, 3.0]))(x, t)
    assert plain[:, 0].tolist() == [20.5, 21.0]
    assert strong[:, 0].tolist() == [20.5 + 2 * 0.5, 21.0 + 3 * 1.0]
