"""The agent's condition of an image, and the choice among rendered images, which the baselines share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.flow import Velocity
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.methods.method import Edit

FULL_STEPS = 100
"""Solver steps each way of a full inversion, as MoPaDi and Atad et al. take them."""


def encoded(agent: Agent, classifier: BlackBox, image: np.ndarray) -> tuple[Tensor, Conditioning, int]:
    """Return the pixels ``(1, channels, *size)``, their condition, and the index of the nearest other class."""
    answer = classifier.predict(image[None])
    pixels = torch.from_numpy(image)[None].to(agent.device)
    with torch.inference_mode():
        evidence = torch.from_numpy(np.asarray(answer, np.float32)).to(pixels)
        condition = Conditioning.of(agent.model.encode(pixels), clipped_log_odds(evidence))
    return pixels, condition, DecisionRule.of(classifier).nearest_other(answer[0])


def velocity_of(agent: Agent, condition: Conditioning) -> Velocity:
    """Return the agent's velocity field under a condition."""
    return lambda x, t: agent.model.velocity(x, t, condition)


def first_that_flips(classifier: BlackBox, images: np.ndarray, target: int) -> Edit:
    """Return the first image that flips the black box; without any, the one that comes nearest."""
    answers = classifier.predict(images)
    flips = DecisionRule.of(classifier).predicts(answers, target)
    chosen = int(flips.argmax()) if flips.any() else int(answers[:, target].argmax())
    return Edit(images[chosen], target, bool(flips[chosen]))


def is_valid(classifier: BlackBox, image: np.ndarray, target: int) -> bool:
    """Return whether the black box says the target."""
    return bool(DecisionRule.of(classifier).predicts(classifier.predict(image[None])[0], target))
