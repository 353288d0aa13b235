"""The simulated reader calls regions what they are, in the vocabulary's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from otherwise.annotations.vocabulary import Vocabulary, load_vocabulary
from otherwise.blackbox.protocol import InputSpec
from otherwise.evaluation.teaching.lessons import TISSUE, Lesson, mammogram_lessons, nodule_lessons, sign_lessons
from otherwise.phantoms.mammogram import MammogramSettings
from otherwise.phantoms.signs import sign_mammograms

FLAT = InputSpec((96, 96), intensity=(0.0, 1.0))
Read = Callable[[InputSpec, Vocabulary, int, int], Iterator[Lesson]]


def called(lesson: Lesson, mask: np.ndarray) -> str:
    return lesson.name(mask).meaning


def test_every_sign_has_its_name() -> None:
    words = {
        "spicules": "Spiculated lesion",
        "microcalcifications": "Fine pleomorphic calcification",
        "distortion": "Architectural distortion of breast",
        "skin": "Skin thickening of breast",
        "none": "Circumscribed lesion",
    }
    phantoms = list(sign_mammograms(2, 60, MammogramSettings()))
    seen = set()
    for phantom, lesson in zip(phantoms, sign_lessons(FLAT, load_vocabulary(), 2, 60), strict=True):
        sign = str(phantom.attributes["sign"])
        where = phantom.masks["place" if sign != "none" else "mass"][..., 0]
        assert lesson.id == phantom.image.id
        assert called(lesson, where) == words[sign]
        if sign not in ("none", "spicules"):
            assert called(lesson, phantom.masks["mass"][..., 0] & ~where) == "Circumscribed lesion"
        seen.add(sign)
    assert seen == set(words)


@pytest.mark.parametrize("read", [mammogram_lessons, sign_lessons])
def test_what_holds_nothing_is_ordinary_tissue(read: Read) -> None:
    for lesson in read(FLAT, load_vocabulary(), 4, 5):
        nothing = ~np.any(list(lesson.things.values()), axis=0)
        assert lesson.name(nothing) == TISSUE


def test_nodules_are_called_by_their_margin() -> None:
    inputs = InputSpec((32, 32, 32), intensity=(-1000.0, 400.0))
    words = {"Spiculated", "Lobulated", "Smooth margin"}
    for lesson in nodule_lessons(inputs, load_vocabulary(), 4, 4):
        margin, mask = next(iter(lesson.things.items()))
        assert lesson.name(mask) == margin
        assert any(word.casefold() in margin.meaning.casefold() for word in words), margin
