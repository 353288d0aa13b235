"""How strongly each voxel of a change moves the student, a differentiable likeness of the black box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otherwise.agent.bundle import Agent
from otherwise.agent.flow import expand

STEPS = 4
"""Number of points on the path between the two images. Maps from eight points are no better."""
TOGETHER = 2**18
"""Maximum number of voxels in one pass of the student, which bounds memory."""


@dataclass(frozen=True)
class StudentSensitivity:
    """The student's mean gradient between two images, see ``influence.effect.Sensitivity``.

    The path and its mean are those of integrated gradients (Sundararajan et al., arXiv 1703.01365), with the
    counterfactual at its end. No gradient of the black box is needed.

    Attributes:
        agent: Gives encoder and student.
        target: Index of the target class.
        multi_label: See ``BlackBox.multi_label``.
    """

    agent: Agent
    target: int
    multi_label: bool = False

    def __call__(self, image: np.ndarray, counterfactual: np.ndarray) -> np.ndarray:
        """Return the size of the mean gradient of the target's log-odds at each voxel.

        Args:
            image: ``(channels, *size)`` float32 in [0, 1].
            counterfactual: Likewise.

        Returns:
            ``size`` float32, not negative: of several channels the greatest.
        """
        begin, end = (torch.from_numpy(each).to(self.agent.device) for each in (image, counterfactual))
        shares = (torch.arange(STEPS, device=begin.device, dtype=begin.dtype) + 0.5) / STEPS
        total = torch.zeros_like(begin)
        for share in shares.split(max(1, TOGETHER // image.size)):
            along = begin + expand(share, begin[None]) * (end - begin)
            total += self.agent.model.student_gradient(along, self._log_odds).sum(dim=0)
        return np.asarray((total / STEPS).abs().amax(dim=0).cpu().numpy(), dtype=np.float32)

    def _log_odds(self, logits: Tensor) -> Tensor:
        """Return the target's log-odds ``(b,)`` from logits ``(b, classes)``."""
        own = logits[:, self.target]
        if self.multi_label:
            return own
        others = [index for index in range(logits.shape[1]) if index != self.target]
        return own - logits[:, others].logsumexp(dim=1)
