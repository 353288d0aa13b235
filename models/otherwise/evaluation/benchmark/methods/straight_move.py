"""A straight move across the student's boundary after full inversion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.direction import direction_to_boundary
from otherwise.agent.editing.rendering import as_images
from otherwise.agent.flow import invert, render
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.evaluation.benchmark.methods.editing import FULL_STEPS, encoded, first_that_flips, velocity_of
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod, ReferenceImages


def straight_move(
    agent: Agent,
    classifier: CountingBlackBox,
    image: np.ndarray,
    strengths: Sequence[float] = (1.0, 1.5, 2.0, 3.0, 4.0),
    steps: int = FULL_STEPS,
) -> Edit:
    """Invert fully, move z straight across the student's boundary, render: the first strength that flips.

    As MoPaDi (Zigutyte et al., bioRxiv 2024.10.29.620913) and Atad et al. (arXiv 2408.01571) do: neither guidance nor
    partial inversion, and the autoencoder's own error stays in the image.
    """
    pixels, condition, target = encoded(agent, classifier, image)
    direction = direction_to_boundary(
        agent.model, condition, torch.tensor([target], device=agent.device), classifier.multi_label
    )
    with torch.inference_mode():
        noise = invert(velocity_of(agent, condition), 2 * pixels - 1, 1.0, steps)
        strength = torch.tensor(strengths, device=agent.device, dtype=noise.dtype)
        moved = direction.applied(condition.expand(len(strengths)), strength)
        made = as_images(render(velocity_of(agent, moved), noise.expand(len(strengths), *noise.shape[1:]), 1.0, steps))
    return first_that_flips(classifier, made, target)


def straight_moves(references: ReferenceImages) -> tuple[EditMethod, ...]:
    """Return the method."""
    source = "MoPaDi, bioRxiv 2024.10.29.620913; Atad et al., arXiv 2408.01571"
    return (EditMethod("straight-move", "Straight move, full inversion", source, straight_move, slow=True),)
