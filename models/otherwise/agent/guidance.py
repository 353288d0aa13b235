"""Guidance by the student: while an edit is rendered, it is led to where the student sees the target.

The student is a differentiable likeness of the black box, so no gradient of the black box is needed. Its gradient is
taken on the clean image that a noisy one promises, as in universal guidance (Bansal et al., arXiv 2302.07121; after
classifier guidance, Dhariwal & Nichol, arXiv 2105.05233); the decoder goes on from there, and keeps the image one that
it could have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from otherwise.agent.flow import Velocity, expand
from otherwise.agent.networks import DiffusionAutoencoder


@dataclass(frozen=True)
class Lead:
    """How the student's gradient is followed.

    Attributes:
        share: Of the voxels that are led: those of which the student makes most.
        smooth: Whether the gradient is blurred first.
        least: Share of the intensity range by which the change shrinks in the end, so that what is faint vanishes.
    """

    share: float = 1.0
    smooth: bool = False
    least: float = 0.0


EVERYWHERE = Lead()
"""For a student that may be misled by grain: what it sees is spread over many voxels."""
WHERE_IT_COUNTS = Lead(share=0.05, smooth=True, least=0.005)
"""For a student that has learned in noise: what it sees is a feature, which has a place."""

MOST_ATTENTION = 20.0


def guided(
    velocity: Velocity, model: DiffusionAutoencoder, towards: Tensor, weight: Tensor, lead: Lead = EVERYWHERE
) -> Velocity:
    """Bend a field so that what it renders becomes more of what the student calls the target.

    Args:
        velocity: The field.
        model: Gives encoder and student.
        towards: ``(b, classes)``: the student's logits are multiplied by it and summed; the sum shall rise.
        weight: ``(b,)``: how much, as a share of an image's range for each unit of time.
        lead: How.
    """

    def bent(x: Tensor, t: Tensor) -> Tensor:
        plain = velocity(x, t)
        promised = x - expand(t, x) * plain
        return plain - expand(weight, x) * student_gradient(model, promised, towards, lead)

    return bent


def student_gradient(model: DiffusionAutoencoder, images: Tensor, towards: Tensor, lead: Lead = EVERYWHERE) -> Tensor:
    """Where images have to change for the student's logits to rise.

    Args:
        model: Gives encoder and student.
        images: ``(b, channels, *size)`` in [-1, 1].
        towards: See ``guided``.
        lead: See ``guided``.

    Returns:
        ``(b, channels, *size)``, each of root mean square one; zero where the student sees nothing.
    """
    # The search runs without gradients, and what is made there cannot take part in one: hence the copies.
    with torch.inference_mode(False), torch.enable_grad():
        pixels = ((images.clone() + 1) / 2).clamp(0, 1).detach().requires_grad_()
        value = (model.classify(model.encode(pixels)).float() * towards.clone()).sum()
        (gradient,) = torch.autograd.grad(value, pixels)
    led = smoothed(gradient) if lead.smooth else gradient
    led = sparse(led, lead.share) if lead.share < 1 else led
    length = led.square().flatten(1).mean(dim=1).sqrt().clamp_min(1e-12)
    return led / expand(length, led)


def attention(model: DiffusionAutoencoder, images: Tensor, towards: Tensor) -> Tensor:
    """How much the student makes of each voxel, beside the others of its image.

    Args:
        model: Gives encoder and student.
        images: ``(b, channels, *size)`` in [0, 1].
        towards: ``(b, classes)``: the direction of the logits that counts.

    Returns:
        ``(b, 1, *size)``: blurred size of the gradient as a multiple of its mean, at most ``MOST_ATTENTION``.
    """
    size = smoothed(student_gradient(model, 2 * images - 1, towards).abs().mean(1, keepdim=True))
    return (size / expand(size.flatten(1).mean(dim=1).clamp_min(1e-12), size)).clamp_max(MOST_ATTENTION)


def smoothed(maps: Tensor) -> Tensor:
    """Blur by (1, 2, 1) / 4 along each axis, twice: no grain, which a strided network's gradient is full of.

    The kernel has no negative frequency, so that what rises along a gradient rises along the blurred one as well.

    Args:
        maps: ``(b, channels, *size)``; outside is zero.
    """
    axes = range(2, maps.ndim)
    for axis in [*axes, *axes]:
        edge = maps.shape[axis]
        wide = functional.pad(maps, [value for other in reversed(axes) for value in (2 * [int(other == axis)])])
        maps = (wide.narrow(axis, 0, edge) + 2 * maps + wide.narrow(axis, 2, edge)) / 4
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
