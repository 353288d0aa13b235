"""The strength of an edit by flow: the time from which the flow is followed, or how far the evidence goes.

Of classes the strength is a time: the evidence asked for is that of a sure answer, and the flow is followed for longer
until the black box is convinced. Of a value it is a distance: the flow is followed from almost pure noise, and the
evidence moves from the image's own value towards the one that is asked for. Such an edit draws an image of that value.
A partial edit towards an extreme value does not: it can reach the value by spoiling what the model measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from otherwise.agent.conditioning import Conditioning
from otherwise.agent.editing.flow_edit import FlowStrength


class EditScale(Protocol):
    """A scale of strengths."""

    @property
    def limits(self) -> tuple[float, float]:
        """Return the least and greatest strength."""

    @property
    def first(self) -> float:
        """Return the strength tried first."""

    @property
    def steps(self) -> int:
        """Return the number of the solver's steps."""

    @property
    def renewed(self) -> bool:
        """Return whether each step has a noise of its own, see ``flow_edit``."""

    def flow(self, strength: float) -> FlowStrength:
        """Return from which time and with which guidance the flow is followed."""

    def wanted(self, strengths: Sequence[float]) -> Conditioning:
        """Return the conditions ``(n, ...)`` that the edits should have, without the latent."""


@dataclass(frozen=True)
class TimeScale:
    """Strength as the time in (0, 1] from which the flow is followed.

    Attributes:
        target: Condition of one image, the target's.
        guidance: See ``FlowStrength``.
        limits, first, steps, renewed: See ``EditScale``.
    """

    target: Conditioning
    guidance: float
    limits: tuple[float, float]
    first: float
    steps: int
    renewed: bool = False

    def flow(self, strength: float) -> FlowStrength:
        """See ``EditScale``."""
        return FlowStrength(strength, self.guidance)

    def wanted(self, strengths: Sequence[float]) -> Conditioning:
        """See ``EditScale``."""
        return self.target.expand(len(strengths))


@dataclass(frozen=True)
class EvidenceScale:
    """Strength as the share of the way from the image's own evidence to the one that is asked for; 1 is all of it.

    Attributes:
        present: Condition of the image as it is.
        target: Condition of the value that is asked for.
        start: Time from which the flow is followed.
        guidance: See ``FlowStrength``.
        limits, first, steps, renewed: See ``EditScale``. Beyond 1 the evidence goes further than asked.
    """

    present: Conditioning
    target: Conditioning
    start: float
    guidance: float
    steps: int
    limits: tuple[float, float] = (0.1, 2.0)
    first: float = 1.0
    renewed: bool = True

    def flow(self, strength: float) -> FlowStrength:
        """See ``EditScale``."""
        return FlowStrength(self.start, self.guidance)

    def wanted(self, strengths: Sequence[float]) -> Conditioning:
        """See ``EditScale``."""
        share = torch.tensor(strengths).to(self.present.evidence)[:, None]
        way = self.target.evidence - self.present.evidence
        return self.present.expand(len(strengths)).moved(torch.zeros_like(self.present.latent), share * way)


def opposite_evidence(present: torch.Tensor, target: int, multi_label: bool, boundary: float = 0.0) -> torch.Tensor:
    """Return the evidence of an answer that is sure of the target.

    Args:
        present: ``(b, classes)``, see ``clipped_log_odds``.
        target: Index of the class. For a multi-label classifier its sign is turned, and other classes stay as they are.
        multi_label: See ``BlackBox.multi_label``.
        boundary: Evidence from which the target is said.
    """
    if multi_label:
        wanted = present.clone()
        wanted[:, target] = torch.where(present[:, target] > boundary, -1.0, 1.0)
        return wanted
    wanted = torch.full_like(present, -1.0)
    wanted[:, target] = 1.0
    return wanted
