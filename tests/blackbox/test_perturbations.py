"""Disturbances do what they say, image by image, and are repeatable."""

import itertools

import pytest
import torch

from otherwise.blackbox.perturbations import blurred, contrasted, shifted, streaky_noise, turned, white_noise
from otherwise.blackbox.training.augmentation import Augmentation
from otherwise.cli.classifier.train import AUGMENTATION

SIZES = [(40, 32), (20, 16, 24)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(*size: int) -> torch.Tensor:
    return torch.full((4, 2, *size), 0.5)


def likeness(noise: torch.Tensor, axis: int) -> float:
    """Correlation of neighbours along a spatial axis."""
    first, second = (
        noise.narrow(axis + 2, 0, noise.shape[axis + 2] - 1),
        noise.narrow(axis + 2, 1, noise.shape[2 + axis] - 1),
    )
    return float((first * second).mean() / noise.square().mean())


@pytest.mark.parametrize("size", SIZES)
def test_noise_has_the_level_that_was_asked_for_in_each_image(size: tuple[int, ...]) -> None:
    levels = torch.tensor([0.0, 0.02, 0.05, 0.1])
    for made in (
        white_noise(grey(*size), levels, generator()),
        streaky_noise(grey(*size), levels, generator()),
        streaky_noise(grey(*size), levels, generator(), axes=range(len(size)), length=1.0),
    ):
        measured = (made - 0.5).flatten(1).std(1)
        assert measured[0] == 0
        assert torch.allclose(measured, levels, rtol=0.25, atol=0)


@pytest.mark.parametrize("size", SIZES)
def test_streaks_run_along_the_axes_that_were_named(size: tuple[int, ...]) -> None:
    for axis in range(len(size)):
        noise = streaky_noise(grey(*size), 0.1, generator(), axes=(axis,)) - 0.5
        assert likeness(noise, axis) > 0.8
        assert all(abs(likeness(noise, other)) < 0.2 for other in range(len(size)) if other != axis)
    white = white_noise(grey(*size), 0.1, generator()) - 0.5
    assert all(abs(likeness(white, axis)) < 0.1 for axis in range(len(size)))


@pytest.mark.parametrize("size", SIZES)
def test_blur_and_contrast_keep_the_mean(size: tuple[int, ...]) -> None:
    images = 0.3 + 0.4 * torch.rand(4, 1, *size, generator=generator())
    for made, spread in ((blurred(images, 1.0), 0.6), (contrasted(images, 0.5), 0.51)):
        assert torch.allclose(
            made.mean(dim=list(range(1, made.ndim))), images.mean(dim=list(range(1, made.ndim))), atol=0.02
        )
        assert float(made.std()) < spread * float(images.std())
    assert torch.allclose(blurred(torch.ones(1, 1, *size), 2.0), torch.ones(1, 1, *size), atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_turned_images_keep_what_is_round_and_move_what_is_off_centre(size: tuple[int, ...]) -> None:
    places = torch.meshgrid(*(torch.arange(edge) - (edge - 1) / 2 for edge in size), indexing="ij")
    ball = torch.exp(-sum(place.square() for place in places) / 8).expand(6, 1, *size)
    assert torch.allclose(turned(ball, 180, 0.0, generator()), ball, atol=0.12)
    beside = ball.roll(4, dims=2)
    made = turned(beside, 180, 0.0, generator())
    weights = [(made[:, 0] * place).sum(dim=list(range(1, 1 + len(size)))) / ball[0].sum() for place in places]
    distance = torch.stack(weights).square().sum(0).sqrt()
    assert torch.allclose(distance, torch.full((6,), 4.0), atol=0.4)
    assert float(weights[0].std()) > 1
    larger = turned(ball, 0, 0.3, generator())
    assert float(larger.sum(dim=list(range(1, larger.ndim))).std()) > 0.1 * float(ball[0].sum())


@pytest.mark.parametrize("size", SIZES)
def test_augmentation_is_repeatable_and_stays_in_the_range(size: tuple[int, ...]) -> None:
    images = torch.rand(8, 1, *size, generator=generator())
    made = Augmentation().apply(images, generator(1))
    assert made.shape == images.shape
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(made, Augmentation().apply(images, generator(1)))
    assert not torch.equal(made, Augmentation().apply(images, generator(2)))
    nothing = Augmentation(noise=0, blur=0, contrast=0, shift=0, turn=0, zoom=0).apply(images, generator(1))
    assert torch.equal(nothing.flatten(1).sort().values, images.flatten(1).sort().values)  # Mirrored only.


def test_the_commands_defaults_are_those_of_the_augmentation() -> None:
    assert vars(Augmentation()) == AUGMENTATION


@pytest.mark.parametrize("size", [(10, 8), (6, 8, 5)])
def test_shifts_move_images_by_whole_voxels_and_repeat_the_border(size: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(40, 2, *size)
    moved = shifted(batch, 0.25, generator)
    assert moved.shape == batch.shape
    assert (moved != batch).any()
    reach = [int(0.25 * edge) for edge in size]
    for image, other in zip(batch, moved, strict=True):
        # What lies deep enough inside is found again, as a whole, at one of the places within reach.
        core = tuple(slice(r, edge - r) for r, edge in zip(reach, size, strict=True))
        found = [
            torch.equal(
                image[(slice(None), *(slice(c.start + d, c.stop + d) for c, d in zip(core, offset, strict=True)))],
                other[(slice(None), *core)],
            )
            for offset in itertools.product(*(range(-r, r + 1) for r in reach))
        ]
        assert sum(found) == 1
    assert shifted(batch, 0.0, generator) is batch
