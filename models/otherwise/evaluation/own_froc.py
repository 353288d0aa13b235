"""Free-response figures of finds in somebody's own images, with intervals by patient, beside a plain sliding window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.evaluation.froc import Marks, sensitivities_at
from otherwise.evaluation.lesions import KnownLesion
from otherwise.finding.find import Find
from otherwise.images.image import Geometry

RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)
"""Mean false finds an image; the seven of LUNA16 (arXiv 1612.08012)."""
DRAWS = 1000
INSIDE, LUNA = "lesion's centre inside the box", "find's centre within the lesion's radius"


@dataclass(frozen=True)
class Searched:
    """One searched image.

    Attributes:
        finds: Of the image, the most probable first.
        geometry: The image's grid.
        lesions: What there is to find.
        patient: Images of one patient are drawn together.
    """

    finds: Sequence[Find]
    geometry: Geometry
    lesions: Sequence[KnownLesion]
    patient: str


def froc(searched: Sequence[Searched], seed: int = 0) -> dict[str, dict[str, object]]:
    """Return the sensitivity at each of ``RATES`` for both criteria, with 95 % intervals by bootstrap over patients.

    A find that meets a lesion is no false one, and each lesion counts once. The criterion of LUNA needs the size of
    every lesion, and is left out otherwise.

    Args:
        searched: All images, those without lesions too.
        seed: Of the bootstrap.
    """
    criteria = [INSIDE]
    if all(lesion.radius is not None for one in searched for lesion in one.lesions):
        criteria.append(LUNA)
    return {
        criterion: _figures([_judged(one, criterion) for one in searched], searched, seed) for criterion in criteria
    }


def _figures(marks: Sequence[Marks], searched: Sequence[Searched], seed: int) -> dict[str, object]:
    patients = sorted({one.patient for one in searched})
    of = {patient: [n for n, one in enumerate(searched) if one.patient == patient] for patient in patients}
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        chosen = rng.integers(len(patients), size=len(patients))
        some = [marks[n] for index in chosen for n in of[patients[index]]]
        if sum(mark.lesions for mark in some):
            drawn.append(sensitivities_at(some, RATES))
    low, high = np.quantile(np.array(drawn or [[0.0] * len(RATES)]), [0.025, 0.975], axis=0)
    values = sensitivities_at(marks, RATES)
    rows = {
        f"{rate:g}": {"sensitivity": round(value, 4), "low": round(float(a), 4), "high": round(float(b), 4)}
        for rate, value, a, b in zip(RATES, values, low, high, strict=True)
    }
    return {
        "images": len(marks),
        "patients": len(patients),
        "lesions": sum(mark.lesions for mark in marks),
        "at_false_finds": rows,
        "mean": round(float(np.mean(values)), 4),
    }


def _judged(one: Searched, criterion: str) -> Marks:
    best: dict[int, float] = {}
    false = []
    for find in one.finds:
        met = [n for n, lesion in enumerate(one.lesions) if _meets(find, lesion, one.geometry, criterion)]
        for number in met:
            best[number] = max(best.get(number, 0.0), find.probability)
        if not met:
            false.append(find.probability)
    return Marks(tuple(best.values()), tuple(false), len(one.lesions))


def _meets(find: Find, lesion: KnownLesion, geometry: Geometry, criterion: str) -> bool:
    if criterion == LUNA:
        assert lesion.radius is not None
        return float(np.linalg.norm(np.array(find.centre_ras) - lesion.centre_ras)) <= lesion.radius
    index = geometry.to_index(np.array(lesion.centre_ras))
    return all(a - 0.5 <= at <= b - 0.5 for a, at, b in zip(find.low, index, find.high, strict=True))
