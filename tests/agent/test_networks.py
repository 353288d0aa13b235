"""The networks: lossless folding, shapes in 2-D and 3-D."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otherwise.agent.conditioning import Conditioning
from otherwise.agent.flow import draw, expand, noised
from otherwise.agent.networks import Architecture, DiffusionAutoencoder, fold, unfold, velocity_from_image
from otherwise.errors import AgentError


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.lists(st.integers(1, 4), min_size=2, max_size=3), st.integers(1, 3), st.integers(0, 2**31))
def test_unfolding_undoes_folding(channels: int, edges: list[int], patch: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, channels, *(patch * edge for edge in edges), generator=generator)
    folded = fold(images, patch)
    assert folded.shape == (2, channels * patch ** len(edges), *edges)
    assert torch.equal(unfold(folded, patch), images)


def test_folding_keeps_neighbours_together() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert sorted(fold(image, 2)[0, :, 0, 0].tolist()) == [0.0, 1.0, 4.0, 5.0]


@pytest.mark.parametrize("size", [(17, 30), (9, 12, 5)])
def test_any_size_will_do(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    widths = {"channels": (16, 16), "encoder_channels": (8, 8, 16, 16)}
    model = DiffusionAutoencoder(Architecture(len(size), size, latent=8, patch=4, **widths)).eval()
    images = torch.rand(2, 1, *size)
    velocity = model.velocity(images, torch.rand(2), Conditioning.of(model.encode(images), torch.zeros(2, 2)))
    assert velocity.shape == images.shape
    assert torch.isfinite(velocity).all()


def test_velocity_has_the_shape_of_the_image(model: DiffusionAutoencoder, size: tuple[int, ...]) -> None:
    images = torch.rand(2, 1, *size)
    latent = model.encode(images)
    assert latent.shape == (2, 8)
    assert model.velocity(images, torch.rand(2), Conditioning.of(latent, torch.zeros(2, 2))).shape == images.shape
    assert model.classify(latent).shape == (2, 2)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.0, 1.0), st.floats(0.02, 0.1), st.integers(0, 2**31))
def test_the_prediction_of_an_image_has_unit_variance_and_gives_the_velocity_back(
    time: float, grain: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images, noise = torch.randn(2, 1, 1, 100, 100, generator=generator, dtype=torch.float64)
    images, times = 0.5 * images, torch.full((1, 1, 1, 1), time, dtype=torch.float64)
    state = noised(images, noise, times.reshape(1))
    nothing = velocity_from_image(state, times, torch.zeros_like(state), grain)
    slope = nothing - velocity_from_image(state, times, torch.ones_like(state), grain)
    needed = (nothing - (noise - images)) / slope
    assert float(needed.std()) == pytest.approx(1.0, abs=0.05)
    torch.testing.assert_close(velocity_from_image(state, times, needed, grain), noise - images)


def test_where_there_is_no_noise_the_image_is_known_and_where_there_is_nothing_else_it_is_all_predicted() -> None:
    image, predicted = torch.rand(2, 1, 1, 4, 4)
    start, end = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    torch.testing.assert_close(velocity_from_image(image, start, 0 * predicted, 0.1), -image)
    torch.testing.assert_close(velocity_from_image(image, end, predicted, 0.1), image - predicted / 2)


@pytest.mark.parametrize("grain", [0.02, 0.1])
def test_what_is_drawn_has_the_grain_of_the_images(grain: float) -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, 1, 64, 64, generator=generator)

    def of_empty_images(state: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return velocity_from_image(state, expand(time, state), torch.zeros_like(state), grain)

    drawn = draw(of_empty_images, noise, 1.0, 200)
    assert float(drawn.std()) == pytest.approx(grain, rel=0.1)


@pytest.mark.parametrize("size", [(16, 16), (8, 8, 12)])
def test_a_denoiser_of_images_gives_a_velocity_at_all_times(size: tuple[int, ...]) -> None:
    small = Architecture(len(size), size, latent=8, channels=(16, 16), encoder_channels=(8, 8, 16, 16))
    model = DiffusionAutoencoder(replace(small, prediction="image")).eval()
    images, nothing = torch.rand(3, 1, *size), Conditioning.of(torch.zeros(3, 8), torch.zeros(3, 2))
    velocity = model.velocity(images, torch.tensor([0.0, 0.5, 1.0]), nothing)
    assert velocity.shape == images.shape
    assert torch.isfinite(velocity).all()


def test_a_denoiser_predicts_what_is_known_only() -> None:
    with pytest.raises(AgentError, match=r"cannot predict 'noise'.*velocity, image"):
        Architecture(2, (8, 8), prediction="noise")


def test_an_agent_of_before_predicts_velocities() -> None:
    former = {key: value for key, value in Architecture(2, (8, 8)).to_dict().items() if key != "prediction"}
    assert Architecture.from_dict(former).prediction == "velocity"


def test_architecture_survives_json() -> None:
    import json

    architecture = Architecture(3, (8, 16, 24), classes=4)
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture
