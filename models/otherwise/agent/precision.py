"""The arithmetic in which an agent draws: single precision, or bf16 where the machine has it in hardware.

Only the convolutions of the denoiser are computed in bf16; its norms, and the solver, keep single precision. The
semantic encoder and the student, whose answers are compared and stored, always compute in single precision, and so does
the black box.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from otherwise.agent.tiny_grids import ExactConv3d


class Precision(StrEnum):
    """The precision in which an agent draws.

    Attributes:
        AUTO: ``BF16`` where it is faster and costs nothing: on CPUs with AMX, for agents whose faint changes vanish;
            ``FP32`` otherwise.
        FP32: Single precision.
        BF16: The denoiser's convolutions in bf16.
    """

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"

    def on(self, device: torch.device, faint_changes_vanish: bool) -> Precision:
        """Return the precision for a device: ``FP32`` or ``BF16``.

        Args:
            device: Where the agent computes.
            faint_changes_vanish: Whether rounding errors stay out of the edits, see ``GuidanceStyle.shrinkage``. Where
                they do not, they were measured to make the changes of phantoms a tenth larger.
        """
        if self is not Precision.AUTO:
            return self
        faster = device.type == "cpu" and has_matrix_units()
        return Precision.BF16 if faster and faint_changes_vanish else Precision.FP32


def has_matrix_units() -> bool:
    """Return whether this machine's CPU multiplies bf16 matrices in hardware (AMX)."""
    return bool(_capabilities().get("amx_bf16", False))


def emulates_bf16(device: torch.device) -> bool:
    """Return whether bf16 is emulated on a device: on x86 CPUs without instructions for it.

    A training step took 15 times as long there as in single precision (AVX2, PyTorch 2.13).
    """
    known = _capabilities()
    return device.type == "cpu" and "avx512_bf16" in known and not (known["avx512_bf16"] or known.get("amx_bf16"))


def _capabilities() -> dict[str, object]:
    """Return the CPU's capabilities as PyTorch reports them; empty where PyTorch is too old to report any."""
    known = getattr(torch.cpu, "get_capabilities", None)
    return known() if known else {}


def compute_in_bf16(network: nn.Module) -> None:
    """Let every convolution of ``network`` compute in bf16 while it does not learn; weights and names stay.

    Its result stays in bf16 up to the next norm or linear layer, which computes in single precision.
    """
    for module in network.modules():
        # The networks are MONAI's, so their layers cannot be built otherwise.
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            module.__class__ = _Conv2d if isinstance(module, nn.Conv2d) else _Conv3d
            rounded = _rounded(module.weight.detach())
            bias = None if module.bias is None else module.bias.detach().to(torch.bfloat16)
            module.register_buffer("rounded_weight", rounded, persistent=False)
            module.register_buffer("rounded_bias", bias, persistent=False)
        elif type(module) in _SINGLE:
            module.__class__ = _SINGLE[type(module)]


class _RoundedConvolution(_ConvNd):
    rounded_weight: Tensor
    rounded_bias: Tensor | None

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.training:
            return super()._conv_forward(input, weight, bias)
        return super()._conv_forward(_rounded(input), self.rounded_weight, self.rounded_bias)


class _Conv2d(_RoundedConvolution, nn.Conv2d):
    pass


class _Conv3d(_RoundedConvolution, ExactConv3d):
    pass


class _GroupNorm(nn.GroupNorm):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float())


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float())


_SINGLE: dict[type[nn.Module], type[nn.Module]] = {nn.GroupNorm: _GroupNorm, nn.Linear: _Linear}


def _rounded(maps: Tensor) -> Tensor:
    """Round to bf16, channels last: four times as fast as channels first (PyTorch 2.13, oneDNN with AMX)."""
    layout = torch.channels_last if maps.ndim == 4 else torch.channels_last_3d
    return maps.to(torch.bfloat16, memory_format=layout)
