"""The size of the networks and the length of a training follow from the images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otherwise.agent.training.defaults import (
    WIDEST,
    default_channels,
    default_patch,
    default_prediction,
    default_steps,
)


@pytest.mark.parametrize(
    ("size", "patch"),
    [
        ((28, 28), 2),
        ((64, 64), 4),
        ((96, 96), 4),
        ((128, 128), 4),
        ((256, 192), 8),
        ((16, 16, 16), 2),
        ((32, 32, 32), 4),
        ((48, 48, 48), 4),
        ((64, 64, 32), 8),
    ],
)
def test_larger_images_are_folded_more(size: tuple[int, ...], patch: int) -> None:
    assert default_patch(size) == patch


@given(st.lists(st.integers(4, 1024), min_size=2, max_size=3))
def test_the_folded_grid_stays_small_and_the_order_of_axes_does_not_matter(size: list[int]) -> None:
    patch = default_patch(size)
    assert patch & (patch - 1) == 0
    assert max(size) / patch <= 32
    assert patch == default_patch(size[::-1])


@given(st.integers(1, 200_000), st.integers(1, 256))
def test_every_image_is_seen_ten_to_four_hundred_times(images: int, batch: int) -> None:
    steps = default_steps(images, batch)
    assert steps >= 1
    assert 10 * images - batch <= steps * batch <= 400 * images + batch


def test_a_training_sees_as_many_images_as_the_shipped_agents_did() -> None:
    assert default_steps(3_000, 16) == 7_000
    assert default_steps(3_000, 32) == 3_500
    assert default_steps(100, 16) == 2_500, "few images are not learned by heart"
    assert default_steps(30_000, 16) == 18_750, "many are all seen ten times"


@pytest.mark.parametrize(
    ("size", "images", "width"),
    [
        ((64, 64), 3_000, 64),
        ((64, 64), 1_500, 48),
        ((64, 64), 200, 32),
        ((128, 128), 500, 64),
        ((128, 128), 60, 32),
        ((32, 32, 32), 600, 48),
        ((32, 32, 32), 100, 32),
    ],
)
def test_few_images_are_taught_to_small_networks(size: tuple[int, ...], images: int, width: int) -> None:
    assert default_channels(size, images) == (width, 3 * width // 2, 2 * width)


@given(
    st.one_of(st.lists(st.integers(8, 512), min_size=n, max_size=n) for n in (2, 3)),
    st.integers(1, 100_000),
    st.integers(1, 100_000),
    st.integers(1, 4),
)
def test_more_images_never_make_smaller_networks(size: list[int], images: int, more: int, channels: int) -> None:
    few, many = (default_channels(size, count, channels) for count in (images, images + more))
    assert few[0] <= many[0] <= WIDEST[len(size)]
    assert all(width % 8 == 0 for width in few), "groups of eight channels are normed together"


@pytest.mark.parametrize(
    ("size", "channels", "prediction"),
    [((96, 96), 1, "velocity"), ((96, 96), 3, "velocity"), ((256, 256), 1, "image"), ((32, 32, 32), 1, "image")],
)
def test_a_denoiser_that_cannot_carry_the_noise_predicts_the_image(
    size: tuple[int, ...], channels: int, prediction: str
) -> None:
    width = default_channels(size, 10_000, channels)[0]
    assert default_prediction(len(size), default_patch(size), channels, width) == prediction
