"""Operators on maps ``(b, channels, *size)``: blur, keep what is greatest, bring nearer to zero."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from otherwise.agent.flow import expand


def smoothed(maps: Tensor, edge: Literal["constant", "replicate"] = "constant") -> Tensor:
    """Blur by (1, 2, 1) / 4 along each axis, twice: no grain, which a strided network's gradient is full of.

    The kernel has no negative frequency, so that what rises along a gradient rises along the blurred one as well.

    Args:
        maps: ``(b, channels, *size)``.
        edge: What lies outside: zero, or what is nearest to it.
    """
    axes = range(2, maps.ndim)
    for axis in [*axes, *axes]:
        length = maps.shape[axis]
        beside = [value for other in reversed(axes) for value in (2 * [int(other == axis)])]
        wide = functional.pad(maps, beside, mode=edge)
        maps = (wide.narrow(axis, 0, length) + 2 * maps + wide.narrow(axis, 2, length)) / 4
    return maps


def sparse(maps: Tensor, share: float) -> Tensor:
    """Keep what is greatest, less the threshold.

    Args:
        maps: ``(b, channels, *size)``.
        share: Of the voxels of each that are kept, in (0, 1).
    """
    size = maps.abs().flatten(1)
    kept = max(1, round(share * size.shape[1]))
    return shrunk(maps, size.topk(min(kept + 1, size.shape[1]), dim=1).values[:, -1])


def shrunk(maps: Tensor, by: Tensor) -> Tensor:
    """Bring values nearer to zero: the proximal step of an L1 penalty (soft thresholding).

    Args:
        maps: ``(b, channels, *size)``.
        by: ``(b,)``: what is smaller becomes zero.
    """
    return maps.sign() * (maps.abs() - expand(by, maps)).clamp_min(0)
