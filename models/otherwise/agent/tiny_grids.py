"""3-D convolutions on tiny grids, kept in single precision where the CPU's bf16 cannot be trusted.

Seen with PyTorch 2.13 (oneDNN, AVX512-BF16): where the grid has fewer than 3 voxels along an axis, the weights'
gradient is garbage, up to infinity; on larger grids, and in 2-D, it is right to bf16's rounding. Tiny grids cost next
to nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_SMALLEST = 3


class ExactConv3d(nn.Conv3d):
    """A convolution that leaves autocast on a CPU's tiny grids."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type != "cpu" or min(input.shape[2:]) >= _SMALLEST or not torch.is_autocast_enabled("cpu"):
            return super()._conv_forward(input, weight, bias)
        with torch.autocast("cpu", enabled=False):
            return super()._conv_forward(input.float(), weight, bias)


def exact_on_tiny_grids(network: nn.Module) -> None:
    """Let every 3-D convolution of ``network`` leave autocast on a CPU's tiny grids; weights and names stay."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            # The networks are MONAI's, so their convolutions cannot be built otherwise.
            module.__class__ = ExactConv3d
