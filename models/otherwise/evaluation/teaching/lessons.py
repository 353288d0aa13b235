"""Phantoms with the names that a reader who knows the truth would give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.blackbox.protocol import InputSpec
from otherwise.concepts.attributes import TISSUE
from otherwise.evaluation.benchmark.cases import on_grid, phantom_case
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.phantoms.nodule import NoduleSettings, nodules
from otherwise.phantoms.phantom import Phantom
from otherwise.phantoms.signs import sign_mammograms

LEAST_SHARE = 0.2
"""Share of a region that a thing must cover for the reader to name it."""
MARGINS = {
    "spiculated": ("SCT", "129742005"),
    "circumscribed": ("SCT", "129738007"),
}
SIGNS = {
    "microcalcifications": ("DCM", "111344"),
    "distortion": ("SCT", "129792006"),
    "skin": ("SCT", "129797000"),
}
SIGN_THINGS = {"round-calcifications": ("SCT", "129756007"), "lines": ("SCT", "129794007")}
NODULE_MARGINS = {
    "spiculated": ("DCM", "112136"),
    "lobulated": ("DCM", "112135"),
    "smooth": ("99OTHERWISE", "nodule-smooth"),
}
MAMMOGRAM_THINGS = {
    "calcifications": ("SCT", "309587003"),
    "lines": ("SCT", "129794007"),
    "marker": ("99OTHERWISE", "marker"),
}
NODULE_THINGS = {
    "vessels": ("99OTHERWISE", "nodule-vessel"),
    "pleura": ("99OTHERWISE", "nodule-pleural"),
    "marker": ("99OTHERWISE", "marker"),
}


@dataclass(frozen=True, eq=False)
class Lesson:
    """One image, and what is where in it.

    Attributes:
        id: Of the image.
        image: ``(channels, *size)`` float32 in [0, 1].
        things: Masks bool ``size`` by name.
    """

    id: str
    image: np.ndarray
    things: Mapping[Term, np.ndarray]

    def name(self, region: np.ndarray) -> Term:
        """Return what the reader calls a region, bool ``size``: the thing that covers most of it."""
        shares = {term: float(mask[region].mean()) for term, mask in self.things.items()}
        best = max(shares, key=lambda term: shares[term], default=TISSUE)
        return best if shares.get(best, 0.0) >= LEAST_SHARE else TISSUE


def mammogram_lessons(inputs: InputSpec, vocabulary: Vocabulary, seed: int, count: int) -> Iterator[Lesson]:
    """Return phantom mammograms: masses by their margin, calcifications, lines, markers."""
    for phantom in mammograms(seed, count, MammogramSettings()):
        margin = vocabulary.find(*MARGINS[str(phantom.attributes["margin"])])
        yield _lesson(phantom, inputs, vocabulary, margin, MAMMOGRAM_THINGS)


def sign_lessons(inputs: InputSpec, vocabulary: Vocabulary, seed: int, count: int) -> Iterator[Lesson]:
    """Return phantom mammograms in which one sign decides: that sign, the mass by its margin, and the rest."""
    for phantom in sign_mammograms(seed, count, MammogramSettings()):
        sign = str(phantom.attributes["sign"])
        margin = vocabulary.find(*MARGINS["spiculated" if sign == "spicules" else "circumscribed"])
        lesson = _lesson(phantom, inputs, vocabulary, margin, SIGN_THINGS)
        if sign in SIGNS:
            place = on_grid(phantom.masks["place"], phantom.image, inputs)
            lesson = replace(lesson, things={vocabulary.find(*SIGNS[sign]): place, **lesson.things})
        yield lesson


def nodule_lessons(inputs: InputSpec, vocabulary: Vocabulary, seed: int, count: int) -> Iterator[Lesson]:
    """Return phantom CT nodules: by their margin, vessels, pleura."""
    for phantom in nodules(seed, count, NoduleSettings()):
        kind = str(phantom.attributes["margin"])
        margin = "lobulated" if kind == "smooth" and phantom.attributes["lobulated"] else kind
        yield _lesson(phantom, inputs, vocabulary, vocabulary.find(*NODULE_MARGINS[margin]), NODULE_THINGS)


def _lesson(
    phantom: Phantom,
    inputs: InputSpec,
    vocabulary: Vocabulary,
    margin: Term,
    things: Mapping[str, tuple[str, str]],
) -> Lesson:
    found = {
        vocabulary.find(*key): on_grid(phantom.masks[name], phantom.image, inputs)
        for name, key in things.items()
        if name in phantom.masks and phantom.masks[name].any()
    }
    case = phantom_case(phantom, inputs)
    assert case.lesion is not None
    return Lesson(case.id, case.image, {margin: case.lesion, **found})
