"""How well finds meet the lesions of whole phantoms: free-response figures, time and memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from monai.metrics import compute_froc_curve_data

from otherwise.agent.editing.search import Progress
from otherwise.blackbox.model_card import machine_class
from otherwise.evaluation.costs import resident_gib, timed
from otherwise.finding.find import Find
from otherwise.finding.finder import Finder
from otherwise.phantoms.phantom import WholePhantom

FALSE_FINDS = 1.0
"""Mean number of false finds an image at which the sensitivity is reported."""


@dataclass(frozen=True)
class Findings:
    """Figures on whole phantoms that the classifier has not seen.

    Attributes:
        images: How many.
        lesions: How many there were to find.
        sensitivity: Share of lesions found at ``FALSE_FINDS`` false finds an image.
        sensitivity_low, sensitivity_high: 95 % interval by bootstrap over images.
        at_false_finds: Sensitivity at 1/4, 1/2, 1, 2 and 4 false finds an image.
        on_muscle: Share of finds whose centre lies on the pectoral muscle; None: the phantoms have none.
        median_seconds: For one image, from the voxels in memory to its finds.
        slowest_seconds: The same for the slowest.
        peak_gib: Memory of this process, at most.
        classifier: Version.
        machine: Class of machine.
        threads: CPU threads.
    """

    images: int
    lesions: int
    sensitivity: float
    sensitivity_low: float
    sensitivity_high: float
    at_false_finds: dict[str, float]
    on_muscle: float | None
    median_seconds: float
    slowest_seconds: float
    peak_gib: float
    classifier: str
    machine: str
    threads: int

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Marks:
    """The finds of one image, judged.

    Attributes:
        true: For each lesion that was met, the probability of the best find that meets it.
        false: Probabilities of the finds that meet none.
        lesions: How many there were.
    """

    true: tuple[float, ...]
    false: tuple[float, ...]
    lesions: int


def judge(phantom: WholePhantom, finds: Sequence[Find]) -> Marks:
    """Match finds with lesions: a find meets a lesion whose centre lies within its box; each lesion counts once."""
    best: dict[int, float] = {}
    false = []
    for find in finds:
        met = [lesion.number for lesion in phantom.lesions if _within(phantom, find, lesion.centre_ras)]
        for number in met:
            best[number] = max(best.get(number, 0.0), find.probability)
        if not met:
            false.append(find.probability)
    return Marks(tuple(best.values()), tuple(false), len(phantom.lesions))


def sensitivities_at(marks: Sequence[Marks], false_finds: Sequence[float]) -> list[float]:
    """Return the share of lesions found at mean numbers of false finds an image (free-response curve by MONAI)."""
    true = np.array([p for mark in marks for p in mark.true])
    false = np.array([p for mark in marks for p in mark.false])
    lesions = sum(mark.lesions for mark in marks)
    if not lesions or not len(true):
        return [0.0] * len(false_finds)
    rates, found = map(np.asarray, compute_froc_curve_data(false, true, lesions, len(marks)))
    return [float(found[rates <= most].max(initial=0.0)) for most in false_finds]


def sensitivity_at(marks: Sequence[Marks], false_finds: float) -> float:
    """Return the share of lesions found at a mean number of false finds an image."""
    return sensitivities_at(marks, [false_finds])[0]


def measure_finding(
    finder: Finder, phantoms: Iterable[WholePhantom], count: int, progress: Progress = lambda stage, part: None
) -> Findings:
    """Find in every phantom and judge.

    Args:
        finder: Of the classifier.
        phantoms: Unseen ones.
        count: How many there are.
        progress: Called with the share done.
    """
    marks, seconds, peak = [], [], 0.0
    on_muscle: list[bool] = []
    for number, phantom in enumerate(phantoms, start=1):
        finds, took = timed(partial(finder.find, phantom.image, most=100))
        seconds.append(took)
        peak = max(peak, resident_gib())
        marks.append(judge(phantom, finds))
        on_muscle.extend(_on_muscle(phantom, finds))
        progress("find", number / count)
    rng = np.random.default_rng(0)
    drawn = [[marks[n] for n in rng.integers(len(marks), size=len(marks))] for _ in range(1000)]
    low, high = np.quantile([sensitivity_at(some, FALSE_FINDS) for some in drawn], [0.025, 0.975])
    rates = (0.25, 0.5, 1, 2, 4)
    return Findings(
        images=len(marks),
        lesions=sum(mark.lesions for mark in marks),
        sensitivity=round(sensitivity_at(marks, FALSE_FINDS), 4),
        sensitivity_low=round(float(low), 4),
        sensitivity_high=round(float(high), 4),
        at_false_finds={
            f"{rate:g}": round(found, 4) for rate, found in zip(rates, sensitivities_at(marks, rates), strict=True)
        },
        on_muscle=round(float(np.mean(on_muscle)), 4) if on_muscle else None,
        median_seconds=round(float(np.median(seconds)), 2),
        slowest_seconds=round(max(seconds), 2),
        peak_gib=round(peak, 2),
        classifier=finder.classifier.version,
        machine=machine_class("cpu"),
        threads=torch.get_num_threads(),
    )


def _on_muscle(phantom: WholePhantom, finds: Sequence[Find]) -> list[bool]:
    """Return for each find whether its centre lies on the muscle; empty where the phantom has none."""
    if phantom.muscle is None:
        return []
    places = [phantom.image.geometry.to_index(np.array(find.centre_ras)).round().astype(int) for find in finds]
    return [bool(phantom.muscle[tuple(place)]) for place in places]


def _within(phantom: WholePhantom, find: Find, place: tuple[float, float, float]) -> bool:
    index = phantom.image.geometry.to_index(np.array(place))
    return all(low - 0.5 <= at <= high - 0.5 for low, at, high in zip(find.low, index, find.high, strict=True))
