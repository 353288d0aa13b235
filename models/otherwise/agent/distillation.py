"""What the student learns from: the black box's soft answers on real, perturbed and rendered images.

The student has to agree with the black box on what the decoder emits, not only on images of patients; so images that
the agent itself rendered are put to the black box too (DiffExplainer's teacher-student learning, arXiv 2406.15182).
"""

from __future__ import annotations

import numpy as np
import torch
from monai.networks.utils import one_hot
from torch import Tensor
from torch.nn import functional

from otherwise.agent.flow import expand, guided, integrate
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.blackbox.protocol import BlackBox


def ask(teacher: BlackBox, images: Tensor) -> Tensor:
    """Put images ``(b, c, *size)`` in [0, 1] to the black box; probabilities ``(b, classes)`` on the same device."""
    answer = teacher.predict(images.detach().float().cpu().numpy())
    return torch.from_numpy(np.asarray(answer, dtype=np.float32)).to(images.device)


def distillation_loss(logits: Tensor, probabilities: Tensor, multi_label: bool) -> Tensor:
    """Cross entropy of the student against the teacher's soft targets (Hinton et al., arXiv 1503.02531).

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
    """One-hot ``(b, classes)`` of what was decided: the most probable class, or every class above one half."""
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


def across_boundary(model: DiffusionAutoencoder, latent: Tensor, target: Tensor, multi_label: bool) -> Tensor:
    """The shortest way in latent space from ``latent`` to the student's boundary towards ``target``.

    The student is linear, so the boundary between the decided class and the target is a plane, and the way is along
    its normal. For a single-label classifier it is the plane between the target and its strongest rival; for a
    multi-label one the plane of the target class alone (towards yes where it says no, and the reverse).

    Args:
        model: Gives the student.
        latent: ``(b, latent)``.
        target: ``(b,)`` class indices.
        multi_label: See ``BlackBox.multi_label``.

    Returns:
        ``(b, latent)``: adding it once reaches the boundary, adding it twice mirrors the margin.
    """
    weight, logits = model.student.weight, model.classify(latent)
    own = logits.gather(1, target[:, None])[:, 0]
    if multi_label:
        normal, margin = weight[target], -own
    else:
        rival_index = logits.scatter(1, target[:, None], -torch.inf).argmax(1)
        rival = logits.gather(1, rival_index[:, None])[:, 0]
        normal, margin = weight[target] - weight[rival_index], rival - own
    return margin[:, None] * normal / normal.square().sum(1, keepdim=True).clamp_min(1e-12)


@torch.no_grad()
def rendered(
    model: DiffusionAutoencoder, images: Tensor, multi_label: bool, generator: torch.Generator, steps: int = 4
) -> Tensor:
    """Let the agent render images moved towards, onto and beyond the student's boundary, to ask the black box about.

    Args:
        model: The agent as it is.
        images: ``(b, c, *size)`` in [0, 1].
        multi_label: See ``BlackBox.multi_label``.
        generator: Draws target class, strength (0 to 4), guidance (0 to 2) and depth (0.35 to 0.7).
        steps: Solver steps each way.

    Returns:
        ``(b, c, *size)`` in [0, 1].
    """
    count, classes = len(images), model.architecture.classes
    latent = model.encode(images)
    current = model.classify(latent).argmax(1)
    shift = torch.randint(0 if multi_label else 1, classes, (count,), generator=generator).to(images.device)
    target = (current + shift) % classes
    strength = (4 * torch.rand(count, generator=generator)).to(images.device)
    depth = 0.35 + 0.35 * float(torch.rand((), generator=generator))
    weight = 2.0 * float(torch.rand((), generator=generator))
    moved = latent + strength[:, None] * across_boundary(model, latent, target, multi_label)

    def own(x: Tensor, t: Tensor) -> Tensor:
        return model.velocity(x, t, latent)

    def towards(x: Tensor, t: Tensor) -> Tensor:
        return model.velocity(x, t, moved)

    noise = integrate(own, 2 * images - 1, 0.0, depth, steps)
    return ((integrate(guided(own, towards, weight), noise, depth, 0.0, steps) + 1) / 2).clamp(0, 1)
