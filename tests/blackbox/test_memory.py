"""Batches that do not fit into memory are asked in parts; anything else that goes wrong goes wrong as before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from otherwise.blackbox.checked import CheckedBlackBox
from otherwise.blackbox.hosts.pytorch import module_host
from otherwise.blackbox.memory import BatchSplitter, device_failed, out_of_memory
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import ClassifierError


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
    device, splitter = Small(room), BatchSplitter()
    for count in batches:
        images = np.random.default_rng(count).uniform(size=(count, 3))
        np.testing.assert_array_equal(splitter(device, images), images * 2)
    assert splitter.size is None or 1 <= splitter.size <= room
    failed = sum(count > room for count in device.asked)
    assert failed <= 6, "the size that fits is remembered: halved once for all batches"


def test_a_single_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError):
        BatchSplitter()(Small(0), np.ones((5, 1)))


def test_other_errors_are_left_alone() -> None:
    def broken(images: np.ndarray) -> np.ndarray:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        BatchSplitter()(broken, np.ones((5, 1)))


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


class Fails(torch.nn.Module):
    """A network on a device that holds two images, or fails."""

    def __init__(self, words: str, room: int) -> None:
        super().__init__()
        self.words, self.room = words, room

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.room:
            raise RuntimeError(self.words)
        return images.mean(dim=(2, 3)).repeat(1, 2)


def hosted(words: str, room: int) -> CheckedBlackBox:
    spec = ClassifierSpec("small", "0" * 64, ("dark", "bright"), InputSpec((4, 4)))
    return CheckedBlackBox(module_host(Fails(words, room), spec))


@pytest.mark.parametrize("words", ["CUDA out of memory.", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"])
def test_a_hosted_network_is_asked_in_parts_too(words: str) -> None:
    assert hosted(words, 2).predict(np.zeros((5, 1, 4, 4), np.float32)).shape == (5, 2)


@pytest.mark.parametrize(
    ("words", "failed"),
    [
        ("CUDA error: device-side assert triggered", True),
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling cublasSgemm", False),
        ("CUDA error: out of memory", False),
        ("shapes do not match", False),
    ],
)
def test_a_device_that_failed_is_told_from_a_network_that_did(words: str, failed: bool) -> None:
    with pytest.raises(ClassifierError) as caught:
        hosted(words, 0).predict(np.zeros((5, 1, 4, 4), np.float32))
    assert device_failed(caught.value) is failed
