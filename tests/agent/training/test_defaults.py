"""The size of the networks and the length of a training follow from the images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otherwise.agent.training.defaults import default_patch, default_steps


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
