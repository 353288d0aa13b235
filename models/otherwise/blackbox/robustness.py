"""Measure how robust a classifier is against noise, streaks, blur and contrast.

A classifier that depends on grain has explanations that show grain. Measured is the share of images whose predicted
class changes when they are disturbed; labels are not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from otherwise.blackbox.decision import MOST_PROBABLE, DecisionRule
from otherwise.blackbox.perturbations import blurred, contrasted, streaky_noise, white_noise

Predict = Callable[[np.ndarray], np.ndarray]
"""``(batch, channels, *size)`` float32 in [0, 1] -> ``(batch, classes)`` probabilities."""
GRAIN_LEVEL = 0.1
"""Noise level of the judgement ``goes_by_grain``, as a share of the range."""
MOST_FLIPS = 0.1
"""A classifier goes by grain if noise of ``GRAIN_LEVEL`` flips its answer on a larger share of the images."""
BATCH = 32


@dataclass(frozen=True)
class Disturbance:
    """One way to disturb an image.

    Attributes:
        kind: ``white noise``, ``streaky noise``, ``blur`` or ``contrast``.
        level: Standard deviation as a share of the range (noise) or in voxels (blur); a factor (contrast).
    """

    kind: str
    level: float

    @property
    def name(self) -> str:
        """Name for machines, such as ``white_noise_0.05``."""
        return f"{self.kind.replace(' ', '_')}_{self.level:g}"

    @property
    def text(self) -> str:
        """Name in a sentence, such as ``white noise of 5 %``."""
        if self.kind == "blur":
            return f"blur of {self.level:g} pixel"
        if self.kind == "contrast":
            return f"contrast of {self.level:g}"
        return f"{self.kind} of {100 * self.level:g} %"

    @property
    def is_noise(self) -> bool:
        """Whether it is random, so that each disturbed copy differs."""
        return "noise" in self.kind

    @property
    def is_grain(self) -> bool:
        """Whether it is noise of at most ``GRAIN_LEVEL``."""
        return self.is_noise and self.level <= GRAIN_LEVEL

    def apply(self, images: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Disturb ``(batch, channels, *size)`` float32 images in [0, 1]."""
        return _KINDS[self.kind](torch.from_numpy(images), self.level, generator).numpy()


_KINDS: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "white noise": white_noise,
    "streaky noise": streaky_noise,
    "blur": lambda images, level, generator: blurred(images, level),
    "contrast": lambda images, level, generator: contrasted(images, level),
}
DISTURBANCES = tuple(
    Disturbance(kind, level)
    for kind, levels in (
        ("white noise", (0.05, 0.1, 0.2)),
        ("streaky noise", (0.05, 0.1, 0.2)),
        ("blur", (0.5, 1.0)),
        ("contrast", (0.8, 1.2)),
    )
    for level in levels
)
"""The disturbances measured for every classifier."""


def table_of(figures: Mapping[Disturbance, str]) -> str:
    """Return figures by kind and level, such as ``white noise 0.05: 0.010, 0.1: 0.020; blur 0.5: 0.000``."""
    kinds: dict[str, list[str]] = {}
    for disturbance, figure in figures.items():
        kinds.setdefault(disturbance.kind, []).append(f"{disturbance.level:g}: {figure}")
    return "; ".join(f"{kind} {', '.join(levels)}" for kind, levels in kinds.items())


@dataclass(frozen=True)
class Flips:
    """Effect of one disturbance on a classifier's answers.

    Attributes:
        disturbance: The disturbance.
        share: Share of the images whose predicted class changes, in [0, 1].
        towards: Share of the images that gain a class which was not predicted before, by class.
    """

    disturbance: Disturbance
    share: float
    towards: dict[str, float]


@dataclass(frozen=True)
class Robustness:
    """Effect of all disturbances on a classifier's answers.

    Attributes:
        images: Number of images.
        flips: Effect of each disturbance.
    """

    images: int
    flips: tuple[Flips, ...]

    @property
    def worst_grain(self) -> Flips:
        """Return the noise of at most ``GRAIN_LEVEL`` that flips the most answers."""
        return max((one for one in self.flips if one.disturbance.is_grain), key=lambda one: one.share)

    @property
    def goes_by_grain(self) -> bool:
        """Return whether the classifier depends on an image's grain."""
        return self.worst_grain.share > MOST_FLIPS

    @property
    def sentence(self) -> str:
        """Return the judgement in words."""
        worst = self.worst_grain
        towards = max(worst.towards, key=lambda label: worst.towards[label])
        measured = (
            f"{worst.disturbance.text} of the range changes {100 * worst.share:.0f} % of {self.images} answers"
            + (f", most of them to {towards}" if worst.share else "")
        )
        if self.goes_by_grain:
            return f"The classifier goes by grain: {measured}. Its counterfactuals may be grain, too."
        return f"Grain does not move the classifier: {measured}."

    @property
    def table(self) -> str:
        """Return the shares by kind, such as ``white noise 0.05: 0.010, 0.1: 0.020; blur 0.5: 0``."""
        return table_of({one.disturbance: f"{one.share:.3f}" for one in self.flips})

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON: number of images, share of flips by name, and the judgement."""
        return {
            "images": self.images,
            "flips": {one.disturbance.name: round(one.share, 4) for one in self.flips},
            "goes_by_grain": self.goes_by_grain,
            "sentence": self.sentence,
        }


def measure_robustness(
    predict: Predict,
    images: np.ndarray,
    classes: Sequence[str],
    *,
    rule: DecisionRule = MOST_PROBABLE,
    seed: int = 0,
    disturbances: Sequence[Disturbance] = DISTURBANCES,
) -> Robustness:
    """Compare a classifier's answers for images and for disturbed ones.

    Args:
        predict: The classifier.
        images: ``(count, channels, *size)`` float32 in [0, 1].
        classes: Class names.
        rule: Maps probabilities to predicted classes.
        seed: Seed of the noise.
        disturbances: The disturbances to measure.

    Returns:
        The shares of images whose predicted class changes.
    """
    generator = torch.Generator().manual_seed(seed)
    images = np.ascontiguousarray(images, np.float32)
    before = rule.predicted(_ask(predict, images))
    flips = []
    for disturbance in disturbances:
        after = rule.predicted(_ask(predict, disturbance.apply(images, generator)))
        gained = (after & ~before).mean(axis=0)
        share = float((after != before).any(axis=1).mean())
        flips.append(Flips(disturbance, share, dict(zip(classes, gained.tolist(), strict=True))))
    return Robustness(len(images), tuple(flips))


def _ask(predict: Predict, images: np.ndarray) -> np.ndarray:
    return np.concatenate([predict(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])
