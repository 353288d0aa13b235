"""Models that say a number: the mean of the central square, in units where the truth is simple."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch


class SquareValue(torch.nn.Module):
    """A value: ``slope`` times the mean of the central square of ``(batch, 1, *size)``."""

    def __init__(self, slope: float = 100.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.slope * central(images)


class SquareHazards(torch.nn.Module):
    """Logits of the hazards of three intervals, which rise with the mean of the central square."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = central(images)
        return torch.cat([8 * mean - 6, 8 * mean - 5, 6 * mean - 5], dim=1)


def central(images: torch.Tensor) -> torch.Tensor:
    """Return the mean of the central square ``(batch, 1)`` of images ``(batch, 1, rows, columns)``."""
    rows, columns = images.shape[2], images.shape[3]
    inside = images[:, 0, rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    return inside.mean(dim=(1, 2))[:, None]


def save(module: torch.nn.Module, path: Path, size: tuple[int, int] = (16, 12)) -> Path:
    """Save a module as TorchScript; ``size`` is columns, rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(module, torch.zeros(1, 1, size[1], size[0]), check_trace=False).save(str(path))
    return path
