"""How long an explanation takes beside occlusion and beside full inversion, in one run on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.search import Progress
from otherwise.attribution.occlusion import occlude
from otherwise.blackbox.checked import CountingBlackBox, RememberingBlackBox
from otherwise.blackbox.model_card import machine_class
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.methods.own_search import search_with_effect
from otherwise.evaluation.benchmark.methods.straight_move import straight_move
from otherwise.evaluation.costs import timed


class Heavy:
    """A black box with the answers of another, and the cost of DenseNet-121 (Huang et al., arXiv 1608.06993).

    What an explanation costs depends on what a question costs, and the shipped classifiers are small.

    Args:
        inner: Answers.
        device: Where the large network runs beside it.
    """

    def __init__(self, inner: BlackBox, device: torch.device) -> None:
        from monai.networks.nets import DenseNet121

        self.inner, self.device = inner, device
        self.name, self.version, self.classes = inner.name, inner.version, inner.classes
        self.inputs, self.multi_label = inner.inputs, inner.multi_label
        spec = inner.inputs
        self.network = DenseNet121(spec.spatial_dims, spec.channels, len(inner.classes)).eval().to(device)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """See ``BlackBox.predict``."""
        with torch.inference_mode():
            self.network(torch.from_numpy(images).to(self.device)).cpu()
        return self.inner.predict(images)


@dataclass(frozen=True)
class Speed:
    """Medians over images of seconds, and of ratios of pairs on the same image; below one, ours is faster.

    Attributes:
        images: How many.
        machine: Class of the machine.
        threads: Of PyTorch.
        ours: Counterfactual and effect map, black box of DenseNet-121's size.
        occlusion: Captum's, window an eighth and stride a sixteenth of each side, the same black box.
        to_occlusion: Ratio of both.
        ours_small: Counterfactual and effect map, the black box as it is.
        occlusion_small: Occlusion, the black box as it is.
        to_occlusion_small: Ratio of both.
        inversion: A straight move with full inversion, 100 steps each way, the black box as it is.
        to_inversion: Ratio of our counterfactual with its effect map to it.
    """

    images: int
    machine: str
    threads: int
    ours: float
    occlusion: float
    to_occlusion: float
    ours_small: float
    occlusion_small: float
    to_occlusion_small: float
    inversion: float
    to_inversion: float

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_speed(
    agent: Agent, classifier: BlackBox, images: Sequence[np.ndarray], progress: Progress = lambda stage, part: None
) -> Speed:
    """Measure the methods in turn on each image, so that other load affects all alike.

    Args:
        agent: The agent.
        classifier: Its black box.
        images: ``(channels, *size)`` in [0, 1]; the first warms up and does not count.
        progress: Called with the share done.
    """
    heavy = Heavy(classifier, agent.device)
    rows = []
    for number, image in enumerate(images, start=1):
        label = int(classifier.predict(image[None])[0].argmax())
        rows.append(
            [
                timed(work)[1]
                for work in (
                    partial(search_with_effect, agent, RememberingBlackBox(heavy), image),
                    partial(_occlude, heavy, image, label),
                    partial(search_with_effect, agent, RememberingBlackBox(classifier), image),
                    partial(_occlude, classifier, image, label),
                    partial(straight_move, agent, CountingBlackBox(classifier), image),
                )
            ]
        )
        progress("time", number / len(images))
    ours, covered, small, covered_small, inverted = np.array(rows[1:]).T

    def median(values: np.ndarray) -> float:
        return round(float(np.median(values)), 3)

    return Speed(
        images=len(rows) - 1,
        machine=machine_class(str(agent.device)),
        threads=torch.get_num_threads(),
        ours=median(ours),
        occlusion=median(covered),
        to_occlusion=median(ours / covered),
        ours_small=median(small),
        occlusion_small=median(covered_small),
        to_occlusion_small=median(small / covered_small),
        inversion=median(inverted),
        to_inversion=median(small / inverted),
    )


def _occlude(classifier: BlackBox, image: np.ndarray, label: int) -> None:
    windows = tuple(max(2, edge // 8) for edge in image.shape[1:])
    strides = tuple(max(1, edge // 16) for edge in image.shape[1:])
    occlude(classifier, image, label, windows, strides)
