"""The direction of an edit: towards the boundary between the present class and the target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.flow import Velocity, expand
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.blackbox.decision import DecisionRule

MIN_EVIDENCE_STEP = 0.25
"""Least step in evidence at strength 1. An image on the boundary would otherwise not move."""
MIN_LATENT_STEP = 0.5
"""Least step in the latent at strength 1."""


@dataclass(frozen=True)
class EditDirection:
    """The shortest step to the boundary: strength 1 reaches it, strength 2 mirrors the image's condition in it.

    Attributes:
        latent: ``(b, latent)``.
        evidence: ``(b, classes)``.
        towards: ``(b, classes)``, 1 for the logit that rises, -1 for the logit that falls, 0 for the others.
    """

    latent: Tensor
    evidence: Tensor
    towards: Tensor

    def applied(self, condition: Conditioning, strength: Tensor) -> Conditioning:
        """Move a condition by ``strength (b,)`` times this direction."""
        scale = strength[:, None]
        return condition.moved(scale * self.latent, scale * self.evidence)


def direction_to_boundary(
    model: DiffusionAutoencoder, condition: Conditioning, target: Tensor, multi_label: bool, boundary: float = 0.0
) -> EditDirection:
    """Return the direction to the boundary of ``target``, in the latent and in the evidence.

    The student is linear in the latent, so its boundary between the present class and the target is a plane, and the
    direction is the plane's normal. For a single-label classifier the plane separates the target from its strongest
    rival; for a multi-label classifier it belongs to the target class alone (from no to yes, or from yes to no). The
    black box says on which side an image lies: where the student already sees it beyond the plane, the direction still
    points away from the present class.

    Args:
        model: Provides the student.
        condition: Of ``b`` images.
        target: ``(b,)`` class indices.
        multi_label: See ``BlackBox.multi_label``.
        boundary: Of a multi-label classifier: evidence from which the target is said, see :func:`evidence_boundary`.
    """
    weight, logits, index = model.student.weight, model.classify(condition.latent), target[:, None]
    own, own_logit = condition.evidence.gather(1, index), logits.gather(1, index)
    if multi_label:
        sign = torch.where(own > boundary, -1.0, 1.0)
        step = sign * (own - boundary).abs().clamp_min(MIN_EVIDENCE_STEP)
        evidence = torch.zeros_like(condition.evidence).scatter(1, index, step)
        towards = torch.zeros_like(condition.evidence).scatter(1, index, sign)
        return EditDirection(_step_to_plane(sign * weight[target], own_logit), evidence, towards)
    rival = condition.evidence.scatter(1, index, -torch.inf).argmax(1, keepdim=True)
    step = ((condition.evidence.gather(1, rival) - own) / 2).clamp_min(MIN_EVIDENCE_STEP)
    evidence = torch.zeros_like(condition.evidence).scatter(1, index, step).scatter(1, rival, -step)
    towards = torch.zeros_like(evidence).scatter(1, index, 1.0).scatter(1, rival, -1.0)
    latent = _step_to_plane(weight[target] - weight[rival[:, 0]], logits.gather(1, rival) - own_logit)
    return EditDirection(latent, evidence, towards)


def evidence_boundary(rule: DecisionRule, target: int) -> float:
    """Return the evidence (see ``clipped_log_odds``) from which a class is said; 0 is a probability of one half."""
    threshold = rule.boundary(target)
    return 0.0 if threshold is None else float(clipped_log_odds(torch.tensor([[threshold]])))


def _step_to_plane(normal: Tensor, margin: Tensor) -> Tensor:
    """Step along ``normal (b, latent)`` to the plane at ``margin (b, 1)`` logits, at least ``MIN_LATENT_STEP`` long."""
    length = normal.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return (margin.abs() / length).clamp_min(MIN_LATENT_STEP) * normal / length


def edit_velocity(model: DiffusionAutoencoder, present: Conditioning, moved: Conditioning, weight: Tensor) -> Velocity:
    """Return the field that renders the moved condition, with the change of evidence exaggerated.

    ``v(moved) + weight (v(moved evidence alone) - v(present evidence alone))``, in one call of the network. Without
    weight: ``v(moved)`` alone, a third of the work.

    Args:
        model: The agent's networks.
        present: Condition of the image as it is.
        moved: Condition of the image as it should become.
        weight: ``(b,)``; 0: no exaggeration.
    """
    if not weight.any():
        return lambda x, t: model.velocity(x, t, moved)
    conditions = moved + moved.withheld() + present.withheld()

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        whole, towards, away = model.velocity(x.repeat(3, *[1] * (x.ndim - 1)), t.repeat(3), conditions).chunk(3)
        return whole + expand(weight, x) * (towards - away)

    return velocity
