"""Edits along the flow between two answers of the black box, without inversion (FlowEdit, arXiv 2412.08629).

The image is noised with a known noise, and the same noise is put under the edited image. The difference between the
field of the target at the edited image and the field of the present answer at the image itself moves the edit. The
latent is withheld from both fields: the black box's evidence is the only condition, so nothing of the present class
comes along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from otherwise.agent.conditioning import Conditioning
from otherwise.agent.flow import StepDone, expand, noised
from otherwise.agent.networks import DiffusionAutoencoder

STEPS = 8
"""Solver steps (Euler)."""
SHIFT = 17
"""Voxels by which noise is shifted from one step to the next, see ``renewed_noise``."""


@dataclass(frozen=True)
class FlowStrength:
    """The strength of an edit by flow.

    Attributes:
        start: Time in (0, 1] from which the flow is followed.
        guidance_scale: Weight of the difference between the two answers' fields at the edited image, beyond once.
    """

    start: float
    guidance_scale: float


def flow_edit(
    model: DiffusionAutoencoder,
    images: Tensor,
    present: Conditioning,
    target: Conditioning,
    noise: Tensor,
    strengths: Sequence[FlowStrength],
    mask: Tensor | None = None,
    steps: int = STEPS,
    step_done: StepDone | None = None,
    renewed: bool = False,
) -> Tensor:
    """Move images from the present answer to the target's.

    With ``s = (1 - t) x + t n`` and ``c`` the edit, which begins as ``x``:
    ``dc/dt = V(s + c - x; target) + w (V(s + c - x; target) - V(s + c - x; present)) - V(s; present)``.

    Args:
        model: The agent's networks.
        images: ``(b, channels, *size)`` in [-1, 1].
        present: Condition of the images as they are, without the latent.
        target: Condition that they should have, without the latent.
        noise: ``(b, channels, *size)`` of the normal law.
        strengths: ``b`` of them.
        mask: ``(b or 1, 1, *size)`` in [0, 1]: the share of the edit that is kept at each step; 0: the image itself,
            to the bit. None: 1 everywhere.
        steps: Number of equal steps.
        step_done: See ``flow.StepDone``.
        renewed: Whether each step has a noise of its own, as FlowEdit has, instead of the same one: chance differences
            average out, but the edit has more grain with few steps.

    Returns:
        ``(b, channels, *size)``, not clipped.
    """
    begin = torch.tensor([strength.start for strength in strengths]).to(images)
    weight = expand(torch.tensor([strength.guidance_scale for strength in strengths]).to(images), images)
    conditions = target + present + present
    change = torch.zeros_like(images)
    at_first, plain = target + present, [1] * (images.ndim - 1)
    for step in range(steps):
        time = begin * (1 - step / steps)
        source = noised(images, renewed_noise(noise, step) if renewed else noise, time)
        edited = source + change
        if step:
            moving = torch.cat([edited, edited, source])
            towards, away, own = model.velocity(moving, time.repeat(3), conditions).chunk(3)
        else:  # nothing has changed yet, so that two of the three fields are the same
            towards, own = model.velocity(source.repeat(2, *plain), time.repeat(2), at_first).chunk(2)
            away = own
        change = change - expand(begin / steps, images) * (towards + weight * (towards - away) - own)
        change = change if mask is None else mask * change
        if step_done is not None:
            step_done()
    return images + change


def renewed_noise(noise: Tensor, step: int) -> Tensor:
    """Return the noise of a step, made by a cyclic shift of white noise ``(b, channels, *size)``.

    White noise has the same law wherever it is shifted, and is not correlated with itself elsewhere.
    """
    axes = tuple(range(2, noise.ndim))
    return noise.roll([step * (SHIFT + 6 * number) for number in range(len(axes))], axes)


def without_grain(
    model: DiffusionAutoencoder,
    images: Tensor,
    target: Conditioning,
    noise: Tensor,
    depth: float,
    steps: int,
    mask: Tensor | None = None,
) -> Tensor:
    """Noise edited images a little and denoise them in the target's condition (SDEdit, arXiv 2108.01073).

    The difference of two fields leaves grain that neither field draws. A short way up and down the flow takes it away,
    and joins the edit with what is around it.

    Args:
        model: The agent's networks.
        images: ``(b, channels, *size)`` in [-1, 1].
        target: Condition of the edit, without the latent.
        noise: ``(b, channels, *size)`` of the normal law.
        depth: Time in [0, 1] to which the images are noised; 0: nothing is done.
        steps: Number of equal Euler steps down.
        mask: See ``flow_edit``; outside of it the images stay as they are, to the bit.

    Returns:
        ``(b, channels, *size)``, not clipped.
    """
    if depth == 0:
        return images
    moving = noised(images, noise, torch.full((len(images),), depth).to(images))
    for step in range(steps):
        time = torch.full((len(images),), depth * (1 - step / steps)).to(images)
        moving = moving - depth / steps * model.velocity(moving, time, target)
    return moving if mask is None else images + mask * (moving - images)
