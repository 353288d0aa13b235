"""A picture of example counterfactuals, drawn while an agent is trained: held-out images as they are and as changed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.search import Search
from otherwise.agent.editing.search_result import SearchResult
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.images.atomic import atomic_path

MOST = 6
"""Examples in a picture."""


def write_examples(agent: Agent, classifier: BlackBox, images: np.ndarray, path: Path, seconds: float) -> int:
    """Search counterfactuals of the first images and draw them, a row each: image, counterfactual, difference.

    Args:
        agent: As trained so far.
        classifier: The black box.
        images: ``(n, channels, *size)`` in [0, 1], unseen in training; of a volume the middle slice is drawn.
        path: PNG to write; an older one is replaced.
        seconds: No further search is begun after so long; one is done in any case.

    Returns:
        How many examples flip the black box.

    Raises:
        WriteError: if the place cannot be written.
    """
    found: list[SearchResult] = []
    started = time.monotonic()
    for image in images[:MOST]:
        if found and time.monotonic() - started > seconds:
            break
        search = Search(agent, CountingBlackBox(classifier), SearchSettings(alternatives=0))
        found.append(search.run(np.asarray(image, np.float32)))
    _draw(found, classifier, path)
    return sum(result.valid for result in found)


def _draw(found: list[SearchResult], classifier: BlackBox, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 2.4 * len(found)), layout="constrained")
    rule = DecisionRule.of(classifier)
    for row, result in zip(figure.subplots(len(found), 3, squeeze=False), found, strict=True):
        before, after = (_plane(candidate.image) for candidate in (result.original, result.best))
        answers = (result.original.probabilities, result.best.probabilities)
        titles = [f"{classifier.classes[rule.label(each)]} {each[rule.label(each)]:.2f}" for each in answers]
        titles[1] += "" if result.valid else ", does not flip"
        for axis, plane, title in zip(row, (before, after), titles, strict=False):
            axis.imshow(plane, cmap="gray", vmin=0, vmax=1)
            axis.set_title(title, fontsize=9)
        most = max(float(np.abs(after - before).max()), 1e-6)
        row[2].imshow(after - before, cmap="PuOr_r", vmin=-most, vmax=most)
        row[2].set_title(f"difference, at most {most:.2f}", fontsize=9)
        for axis in row:
            axis.set_axis_off()
    with atomic_path(path) as draft:
        figure.savefig(draft, format="png", dpi=80)


def _plane(image: np.ndarray) -> np.ndarray:
    """Return the mean over channels of an image, of a volume its middle slice, with rows first."""
    mean = image.mean(axis=0)
    return np.asarray((mean if mean.ndim == 2 else mean[..., mean.shape[2] // 2]).T)
