"""Bounds of an edit: nothing darker or brighter than its neighbourhood in the original image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from otherwise.agent.operators import smoothed


@dataclass(frozen=True)
class Bounds:
    """The values that an edit may take at each voxel.

    A student sees more of a class in edges darker than anything in the image; no reader would believe them.

    Attributes:
        lowest: ``(1 or b, channels, *size)``.
        highest: The same.
    """

    lowest: Tensor
    highest: Tensor

    @classmethod
    def around(cls, images: Tensor, reach: int) -> Bounds:
        """Return bounds: the extremes of blurred images within ``reach`` voxels, and the voxel's own value.

        They are blurred since the extremes of noise say nothing.

        Args:
            images: ``(b, channels, *size)``.
            reach: In voxels along each axis.
        """
        pool = functional.max_pool3d if images.ndim == 5 else functional.max_pool2d
        plain = smoothed(images, edge="replicate")

        def most(maps: Tensor) -> Tensor:
            return pool(maps, 2 * reach + 1, stride=1, padding=reach)

        return cls(torch.minimum(images, -most(-plain)), torch.maximum(images, most(plain)))

    def mapped(self, how: Callable[[Tensor], Tensor]) -> Bounds:
        """Return the bounds under a monotone increasing map."""
        return Bounds(how(self.lowest), how(self.highest))

    def clamp(self, images: Tensor) -> Tensor:
        """Bring images to within the bounds."""
        return images.clamp(self.lowest, self.highest)

    def open(self, images: Tensor, direction: Tensor) -> Tensor:
        """Return ``direction``, set to zero where it would leave the bounds (a projected gradient)."""
        shut = ((images <= self.lowest) & (direction < 0)) | ((images >= self.highest) & (direction > 0))
        return torch.where(shut, 0, direction)
