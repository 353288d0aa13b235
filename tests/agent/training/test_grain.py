"""The grain of images is measured, whatever they show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from otherwise.agent.training.grain import LEAST, MOST, measured_grain

SIZES = [(48, 40), (24, 20, 16)]


def blobs(size: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    """Draw smooth images with bright things in them, ``(count, 1, *size)`` in [0.2, 0.8]."""
    generator = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(generator.standard_normal((count, 1, *size)), (0, 0, *[4.0] * len(size)))
    return 0.5 + 0.3 * np.tanh(4 * smooth / smooth.std())


@pytest.mark.parametrize("size", SIZES, ids=["2-D", "3-D"])
@given(grain=st.floats(0.04, 0.09), seed=st.integers(0, 2**31))
def test_grain_is_measured_whatever_the_images_show(size: tuple[int, ...], grain: float, seed: int) -> None:
    images = blobs(size, 12, seed)
    grainy = images + grain / 2 * np.random.default_rng(seed).standard_normal(images.shape)
    assert measured_grain(grainy.astype(np.float32)) == pytest.approx(grain, rel=0.25)


@pytest.mark.parametrize("size", SIZES, ids=["2-D", "3-D"])
def test_smooth_and_empty_images_have_the_least_and_noise_the_most(size: tuple[int, ...]) -> None:
    assert measured_grain(blobs(size, 5, 0).astype(np.float32)) == LEAST
    assert measured_grain(np.zeros((5, 1, *size), np.float32)) == LEAST
    noise = np.random.default_rng(0).uniform(size=(5, 1, *size)).astype(np.float32)
    assert measured_grain(noise) == MOST


def test_what_a_window_clips_does_not_count() -> None:
    images = blobs((48, 40), 12, 1)
    images += 0.03 * np.random.default_rng(1).standard_normal(images.shape)
    images[:, :, :30] = 0.0
    assert measured_grain(images.astype(np.float32)) == pytest.approx(0.06, rel=0.25)
