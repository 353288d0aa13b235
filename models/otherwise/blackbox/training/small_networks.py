"""Configure the networks of ``classifier train`` by MONAI's classes, and a smooth first layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from otherwise.blackbox.protocol import InputSpec


def small_network(inputs: InputSpec, classes: int) -> dict[str, Any]:
    """Configure a residual network of 0.3 (2-D) or 0.9 (3-D) million parameters, quick on a CPU.

    Group normalisation of the input makes it invariant to overall brightness and keeps its answers moderate for images
    unlike the training images.
    """
    return {
        "_target_": "monai.networks.nets.ResNet",
        "block": "basic",
        "layers": [1, 1, 1, 1],
        "block_inplanes": [16, 32, 64, 128],
        "spatial_dims": inputs.spatial_dims,
        "n_input_channels": inputs.channels,
        "num_classes": classes,
        "conv1_t_size": 7,
        "conv1_t_stride": 2,
        "no_max_pool": True,
        "norm": ["group", {"num_groups": 8}],
    }


def dense_network(inputs: InputSpec, classes: int) -> dict[str, Any]:
    """Configure a densely connected network, an independent verifier of the small one."""
    return {
        "_target_": "monai.networks.nets.DenseNet",
        "spatial_dims": inputs.spatial_dims,
        "in_channels": inputs.channels,
        "out_channels": classes,
        "init_features": 32,
        "growth_rate": 16,
        "block_config": [4, 4, 4],
        "norm": "batch",
    }


def plain_network(inputs: InputSpec, classes: int) -> dict[str, Any]:
    """Configure a plain chain of convolutions without shortcuts, whose last layer knows where things are: a judge."""
    return {
        "_target_": "monai.networks.nets.Classifier",
        "in_shape": [inputs.channels, *inputs.size],
        "classes": classes,
        "channels": [16, 32, 48, 64],
        "strides": [2, 2, 2, 2],
        "kernel_size": 5,
        "num_res_units": 0,
        "norm": "instance",
        "dropout": 0.2,
    }


NETWORKS: dict[str, Callable[[InputSpec, int], dict[str, Any]]] = {
    "small": small_network,
    "dense": dense_network,
    "plain": plain_network,
}
"""Networks by the name on the command line."""


class Smooth(nn.Module):
    """Parametrise a smooth kernel of edge ``edge``: a kernel of edge 3 convolved with a binomial of edge ``edge - 2``.

    A network that begins with such a kernel sees its images blurred, at about half their resolution. After training it
    is an ordinary convolution.
    """

    kernel: Tensor

    def __init__(self, edge: int, dims: int) -> None:
        super().__init__()
        row = torch.ones(1)
        for _ in range(edge - 3):
            row = torch.nn.functional.pad(row, (1, 0)) + torch.nn.functional.pad(row, (0, 1))
        kernel = row / row.sum()
        for _ in range(dims - 1):
            kernel = kernel[..., None] * (row / row.sum())
        self.register_buffer("kernel", kernel[None, None])
        self.convolve = (nn.functional.conv2d, nn.functional.conv3d)[dims - 2]

    def forward(self, weight: Tensor) -> Tensor:
        """Widen ``(out, in, 3, 3[, 3])`` to ``(out, in, edge, edge[, edge])``."""
        outer, inner, *edges = weight.shape
        single = weight.reshape(outer * inner, 1, *edges)
        wide = self.convolve(single, self.kernel, padding=self.kernel.shape[-1] - 1)
        return wide.reshape(outer, inner, *wide.shape[2:])


def smooth_first_layer(network: nn.Module, keep: bool = False) -> None:
    """Keep the first convolution smooth during training if its edge is at least 5; else do nothing.

    Args:
        network: Changed in place.
        keep: Begin with the smooth kernels that are nearest to the network's own, instead of others of the same spread.
    """
    first = _first_convolution(network)
    if min(first.kernel_size) < 5 or parametrize.is_parametrized(first):
        return
    edge, dims = first.kernel_size[0], len(first.kernel_size)
    middle = slice(edge // 2 - 1, edge // 2 + 2)
    smooth, weight = Smooth(edge, dims), first.weight.detach()
    narrow = _nearest(smooth, weight) if keep else weight[(slice(None), slice(None), *[middle] * dims)] * (edge / 3)
    first.weight = nn.Parameter(narrow)
    parametrize.register_parametrization(first, "weight", smooth, unsafe=True)


def _nearest(smooth: Smooth, wide: Tensor) -> Tensor:
    """Return the kernels of edge 3 whose smooth versions are nearest to ``wide``, by least squares."""
    dims = wide.ndim - 2
    cells = torch.eye(3**dims).reshape(3**dims, 1, *[3] * dims)
    basis = smooth(cells).flatten(1).T
    narrow = torch.linalg.lstsq(basis, wide.flatten(2).flatten(0, 1).T).solution.T
    return narrow.reshape(*wide.shape[:2], *[3] * dims).contiguous()


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights on the CPU, with a smooth first layer as an ordinary convolution."""
    first = _first_convolution(network)
    name = next(name for name, module in network.named_modules() if module is first)
    state = {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
    if parametrize.is_parametrized(first):
        state = {key: value for key, value in state.items() if not key.startswith(f"{name}.parametrizations.")}
        state[f"{name}.weight"] = first.weight.detach().cpu().clone()
    return state


def _first_convolution(network: nn.Module) -> nn.Conv2d | nn.Conv3d:
    return next(module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d)))
