"""Batches that do not fit into memory are asked in parts; anything else that goes wrong goes wrong as before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from otherwise.blackbox.memory import Fitting, out_of_memory


class Small:
    """A device that holds so many images."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked: list[int] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.asked.append(len(images))
        if len(images) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return images * 2


@given(room=st.integers(1, 40), batches=st.lists(st.integers(1, 64), min_size=1, max_size=5))
def test_answers_are_the_same_however_little_fits(room: int, batches: list[int]) -> None:
    device, fitting = Small(room), Fitting()
    for count in batches:
        images = np.random.default_rng(count).uniform(size=(count, 3))
        np.testing.assert_array_equal(fitting(device, images), images * 2)
    assert fitting.size is None or 1 <= fitting.size <= room
    failed = sum(count > room for count in device.asked)
    assert failed <= 6, "the size that fits is remembered: halved once for all batches"


def test_a_single_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Fitting()(Small(0), np.ones((5, 1)))


def test_other_errors_are_left_alone() -> None:
    def broken(images: np.ndarray) -> np.ndarray:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Fitting()(broken, np.ones((5, 1)))


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.cuda.OutOfMemoryError("x"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("Failed to allocate memory for requested buffer of size 1"), True),
        (MemoryError(), True),
        (RuntimeError("device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_shortage_is_told_from_other_errors(error: Exception, short: bool) -> None:
    assert out_of_memory(error) is short
