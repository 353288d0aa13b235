"""Known methods on classifiers whose decisive place is known."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from otherwise.attribution.methods import METHODS, find_method, offered
from otherwise.blackbox.checked import CheckedBlackBox, CountingBlackBox, decision_value
from otherwise.blackbox.hosted import HostedClassifier
from otherwise.blackbox.hosts.pytorch import module_host
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import CancelledError, ClassifierError
from support.square_models import SquareClassifier, squares

SIZES = pytest.mark.parametrize("size", [(32, 32), (16, 16, 12)], ids=["2-D", "3-D"])


class Corner(nn.Module):
    """Says "bright" by the brightness of the first quarter along each axis, through a convolution."""

    def __init__(self, size: tuple[int, ...]) -> None:
        super().__init__()
        self.blur = (nn.Conv2d if len(size) == 2 else nn.Conv3d)(1, 1, 3, padding=1, bias=False)
        nn.init.constant_(self.blur.weight, 1 / 3 ** len(size))
        self.corner = (slice(None), slice(None), *(slice(edge // 4) for edge in size))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = self.blur(images)[self.corner].flatten(1).mean(1)
        return torch.stack([torch.zeros_like(level), 20 * (level - 0.2)], dim=1)


def corner_classifier(size: tuple[int, ...]) -> HostedClassifier:
    return module_host(Corner(size), ClassifierSpec("corner", "0" * 64, ("dark", "bright"), InputSpec(size)))


@SIZES
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_each_method_points_at_the_place_that_decides(size: tuple[int, ...], method) -> None:
    classifier = CountingBlackBox(CheckedBlackBox(corner_classifier(size)))
    image = np.random.default_rng(0).uniform(0.1, 0.3, (1, *size)).astype(np.float32)
    corner = tuple(slice(edge // 4) for edge in size)
    image[(0, *corner)] += 0.6
    found = method(classifier, image, 1)
    assert found.shape == size
    assert found.dtype == np.float32
    inside = np.zeros(size, bool)
    inside[corner] = True
    # Grad-CAM weighs a whole feature map by its mean gradient, so it shows what is bright elsewhere as well.
    assert found[inside].mean() > (2 if method.name == "grad-cam" else 5) * np.abs(found[~inside]).mean()
    if method.name == "grad-cam":
        assert found.min() >= 0
    else:
        other = method(classifier, image, 0)
        np.testing.assert_allclose(other, -found, atol=1e-4)


@SIZES
def test_integrated_gradients_are_complete(size: tuple[int, ...]) -> None:
    classifier = corner_classifier(size)
    image = np.random.default_rng(1).uniform(0, 1, (1, *size)).astype(np.float32)
    found = find_method("integrated-gradients", classifier)(classifier, image, 1)
    black, here = decision_value(classifier.predict(np.stack([0 * image, image])), 1)
    assert found.sum() == pytest.approx(here - black, abs=1e-3)


def test_a_black_box_that_gives_no_gradients_gets_what_needs_none() -> None:
    classifier = SquareClassifier(InputSpec((16, 16)))
    assert [method.name for method in offered(classifier)] == ["occlusion"]
    image = squares((16, 16), 1, seed=0)[0]
    found = find_method("occlusion", classifier)(classifier, image, 1)
    assert found[4:12, 4:12].mean() > 5 * abs(found[0].mean())
    with pytest.raises(ClassifierError, match="no gradients for Grad-CAM"):
        METHODS[2](classifier, image, 1)
    with pytest.raises(ClassifierError, match="no method 'magic'"):
        find_method("magic", classifier)


def test_torchscript_is_not_looked_into() -> None:
    traced = torch.jit.trace(Corner((16, 16)), torch.zeros(1, 1, 16, 16))
    classifier = module_host(traced, ClassifierSpec("t", "0" * 64, ("dark", "bright"), InputSpec((16, 16))))
    assert [method.name for method in offered(classifier)] == ["occlusion", "integrated-gradients"]


class Place(nn.Module):
    """Says "bright" by how far right the brightness lies, measured with a ramp that it makes itself."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        ramp = torch.arange(16, dtype=images.dtype) / 15
        level = (images[:, 0] * ramp[:, None]).mean((1, 2))
        return torch.stack([-level, level], dim=1)


def test_a_network_that_keeps_what_it_makes_at_its_first_call_has_gradients_after_it() -> None:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(Place(), torch.zeros(2, 1, 16, 16)), file)
    file.seek(0)
    spec = ClassifierSpec("t", "0" * 64, ("dark", "bright"), InputSpec((16, 16)))
    classifier = module_host(torch.jit.load(file), spec)
    image = squares((16, 16), 1, seed=0)[0] + 0.1
    with torch.inference_mode():
        for _ in range(3):
            classifier.predict(image[None])
    found = find_method("integrated-gradients", classifier)(classifier, image, 1)
    assert found[-1].mean() > found[0].mean()


def test_it_can_be_cancelled() -> None:
    def stop(fraction: float) -> None:
        if fraction > 0.3:
            raise CancelledError("enough")

    classifier = CountingBlackBox(SquareClassifier(InputSpec((32, 32))))
    with pytest.raises(CancelledError):
        METHODS[0](classifier, squares((32, 32), 1, seed=0)[0], 1, stop)
    assert 0 < classifier.queries < 150
