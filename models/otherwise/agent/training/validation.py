"""Validation of an agent on held-out images."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.rendering import as_images
from otherwise.agent.editing.search import Progress, Search, SearchSettings
from otherwise.agent.flow import invert, render
from otherwise.agent.training.distillation import ask, decisions
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import BlackBox


@dataclass(frozen=True)
class Figures:
    """Validation figures.

    Attributes:
        images: How many images were looked at.
        reconstruction_l1: Mean absolute error of inverting to half depth and rendering again, share of the window.
        agreement: Share of images on which student and black box decide alike.
        validity: Share of images for which the search flips the black box.
        changed_l1: Mean absolute change of the valid counterfactuals, share of the window; None if none is valid.
        median_queries: Images that the black box was asked about per search.
    """

    images: int
    reconstruction_l1: float
    agreement: float
    validity: float
    changed_l1: float | None
    median_queries: float

    def to_dict(self) -> dict[str, float]:
        """Return rounded values by name, without those that could not be measured."""
        return {key: round(float(value), 5) for key, value in asdict(self).items() if value is not None}


def reconstruction_error(
    agent: Agent, classifier: BlackBox, images: np.ndarray, depth: float = 0.5, steps: int = 4
) -> float:
    """Return the mean absolute error of ``images (n, c, *size)`` after inversion to ``depth`` and rendering."""
    made = reconstructions(agent, classifier, images, depth, steps)
    return float(np.abs(made - images).mean())


def reconstructions(
    agent: Agent, classifier: BlackBox, images: np.ndarray, depth: float = 0.5, steps: int = 4
) -> np.ndarray:
    """Return ``images (n, c, *size)`` in [0, 1] after inversion to ``depth`` and rendering, without any edit."""
    made = []
    with torch.inference_mode():
        for batch in np.array_split(images, max(1, len(images) // 32)):
            x = torch.from_numpy(np.asarray(batch, np.float32)).to(agent.device)
            condition = Conditioning.of(agent.model.encode(x), clipped_log_odds(ask(classifier, x)))

            def velocity(y: torch.Tensor, t: torch.Tensor, condition: Conditioning = condition) -> torch.Tensor:
                return agent.model.velocity(y, t, condition)

            noise = invert(velocity, 2 * x - 1, depth, steps)
            made.append(as_images(render(velocity, noise, depth, steps)))
    return np.concatenate(made)


def agreement(agent: Agent, classifier: BlackBox, images: np.ndarray) -> float:
    """Share of images on which the student decides as the black box does."""
    same = 0.0
    with torch.inference_mode():
        for batch in np.array_split(images, max(1, len(images) // 32)):
            x = torch.from_numpy(batch).to(agent.device)
            student = agent.model.predict(x, classifier.multi_label)
            equal = decisions(student, classifier.multi_label) == decisions(ask(classifier, x), classifier.multi_label)
            same += float(equal.all(dim=1).sum())
    return same / len(images)


def validate(
    agent: Agent,
    classifier: BlackBox,
    images: np.ndarray,
    settings: SearchSettings | None = None,
    progress: Progress = lambda stage, fraction: None,
) -> Figures:
    """Measure reconstruction, agreement and validity.

    Args:
        agent: The agent.
        classifier: The black box.
        images: ``(n, channels, *size)`` float32 in [0, 1], unseen in training.
        settings: How hard to search.
        progress: Called with the share of the images searched.
    """
    settings = settings or SearchSettings(alternatives=0)
    queries, changes = [], []
    valid = 0
    for number, image in enumerate(images):
        counted = CountingBlackBox(classifier)
        result = Search(agent, counted, settings).run(np.asarray(image, np.float32))
        valid += result.valid
        queries.append(counted.queries)
        if result.valid:
            changes.append(float(np.abs(result.best.image - image).mean()))
        progress("validate", (number + 1) / len(images))
    return Figures(
        len(images),
        reconstruction_error(agent, classifier, images),
        agreement(agent, classifier, images),
        valid / len(images),
        float(np.mean(changes)) if changes else None,
        float(np.median(queries)),
    )
