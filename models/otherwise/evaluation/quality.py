"""How good an agent is on phantoms that neither it nor its classifier has seen."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy.stats import binomtest

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.search import Progress
from otherwise.agent.training.validation import validate
from otherwise.blackbox.model_card import machine_class
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import show
from otherwise.errors import ClassifierError
from otherwise.explain.explainer import Explainer
from otherwise.explain.notes import CARRIED
from otherwise.phantoms.mammogram import MammogramSettings, mammograms


@dataclass(frozen=True)
class Quality:
    """Figures on ``images`` unseen phantoms of series ``seed``.

    Attributes:
        images: How many.
        seed: Which.
        validity: Share of images for which a counterfactual was found that flips the black box.
        validity_low: Lower end of its 95 % interval (Wilson, JASA 22 (1927) 209-212).
        agreement: Share of images on which student and black box decide alike.
        reconstruction_l1: Mean absolute error of rendering without any edit, share of the intensity window.
        changed_l1: Mean absolute change of the valid counterfactuals, share of the intensity window.
        median_queries: Images that the black box was asked about per search.
        seconds: For everything.
        classifier: Version of the black box.
        agent: Version of the agent.
        machine: Class of machine.
        threads: CPU threads.
    """

    images: int
    seed: int
    validity: float
    validity_low: float
    agreement: float
    reconstruction_l1: float
    changed_l1: float | None
    median_queries: float
    seconds: float
    classifier: str
    agent: str
    machine: str
    threads: int

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_quality(
    agent: Agent,
    classifier: BlackBox,
    count: int,
    seed: int,
    progress: Progress = lambda stage, fraction: None,
) -> Quality:
    """Measure an agent on mammogram phantoms.

    Args:
        agent: The agent.
        classifier: The black box that it explains; two-dimensional.
        count: How many phantoms.
        seed: Of their series; must be another than that of any training images.
        progress: Called with the share done.

    Raises:
        ClassifierError: if the classifier is not two-dimensional.
    """
    wanted = classifier.inputs
    if wanted.spatial_dims != 2:
        raise ClassifierError("The phantoms of this benchmark are 2-D and the classifier is 3-D.", "Give a 2-D one.")
    begun = time.perf_counter()
    images = np.stack([show(phantom.image, wanted) for phantom in mammograms(seed, count, MammogramSettings())])
    figures = validate(agent, classifier, images, progress=progress)
    interval = binomtest(round(figures.validity * count), count).proportion_ci(method="wilson")
    return Quality(
        images=count,
        seed=seed,
        validity=figures.validity,
        validity_low=round(float(interval.low), 4),
        agreement=figures.agreement,
        reconstruction_l1=round(figures.reconstruction_l1, 5),
        changed_l1=None if figures.changed_l1 is None else round(figures.changed_l1, 5),
        median_queries=figures.median_queries,
        seconds=round(time.perf_counter() - begun, 1),
        classifier=classifier.version,
        agent=agent.version,
        machine=machine_class(str(agent.device)),
        threads=torch.get_num_threads(),
    )


@dataclass(frozen=True)
class NativeValidity:
    """How often a classifier of the whole reduced image still flips at the image's own resolution.

    Attributes:
        images: How many unseen phantoms.
        seed: Of their series.
        pixels: Their size along i and j.
        validity: Share whose counterfactual, on the image's own grid, flips the black box.
        validity_low: Lower end of its 95 % interval (Wilson).
        lost: Share for which something flips on the classifier's grid, but nothing once carried to the image.
        seconds: For everything.
    """

    images: int
    seed: int
    pixels: tuple[int, int]
    validity: float
    validity_low: float
    lost: float
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_native(
    explainer: Explainer,
    count: int,
    seed: int,
    pixels: tuple[int, int],
    progress: Progress = lambda stage, fraction: None,
) -> NativeValidity:
    """Explain mammogram phantoms that are finer than the classifier's grid.

    Args:
        explainer: Of a classifier of whole images.
        count: How many phantoms.
        seed: Of their series.
        pixels: Their size.
        progress: Called with the share done.

    Raises:
        ImageError: if phantoms cannot be drawn so, or do not suit the classifier.
    """
    begun = time.perf_counter()
    valid, lost = 0, 0
    for number, phantom in enumerate(mammograms(seed, count, MammogramSettings(size=pixels)), start=1):
        explanation = explainer.explain(phantom.image)
        valid += explanation.counterfactual.valid
        lost += not explanation.counterfactual.valid and any(CARRIED in note for note in explanation.notes)
        progress("explain", number / count)
    interval = binomtest(valid, count).proportion_ci(method="wilson")
    return NativeValidity(
        images=count,
        seed=seed,
        pixels=pixels,
        validity=round(valid / count, 4),
        validity_low=round(float(interval.low), 4),
        lost=round(lost / count, 4),
        seconds=round(time.perf_counter() - begun, 1),
    )
