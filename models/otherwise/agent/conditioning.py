"""The condition of the denoiser: the semantic latent of an image, and the black box's answer to it.

``latent`` comes from the encoder; ``evidence`` is the black box's own answer as clipped log-odds. During training the
latent is withheld for a share of the images, so that the denoiser learns what the answer alone says about an image. The
difference between its fields for two answers then points from one class to the other (classifier-free guidance, Ho &
Salimans, arXiv 2207.12598).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_LOG_ODDS = 4.0
"""Log-odds are clipped here (probability 0.982)."""


@dataclass(frozen=True)
class Conditioning:
    """Condition of the denoiser for a batch of images.

    Attributes:
        latent: ``(b, latent)``, the encoder's output.
        evidence: ``(b, classes)`` in [-1, 1], the black box's answer; see ``clipped_log_odds``.
        known: ``(b, 1)``, 1 where the latent is given and 0 where it is withheld.
    """

    latent: Tensor
    evidence: Tensor
    known: Tensor

    @classmethod
    def of(cls, latent: Tensor, evidence: Tensor) -> Conditioning:
        """Return a condition with its latent given."""
        return cls(latent, evidence, torch.ones_like(latent[:, :1]))

    def withheld(self, known: Tensor | None = None) -> Conditioning:
        """Return a copy with the latent withheld where ``known (b, 1)`` is 0; without ``known``: everywhere."""
        return Conditioning(self.latent, self.evidence, torch.zeros_like(self.known) if known is None else known)

    def expand(self, count: int) -> Conditioning:
        """Repeat a condition of one image ``count`` times."""
        return Conditioning(*(part.expand(count, -1) for part in (self.latent, self.evidence, self.known)))

    def repeat(self, count: int) -> Conditioning:
        """Repeat a batch ``count`` times, one after the other."""
        return Conditioning(*(part.repeat(count, 1) for part in (self.latent, self.evidence, self.known)))

    def moved(self, latent: Tensor, evidence: Tensor) -> Conditioning:
        """Return a copy with ``latent`` and ``evidence`` added; evidence stays in [-1, 1]."""
        return Conditioning(self.latent + latent, (self.evidence + evidence).clamp(-1, 1), self.known)

    def tensor(self) -> Tensor:
        """Return the input of the denoiser's embedding, ``(b, latent + classes + 1)``."""
        return torch.cat([self.latent * self.known, self.evidence, self.known], dim=1)

    def __add__(self, other: Conditioning) -> Conditioning:
        """Concatenate two batches."""
        pairs = ((self.latent, other.latent), (self.evidence, other.evidence), (self.known, other.known))
        return Conditioning(*(torch.cat(pair) for pair in pairs))


def clipped_log_odds(probabilities: Tensor) -> Tensor:
    """Return the log-odds of each class, clipped and scaled to [-1, 1].

    Args:
        probabilities: ``(b, classes)`` of the black box.
    """
    return probabilities.float().logit(eps=1e-6).clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS) / MAX_LOG_ODDS
