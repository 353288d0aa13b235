"""The layout of a hosted network's weights: channels last where it changes no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import DenseNet
from torch import Tensor, nn

from otherwise.blackbox.hosts.layout import use_channels_last
from otherwise.blackbox.hosts.pytorch import module_host
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import ClassifierError


class Flattened(nn.Module):
    """A network whose head expects channels first in memory; ``view`` refuses another layout."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4 * 16 * 16, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return self.head(maps.view(len(maps), -1))


class EachMap(Flattened):
    """A network that treats each map alone; its ``view`` accepts both layouts of one image, not of two."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        each = maps.view(len(maps) * maps.shape[1], -1)
        return self.head((each - each.mean(dim=1, keepdim=True)).reshape(len(maps), -1))


class InMemory(Flattened):
    """A network that reads its maps in the order in which they lie in memory, whatever that is."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return self.head(maps.as_strided((len(maps), maps[0].numel()), (maps[0].numel(), 1)))


def dense(dims: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return DenseNet(dims, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2)).eval()


def spec(dims: int = 2) -> ClassifierSpec:
    return ClassifierSpec("dense", "0" * 64, ("a", "b"), InputSpec((16,) * dims))


def images(dims: int = 2, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).random((count, 1, *[16] * dims), dtype=np.float32)


def answers(network: nn.Module, asked: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(network(torch.from_numpy(asked)).softmax(1))


def lies_channels_last(network: nn.Module) -> bool:
    """Return the layout of a weight for which the two layouts differ: several channels, and a kernel beyond 1."""
    weight = next(each for each in network.parameters() if each.ndim in (4, 5) and each.shape[1] > 1 < each.shape[-1])
    last = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
    return weight.is_contiguous(memory_format=last) and not weight.is_contiguous()


@pytest.mark.parametrize("dims", [2, 3])
def test_convolutions_lie_channels_last_and_the_answers_stay(dims: int) -> None:
    expected = answers(dense(dims), images(dims))
    network = dense(dims)
    hosted = module_host(network, spec(dims))
    assert lies_channels_last(network)
    np.testing.assert_allclose(hosted.predict(images(dims)), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [Flattened, EachMap, InMemory])
@pytest.mark.parametrize("count", [1, 3])
def test_a_network_whose_code_needs_the_usual_layout_keeps_it(kind: type[Flattened], count: int) -> None:
    torch.manual_seed(0)
    network = kind().eval()
    expected = answers(network, images(count=count))
    hosted = module_host(network, spec())
    assert network.convolution.weight.is_contiguous()
    np.testing.assert_allclose(hosted.predict(images(count=count)), expected, atol=1e-6)


def test_torchscript_gives_the_same_answers(tmp_path: Path) -> None:
    expected = answers(dense(), images())
    torch.jit.trace(dense(), torch.from_numpy(images())).save(str(tmp_path / "model.ts"))
    network = torch.jit.load(str(tmp_path / "model.ts"))
    hosted = module_host(network, spec())
    assert lies_channels_last(network)
    np.testing.assert_allclose(hosted.predict(images()), expected, atol=1e-5)


def test_a_network_without_convolutions_is_not_asked() -> None:
    def never(view: np.ndarray) -> np.ndarray:
        raise AssertionError("it has no weights to store otherwise")

    assert not use_channels_last(nn.Linear(4, 2), InputSpec((16, 16)), never)


def test_a_network_that_fails_keeps_its_layout_and_is_hosted() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(5, 2)).eval()
    hosted = module_host(network, spec())
    assert not lies_channels_last(network)
    with pytest.raises(ClassifierError):
        hosted.predict(images())


def test_gradients_are_those_of_the_network_as_it_was() -> None:
    x = torch.from_numpy(images()).requires_grad_()
    dense()(x)[:, 1].sum().backward()
    hosted = module_host(dense(), spec())
    assert hosted.module is not None
    y = torch.from_numpy(images()).requires_grad_()
    hosted.module.network(y)[:, 1].sum().backward()
    torch.testing.assert_close(y.grad, x.grad, atol=1e-5, rtol=1e-4)
