"""The code of an image: what it shows, and what the black box says of it.

Both steer the denoiser. ``latent`` is the semantic latent of the encoder; ``evidence`` is the black box's own answer
as clipped log-odds. During training the latent is withheld now and then, so that the denoiser learns what the answer
alone says about an image; the difference between its fields for two answers then points from one class to the other
(classifier-free guidance, Ho & Salimans, arXiv 2207.12598).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from otherwise.agent.flow import Velocity, expand

if TYPE_CHECKING:
    from otherwise.agent.networks import DiffusionAutoencoder

MOST_LOG_ODDS = 4.0
"""Beyond this (probability 0.982) the black box is just sure."""
LEAST_MOVEMENT = 0.25
"""Evidence that strength 1 moves at least: an image on the boundary would not be moved at all."""
LEAST_DISTANCE = 0.5
"""The same in the latent."""


@dataclass(frozen=True)
class Code:
    """What the denoiser is told about a batch of images.

    Attributes:
        latent: ``(b, latent)`` what the image shows.
        evidence: ``(b, classes)`` what the black box says of it, in [-1, 1]; see ``evidence``.
        known: ``(b, 1)`` 1 where the latent is told, 0 where it is withheld.
    """

    latent: Tensor
    evidence: Tensor
    known: Tensor

    @classmethod
    def of(cls, latent: Tensor, evidence: Tensor) -> Code:
        """A code whose latent is told."""
        return cls(latent, evidence, torch.ones_like(latent[:, :1]))

    def withheld(self, known: Tensor | None = None) -> Code:
        """The same with the latent withheld where ``known (b, 1)`` is 0; without ``known``: everywhere."""
        return Code(self.latent, self.evidence, torch.zeros_like(self.known) if known is None else known)

    def expand(self, count: int) -> Code:
        """The same code ``count`` times; the batch must be one."""
        return Code(*(part.expand(count, -1) for part in (self.latent, self.evidence, self.known)))

    def moved(self, way: Way, strength: Tensor) -> Code:
        """The code ``strength (b,)`` times ``way`` further; evidence stays in [-1, 1]."""
        by = strength[:, None]
        return Code(self.latent + by * way.latent, (self.evidence + by * way.evidence).clamp(-1, 1), self.known)

    def tensor(self) -> Tensor:
        """``(b, latent + classes + 1)``: the input of the denoiser's embedding."""
        return torch.cat([self.latent * self.known, self.evidence, self.known], dim=1)

    def __add__(self, other: Code) -> Code:
        """Both batches, one after the other."""
        pairs = ((self.latent, other.latent), (self.evidence, other.evidence), (self.known, other.known))
        return Code(*(torch.cat(pair) for pair in pairs))


@dataclass(frozen=True)
class Way:
    """The shortest way to the boundary between the present class and the target: once reaches it, twice mirrors it.

    Attributes:
        latent: ``(b, latent)``.
        evidence: ``(b, classes)``.
        towards: ``(b, classes)``: 1 for the logit that shall rise, -1 for the one that shall fall.
    """

    latent: Tensor
    evidence: Tensor
    towards: Tensor


def evidence(probabilities: Tensor) -> Tensor:
    """Log-odds of each class, clipped and scaled to [-1, 1].

    Args:
        probabilities: ``(b, classes)`` of the black box.
    """
    return probabilities.float().logit(eps=1e-6).clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS) / MOST_LOG_ODDS


def way_across(model: DiffusionAutoencoder, code: Code, target: Tensor, multi_label: bool) -> Way:
    """The way to the boundary towards ``target``, in the latent and in the evidence.

    The student is linear in the latent, so its boundary between the present class and the target is a plane, and the
    way is along its normal. For a single-label classifier it is the plane between the target and its strongest rival;
    for a multi-label one the plane of the target class alone (towards yes where it says no, and the reverse). The
    black box says on which side an image is: where the student thinks it across already, the way goes on, not back.

    Args:
        model: Gives the student.
        code: Of ``(b)`` images.
        target: ``(b,)`` class indices.
        multi_label: See ``BlackBox.multi_label``.
    """
    weight, logits, index = model.student.weight, model.classify(code.latent), target[:, None]
    own, own_logit = code.evidence.gather(1, index), logits.gather(1, index)
    if multi_label:
        away = torch.where(own > 0, -1.0, 1.0)
        step = away * own.abs().clamp_min(LEAST_MOVEMENT)
        moved = torch.zeros_like(code.evidence).scatter(1, index, step)
        towards = torch.zeros_like(code.evidence).scatter(1, index, away)
        return Way(_along(away * weight[target], own_logit), moved, towards)
    rival = code.evidence.scatter(1, index, -torch.inf).argmax(1, keepdim=True)
    step = ((code.evidence.gather(1, rival) - own) / 2).clamp_min(LEAST_MOVEMENT)
    moved = torch.zeros_like(code.evidence).scatter(1, index, step).scatter(1, rival, -step)
    towards = torch.zeros_like(moved).scatter(1, index, 1.0).scatter(1, rival, -1.0)
    return Way(_along(weight[target] - weight[rival[:, 0]], logits.gather(1, rival) - own_logit), moved, towards)


def _along(normal: Tensor, margin: Tensor) -> Tensor:
    """Along ``normal (b, latent)`` as far as the plane at ``margin (b, 1)`` logits, at least ``LEAST_DISTANCE``."""
    length = normal.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return (margin.abs() / length).clamp_min(LEAST_DISTANCE) * normal / length


def edit_velocity(model: DiffusionAutoencoder, code: Code, moved: Code, weight: Tensor) -> Velocity:
    """The field that renders the moved code, with the change of evidence exaggerated.

    ``v(moved) + weight (v(moved evidence alone) - v(present evidence alone))``, in one call of the network; without
    weight the moved code alone, which is a third of the work.

    Args:
        model: The agent's networks.
        code: Of the image as it is.
        moved: As it should be.
        weight: ``(b,)``; 0: not exaggerated.
    """
    if not weight.any():
        return lambda x, t: model.velocity(x, t, moved)
    every = moved + moved.withheld() + code.withheld()

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        whole, towards, away = model.velocity(x.repeat(3, *[1] * (x.ndim - 1)), t.repeat(3), every).chunk(3)
        return whole + expand(weight, x) * (towards - away)

    return velocity
