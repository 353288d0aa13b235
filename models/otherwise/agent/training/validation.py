"""Validation of an agent on held-out images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.rendering import as_images
from otherwise.agent.editing.search import Progress, Search
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.agent.flow import invert, render
from otherwise.agent.training.distillation import ask, decisions
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox

FEWEST_SEARCHED = 4
"""Images that are searched however little time there is."""


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class.

    Attributes:
        name: Of the class.
        images: How many images the black box calls so.
        agreement: Share of these that the student calls so, too; None without such images.
        searched_from, valid_from: Images called so that were searched for a change, and the share that flips.
        searched_to, valid_to: The same for images that were to become this class.
    """

    name: str
    images: int
    agreement: float | None
    searched_from: int
    valid_from: float | None
    searched_to: int
    valid_to: float | None

    def to_dict(self) -> dict[str, float]:
        """Return values by name, without those that could not be measured."""
        values = {
            f"images_{self.name}": self.images,
            f"agreement_{self.name}": self.agreement,
            f"validity_from_{self.name}": self.valid_from,
            f"validity_to_{self.name}": self.valid_to,
        }
        return {key: round(float(value), 5) for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class Figures:
    """Validation figures.

    Attributes:
        images: How many images were looked at.
        reconstruction_l1: Mean absolute error of inverting to half depth and rendering again, share of the window.
        agreement: Share of images on which student and black box decide alike.
        validity: Share of the searched images for which the search flips the black box.
        changed_l1: Mean absolute change of the valid counterfactuals, share of the window; None if none is valid.
        median_queries: Images that the black box was asked about per search.
        searched: How many of the images were searched; fewer where the time was bounded.
        convinced: Share of the searched images for which the black box is convinced, see ``Calibration.goal``.
        balanced_agreement: Mean over the classes of the share of their images on which both decide alike.
        always_agreement: Agreement of a student that always gives the commonest answer.
        always_balanced: Its balanced agreement.
        classes: Figures of each class.
    """

    images: int
    reconstruction_l1: float
    agreement: float
    validity: float
    changed_l1: float | None
    median_queries: float
    searched: int = 0
    convinced: float | None = None
    balanced_agreement: float | None = None
    always_agreement: float | None = None
    always_balanced: float | None = None
    classes: tuple[ClassFigures, ...] = ()

    def to_dict(self) -> dict[str, float]:
        """Return rounded values by name, without those that could not be measured."""
        own = {key: value for key, value in asdict(self).items() if key != "classes" and value is not None}
        found = {key: round(float(value), 5) for key, value in own.items()}
        for each in self.classes:
            found |= each.to_dict()
        return found


@dataclass(frozen=True)
class Agreement:
    """How far the student decides as the black box does; see ``Figures``."""

    share: float
    balanced: float
    always: float
    always_balanced: float
    by_class: tuple[float | None, ...]
    images: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """Return all of it in words."""
        return (
            f"held-out agreement {self.share:.3f} (always the commoner answer: {self.always:.3f}), "
            f"balanced {self.balanced:.3f} ({self.always_balanced:.3f})"
        )


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


def agreement(agent: Agent, classifier: BlackBox, images: np.ndarray) -> Agreement:
    """Compare the decisions of student and black box on ``images (n, channels, *size)``."""
    parts = []
    with torch.inference_mode():
        for batch in np.array_split(images, max(1, len(images) // 32)):
            x = torch.from_numpy(np.asarray(batch, np.float32)).to(agent.device)
            student = agent.model.predict(x, classifier.multi_label)
            both = (student, ask(classifier, x))
            parts.append([decisions(one, classifier.multi_label).cpu().numpy() > 0.5 for one in both])
    ours, theirs = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    return agreement_of(ours, theirs, classifier.multi_label)


def agreement_of(ours: np.ndarray, theirs: np.ndarray, multi_label: bool) -> Agreement:
    """Compare decisions ``(n, classes)`` bool of a student with the black box's.

    Of several labels the balanced agreement is the mean over those with both answers of the mean of both recalls.
    """
    by_class = [float(ours[theirs[:, n], n].mean()) if theirs[:, n].any() else None for n in range(theirs.shape[1])]
    if multi_label:
        both = [n for n in range(theirs.shape[1]) if 0 < theirs[:, n].sum() < len(theirs)]
        balanced = [(ours[theirs[:, n], n].mean() + (~ours[~theirs[:, n], n]).mean()) / 2 for n in both]
        trivial = 0.5
    else:
        balanced = [value for value in by_class if value is not None]
        trivial = 1 / max(1, len(balanced))
    share = float((ours == theirs).all(axis=1).mean())
    _, counts = np.unique(theirs, axis=0, return_counts=True)
    return Agreement(
        share,
        float(np.mean(balanced)) if balanced else share,
        float(counts.max() / len(theirs)),
        trivial,
        tuple(by_class),
        tuple(int(count) for count in theirs.sum(axis=0)),
    )


def validate(
    agent: Agent,
    classifier: BlackBox,
    images: np.ndarray,
    settings: SearchSettings | None = None,
    progress: Progress = lambda stage, fraction: None,
    seconds: float | None = None,
    most: int | None = None,
) -> Figures:
    """Measure reconstruction, agreement and validity.

    Args:
        agent: The agent.
        classifier: The black box.
        images: ``(n, channels, *size)`` float32 in [0, 1], unseen in training.
        settings: How hard to search.
        progress: Called with the share of the images searched.
        seconds: Time for searching: no further image is begun after it, but ``FEWEST_SEARCHED`` are; None: any time.
        most: How many images are searched at most; None: all.
    """
    settings = settings or SearchSettings(alternatives=0)
    rule = DecisionRule.of(classifier)
    queries, changes, searched, convinced = [], [], [], []
    started = time.monotonic()
    for number, image in enumerate(images[:most]):
        if seconds is not None and number >= FEWEST_SEARCHED and time.monotonic() - started > seconds:
            break
        counted = CountingBlackBox(classifier)
        result = Search(agent, counted, settings).run(np.asarray(image, np.float32))
        searched.append((rule.predicted(result.original.probabilities), result.target, result.valid))
        queries.append(counted.queries)
        convinced.append(result.valid and bool(result.best.probabilities[result.target] >= result.goal))
        if result.valid:
            changes.append(float(np.abs(result.best.image - image).mean()))
        progress("validate", (number + 1) / len(images))
    agreed = agreement(agent, classifier, images)
    return Figures(
        len(images),
        reconstruction_error(agent, classifier, images),
        agreed.share,
        float(np.mean([valid for _, _, valid in searched])),
        float(np.mean(changes)) if changes else None,
        float(np.median(queries)),
        len(searched),
        float(np.mean(convinced)),
        agreed.balanced,
        agreed.always,
        agreed.always_balanced,
        tuple(_of_class(n, name, agreed, searched) for n, name in enumerate(classifier.classes)),
    )


def _of_class(
    index: int, name: str, agreed: Agreement, searched: Sequence[tuple[np.ndarray, int, bool]]
) -> ClassFigures:
    """Return the figures of a class; ``searched``: what each image was called, its target, and whether it flipped."""
    out = [valid for predicted, _, valid in searched if predicted[index]]
    into = [valid for _, target, valid in searched if target == index]
    return ClassFigures(
        name,
        agreed.images[index],
        agreed.by_class[index],
        len(out),
        float(np.mean(out)) if out else None,
        len(into),
        float(np.mean(into)) if into else None,
    )
