"""Guidance of an edit by the student's gradient towards the target.

The student is a differentiable likeness of the black box, so no gradient of the black box is needed. Its gradient is
taken on the clean image that a noisy one promises, as in universal guidance (Bansal et al., arXiv 2302.07121; after
classifier guidance, Dhariwal & Nichol, arXiv 2105.05233); the decoder goes on from there, and keeps the image one that
it could have drawn.
"""

from __future__ import annotations

from torch import Tensor

from otherwise.agent.editing.bounds import Bounds
from otherwise.agent.flow import Velocity, expand
from otherwise.agent.guidance_style import EVERYWHERE, GuidanceStyle
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.agent.operators import smoothed, sparse

MOST_ATTENTION = 20.0
"""Beyond this a few voxels would be all that counts."""


def guided(
    velocity: Velocity,
    model: DiffusionAutoencoder,
    towards: Tensor,
    weight: Tensor,
    style: GuidanceStyle = EVERYWHERE,
    bounds: Bounds | None = None,
) -> Velocity:
    """Bend a field so that what it renders becomes more of what the student calls the target.

    Args:
        velocity: The field.
        model: Gives encoder and student.
        towards: ``(b, classes)``: the student's logits are multiplied by it and summed; the sum shall rise.
        weight: ``(b,)``: how much, as a share of an image's range for each unit of time.
        style: How the gradient is followed.
        bounds: Of what is rendered, in [-1, 1].
    """

    def bent(x: Tensor, t: Tensor) -> Tensor:
        plain = velocity(x, t)
        promised = x - expand(t, x) * plain
        return plain - expand(weight, x) * student_gradient(model, promised, towards, style, bounds)

    return bent


def student_gradient(
    model: DiffusionAutoencoder,
    images: Tensor,
    towards: Tensor,
    style: GuidanceStyle = EVERYWHERE,
    bounds: Bounds | None = None,
) -> Tensor:
    """Return the gradient of the student's logits with respect to the images.

    Args:
        model: Gives encoder and student.
        images: ``(b, channels, *size)`` in [-1, 1].
        towards: See ``guided``.
        style: See ``guided``.
        bounds: What of ``images`` is beyond them is not so when the gradient is taken, and does not go further.

    Returns:
        ``(b, channels, *size)``, each of root mean square one; zero where the student sees nothing.
    """
    seen = bounds.clamp(images) if bounds else images
    gradient = model.student_gradient(
        ((seen + 1) / 2).clamp(0, 1), lambda logits: (logits * towards.clone()).sum(dim=1)
    )
    led = smoothed(gradient) if style.smooth else gradient
    led = bounds.open(images, led) if bounds else led
    led = sparse(led, style.share) if style.share < 1 else led
    length = led.square().flatten(1).mean(dim=1).sqrt().clamp_min(1e-12)
    return led / expand(length, led)


def attention(model: DiffusionAutoencoder, images: Tensor, towards: Tensor) -> Tensor:
    """Return the weight of each voxel in the student's gradient, relative to the other voxels of its image.

    Args:
        model: Gives encoder and student.
        images: ``(b, channels, *size)`` in [0, 1].
        towards: ``(b, classes)``: the direction of the logits that counts.

    Returns:
        ``(b, 1, *size)``: blurred size of the gradient as a multiple of its mean, at most ``MOST_ATTENTION``.
    """
    size = smoothed(student_gradient(model, 2 * images - 1, towards).abs().mean(1, keepdim=True))
    return (size / expand(size.flatten(1).mean(dim=1).clamp_min(1e-12), size)).clamp_max(MOST_ATTENTION)
