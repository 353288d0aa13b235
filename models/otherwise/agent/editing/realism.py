"""Realism: the similarity of an image to those that the agent was trained on.

The measure is the decoder's denoising error, a bound on the negative log-likelihood up to its weights (Kingma & Gao,
arXiv 2303.00848), at times that show grain, edges and texture. It is calibrated on the agent's own reconstructions.
"""

from __future__ import annotations

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.flow import noised

TIMES = (0.1, 0.25, 0.5)
"""Times of the flow at which images are denoised."""
SEED = 20_240_229
"""Of the noises: the same for every image, so that errors can be compared."""
LOW = 0.05
"""A realism below this is worth a warning."""


def denoising_errors(agent: Agent, images: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the mean squared error of the predicted velocity, ``(n,)``; the black box's answers are the condition.

    Args:
        agent: The agent.
        images: ``(n, channels, *size)`` float32 in [0, 1].
        answers: ``(n, classes)`` of the black box.
    """
    generator = torch.Generator().manual_seed(SEED)
    x = 2 * torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(agent.device) - 1
    evidence = clipped_log_odds(torch.from_numpy(np.asarray(answers, np.float32)).to(agent.device))
    latent = torch.zeros(len(x), agent.model.architecture.latent).to(x)
    condition = Conditioning.of(latent, evidence).withheld()
    errors = torch.zeros(len(x)).to(x)
    with torch.inference_mode():
        for time in TIMES:
            noise = torch.randn(1, *x.shape[1:], generator=generator).to(x).expand_as(x)
            times = torch.full((len(x),), time).to(x)
            velocity = agent.model.velocity(noised(x, noise, times), times, condition).float()
            errors += (velocity - (noise - x)).square().flatten(1).mean(dim=1) / len(TIMES)
    return np.asarray(errors.cpu().numpy(), dtype=np.float64)


def realism(agent: Agent, image: np.ndarray, answer: np.ndarray) -> float | None:
    """Return the share of the agent's reconstructions that it denoises no better than ``image``, in [0, 1].

    Args:
        agent: The agent.
        image: ``(channels, *size)`` float32 in [0, 1].
        answer: ``(classes,)`` of the black box.

    Returns:
        None for an agent that was not calibrated.
    """
    if not agent.calibration.errors:
        return None
    return agent.calibration.realism(float(denoising_errors(agent, image[None], answer[None])[0]))
