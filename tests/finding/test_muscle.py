"""The pectoral muscle of mammograms: left out where it is plain and where that is asked for; a breast never is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.errors import ClassifierError
from otherwise.finding.finder import Finder
from otherwise.finding.muscle import pectoral_muscle
from otherwise.finding.scan import Scan
from otherwise.finding.tissue import TissueMap
from otherwise.phantoms.phantom import WholePhantom
from otherwise.phantoms.series import numbered_rng
from otherwise.phantoms.whole_mammogram import WholeMammogramSettings, make_whole_mammogram
from support.square_models import SquareClassifier

COARSE = WholeMammogramSettings(size=(600, 750), spacing=0.4)
INPUTS = InputSpec((96, 96), spacing=(0.5, 0.5), modality="MG", patches=PatchSpec(("bright",), foreground=0.1))
EVERY = 5
FLIPS = [np.s_[::a, ::b] for a in (1, -1) for b in (1, -1)]


@pytest.fixture(scope="module")
def oblique() -> list[WholePhantom]:
    return [make_whole_mammogram(numbered_rng(94, n), replace(COARSE, oblique=True)) for n in range(8)]


def _sampled(phantom: WholePhantom) -> np.ndarray:
    return np.asarray(phantom.image.array[0, ::EVERY, ::EVERY, 0])


def test_what_is_left_out_is_muscle_in_whatever_corner_it_is(oblique: list[WholePhantom]) -> None:
    found = 0
    for phantom in oblique:
        grey = _sampled(phantom)
        assert phantom.muscle is not None
        truth = phantom.muscle[::EVERY, ::EVERY, 0]
        muscle = pectoral_muscle(grey, grey > 0.1)
        for flip in FLIPS:
            np.testing.assert_array_equal(pectoral_muscle(grey[flip], grey[flip] > 0.1)[flip], muscle)
        breast = (grey > 0.1) & ~truth
        assert (muscle & breast).sum() <= 0.06 * breast.sum()
        found += (muscle & truth).sum() > 0.8 * truth.sum()
    assert found >= 4


def test_a_view_without_muscle_is_searched_wholly() -> None:
    for number in range(8):
        grey = _sampled(make_whole_mammogram(numbered_rng(95, number), COARSE))
        for flip in FLIPS:
            assert not pectoral_muscle(grey[flip], grey[flip] > 0.1).any()


@pytest.mark.parametrize("fill", [0.0, 0.4])
def test_an_image_without_a_border_has_no_muscle(fill: float) -> None:
    grey = np.full((120, 150), fill, np.float32)
    assert not pectoral_muscle(grey, grey > 0.1).any()


def test_a_lesion_at_the_muscle_is_still_seen_in_a_patch(oblique: list[WholePhantom]) -> None:
    """Every mass has its centre in a patch that is looked at."""
    finder = Finder(SquareClassifier(INPUTS), Scan(muscle=False))
    for phantom in oblique:
        scores = finder.score(phantom.image)
        for lesion in phantom.lesions:
            at = scores.grid.to_index(np.array(lesion.centre_ras))[:2]
            assert ((scores.starts <= at) & (at < scores.starts + INPUTS.size)).all(axis=1).any()


def test_muscle_is_tissue_unless_asked_otherwise(oblique: list[WholePhantom]) -> None:
    whole = [TissueMap(phantom.image, INPUTS).tissue.sum() for phantom in oblique]
    less = [TissueMap(phantom.image, INPUTS, muscle=False).tissue.sum() for phantom in oblique]
    assert all(a <= b for a, b in zip(less, whole, strict=True))
    assert sum(less) < 0.98 * sum(whole)


def test_what_has_no_muscle_cannot_be_searched_without_it() -> None:
    radiographs = replace(INPUTS, modality="DX")
    with pytest.raises(ClassifierError, match="no pectoral muscle"):
        Finder(SquareClassifier(radiographs), Scan(muscle=False))
    boundless = replace(INPUTS, patches=PatchSpec(("bright",)))
    with pytest.raises(ClassifierError, match="without a foreground"):
        Finder(SquareClassifier(boundless), Scan(muscle=False))
    with pytest.raises(ClassifierError, match="whole images has no muscle"):
        Scan(muscle=False).inputs(replace(INPUTS, patches=None))
