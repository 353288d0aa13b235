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
AT_ONCE = 8
"""Images whose errors are measured at once."""
LOW = 0.05
"""A realism below this is worth a warning."""


def denoising_errors(agent: Agent, images: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the mean squared error of the predicted velocity, ``(n,)``; the black box's answers are the condition.

    Args:
        agent: The agent.
        images: ``(n, channels, *size)`` float32 in [0, 1].
        answers: ``(n, classes)`` of the black box.
    """
    parts = range(0, len(images), AT_ONCE)
    errors = [_errors(agent, images[first : first + AT_ONCE], answers[first : first + AT_ONCE]) for first in parts]
    return np.concatenate([np.zeros(0), *errors])


def _errors(agent: Agent, images: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the errors of a few images, all times in one call of the network."""
    generator = torch.Generator().manual_seed(SEED)
    x = 2 * torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(agent.device) - 1
    evidence = clipped_log_odds(torch.from_numpy(np.asarray(answers, np.float32)).to(agent.device))
    latent = torch.zeros(len(x), agent.model.architecture.latent).to(x)
    condition = Conditioning.of(latent, evidence).withheld()
    noise = torch.cat([torch.randn(1, *x.shape[1:], generator=generator).to(x).expand_as(x) for _ in TIMES])
    times = torch.tensor(TIMES).to(x).repeat_interleave(len(x))
    every = x.repeat(len(TIMES), *[1] * (x.ndim - 1))
    with torch.inference_mode():
        velocity = agent.model.velocity(noised(every, noise, times), times, condition.repeat(len(TIMES)))
    errors = (velocity - (noise - every)).square().flatten(1).mean(dim=1).reshape(len(TIMES), -1).mean(dim=0)
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
