"""An agent of a model that says a value, for a question at any cut.

The agent was taught at the model's reference: its evidence and its student's logits are log-odds there. At another cut
both are the same but for a constant, so nothing has to be learned again.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import MAX_LOG_ODDS, Conditioning
from otherwise.agent.networks import DiffusionAutoencoder


class ShiftedAutoencoder(DiffusionAutoencoder):
    """An agent's networks, of which evidence and student speak of another cut.

    Args:
        model: The networks, of two classes.
        shift: Log-odds of the second class at the cut, less those at the model's reference.
    """

    def __init__(self, model: DiffusionAutoencoder, shift: float) -> None:
        nn.Module.__init__(self)
        self.architecture = model.architecture
        self.encoder, self.denoiser, self.student = model.encoder, model.denoiser, model.student
        self.taught, self.shift = model, shift
        self.train(model.training)

    def velocity(self, noised: Tensor, time: Tensor, condition: Conditioning) -> Tensor:
        """Return the velocity for evidence at the cut; see ``DiffusionAutoencoder.velocity``."""
        moved = self._apart(condition.evidence, -self.shift / MAX_LOG_ODDS)
        return self.taught.velocity(noised, time, condition.moved(torch.zeros_like(condition.latent), moved))

    def classify(self, latent: Tensor) -> Tensor:
        """Return the student's logits at the cut, ``(b, 2)``."""
        logits = self.taught.classify(latent)
        return logits + self._apart(logits, self.shift / 2)

    def _apart(self, like: Tensor, distance: float) -> Tensor:
        """Return ``(b, 2)``: the second class moved by ``distance``, the first one by as much the other way."""
        return torch.tensor([-distance, distance]).to(like).expand_as(like)


def agent_at(agent: Agent, shift: float) -> Agent:
    """Return the agent for a cut; see ``ShiftedAutoencoder``."""
    return replace(agent, model=ShiftedAutoencoder(agent.model, shift))
