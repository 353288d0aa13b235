"""Lessons of the student: the black box's soft answers on real, perturbed and rendered images.

The student has to agree with the black box on what the decoder emits, not only on images of patients; so images that
the agent itself rendered are put to the black box too (DiffExplainer's teacher-student learning, arXiv 2406.15182).
"""

from __future__ import annotations

import numpy as np
import torch
from monai.networks.utils import one_hot
from torch import Tensor
from torch.nn import functional

from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.direction import direction_to_boundary, edit_velocity
from otherwise.agent.flow import expand, integrate, noised
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.blackbox.protocol import BlackBox


def ask(teacher: BlackBox, images: Tensor) -> Tensor:
    """Put images ``(b, c, *size)`` in [0, 1] to the black box; probabilities ``(b, classes)`` on the same device."""
    answer = teacher.predict(images.detach().float().cpu().numpy())
    return torch.from_numpy(np.asarray(answer, dtype=np.float32)).to(images.device)


def distillation_loss(logits: Tensor, probabilities: Tensor, multi_label: bool) -> Tensor:
    """Return the cross entropy of the student against the teacher's soft targets (Hinton et al., arXiv 1503.02531).

    Args:
        logits: ``(b, classes)`` of the student.
        probabilities: ``(b, classes)`` of the black box.
        multi_label: Each class a yes or no of its own, instead of one of many.

    Returns:
        Scalar; the teacher's own entropy is subtracted, so that 0 means full agreement.
    """
    p = probabilities.clamp(1e-4, 1 - 1e-4)
    if multi_label:
        entropy = -(p * p.log() + (1 - p) * (1 - p).log())
        return (functional.binary_cross_entropy_with_logits(logits, p, reduction="none") - entropy).sum(1).mean()
    p = p / p.sum(1, keepdim=True)
    return (p * (p.log() - functional.log_softmax(logits, dim=1))).sum(1).mean()


def decisions(probabilities: Tensor, multi_label: bool) -> Tensor:
    """Return one-hot decisions ``(b, classes)``: the most probable class, or every class above one half."""
    if multi_label:
        return (probabilities > 0.5).float()
    return one_hot(probabilities.argmax(1, keepdim=True), probabilities.shape[1])


def perturbed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Disturb images the way an imperfect rendering does: blend with another image, scale grey values, add noise.

    Args:
        images: ``(b, c, *size)`` in [0, 1].
        generator: Source of randomness (on the CPU).

    Returns:
        As many images, clipped to [0, 1].
    """
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return expand(torch.rand(count, generator=generator) * (high - low) + low, images.cpu()).to(images.device)

    other = images[torch.randperm(count, generator=generator).to(images.device)]
    share = uniform(0.0, 0.35)
    mixed = (1 - share) * images + share * other
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return (mixed * uniform(0.9, 1.1) + uniform(-0.04, 0.04) + noise * uniform(0.0, 0.04)).clamp(0, 1)


def in_noise(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Bring images a part of the way to noise, for a student that shall see in them what it saw without.

    Such a student is not misled by faint grain (randomised smoothing, Cohen et al., arXiv 1902.02918), and its gradient
    draws what the classes look like (Kaur et al., arXiv 1910.08640).

    Args:
        images: ``(b, c, *size)`` in [0, 1].
        most: Each goes to a time between 0 and this, see ``flow``.
        generator: Source of randomness (on the CPU).

    Returns:
        As many images, beyond [0, 1] too.
    """
    times = (most * torch.rand(len(images), generator=generator)).to(images.device)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return (noised(2 * images - 1, noise, times) + 1) / 2


@torch.no_grad()
def rendered(
    model: DiffusionAutoencoder,
    images: Tensor,
    probabilities: Tensor,
    multi_label: bool,
    generator: torch.Generator,
    steps: int = 4,
) -> Tensor:
    """Let the agent render images moved towards, onto and beyond the boundary, to ask the black box about.

    Args:
        model: The agent as it is.
        images: ``(b, c, *size)`` in [0, 1].
        probabilities: ``(b, classes)`` of the black box.
        multi_label: See ``BlackBox.multi_label``.
        generator: Draws target class, strength (0 to 4), guidance (0 to 3) and depth (0.35 to 0.8).
        steps: Solver steps each way.

    Returns:
        ``(b, c, *size)`` in [0, 1].
    """
    count, classes = len(images), model.architecture.classes
    condition = Conditioning.of(model.encode(images), clipped_log_odds(probabilities))
    shift = torch.randint(0 if multi_label else 1, classes, (count,), generator=generator).to(images.device)
    target = (probabilities.argmax(1) + shift) % classes
    strength = (4 * torch.rand(count, generator=generator)).to(images.device)
    depth = 0.35 + 0.45 * float(torch.rand((), generator=generator))
    weight = (3 * torch.rand((), generator=generator)).to(images.device).expand(count)
    moved = direction_to_boundary(model, condition, target, multi_label).applied(condition, strength)
    noise = integrate(lambda x, t: model.velocity(x, t, condition), 2 * images - 1, 0.0, depth, steps)
    return ((integrate(edit_velocity(model, condition, moved, weight), noise, depth, 0.0, steps) + 1) / 2).clamp(0, 1)
