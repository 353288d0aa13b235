"""A flow that is known exactly: images of the normal law, whose mean follows from the evidence."""

from __future__ import annotations

import torch
from torch import Tensor

from otherwise.agent.conditioning import Conditioning
from otherwise.agent.flow import expand

SPREAD = 0.3
"""Standard deviation of the images' voxels."""


class GaussianFlow:
    """The exact velocity of images of the normal law N(mean, spread^2).

    Args:
        slope: The mean is so many times the evidence for class 1.
        spread: Standard deviation of the voxels.
    """

    def __init__(self, slope: float = 1.0, spread: float = SPREAD) -> None:
        self.slope, self.spread = slope, spread

    def velocity(self, x: Tensor, time: Tensor, condition: Conditioning) -> Tensor:
        mean, t = expand(self.slope * condition.evidence[:, 1], x), expand(time, x)
        variance = (1 - t) ** 2 * self.spread**2 + t**2
        off = x - (1 - t) * mean
        return t / variance * off - mean - self.spread**2 * (1 - t) / variance * off


def says(*evidence: float) -> Conditioning:
    """Return the condition of images of which the black box gives class 1 this evidence."""
    rows = torch.tensor([[-value, value] for value in evidence])
    return Conditioning.of(torch.zeros(len(evidence), 1), rows).withheld()
