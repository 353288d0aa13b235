"""Cases carry the truth of their image on the classifier's grid."""

from __future__ import annotations

import numpy as np
import pytest

from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import ImageError
from otherwise.evaluation.benchmark.cases import (
    Case,
    confounded_cases,
    mammogram_cases,
    nodule_cases,
    on_grid,
    phantom_case,
)
from otherwise.images.image import Geometry, Image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms


def test_the_true_change_lies_on_the_true_feature() -> None:
    for case in mammogram_cases(InputSpec((96, 96)), 4, seed=3):
        assert case.truth is not None
        assert case.counterfactual is not None
        change = np.abs(case.counterfactual - case.image).max(axis=0)
        assert case.truth.any()
        assert change[case.truth].mean() > 10 * change[~case.truth].mean()


def test_volumes_come_on_their_own_grid() -> None:
    (case,) = nodule_cases(InputSpec((24, 24, 12), intensity=(-1000.0, 400.0)), 1, seed=3)
    assert case.image.shape == (1, 24, 24, 12)
    assert case.truth is not None
    assert case.truth.shape == (24, 24, 12)
    assert case.marker is None


def test_a_marker_is_told_where_there_is_one() -> None:
    cases = list(mammogram_cases(InputSpec((96, 96)), 8, seed=3, confound=1.0))
    assert {case.label for case in cases if case.marker is not None} == {"malignant"}


def test_what_a_classifier_that_goes_by_the_marker_should_find() -> None:
    cases = list(confounded_cases(InputSpec((96, 96)), 5, seed=3))
    assert len({case.id for case in cases}) == 5
    for case in cases:
        assert case.label == "malignant"
        assert case.truth is not None
        assert case.counterfactual is not None
        change = np.abs(case.counterfactual - case.image).max(axis=0)
        assert (change[case.truth] > 0.1).all()
        assert change[~case.truth].max() < 0.5 * change[case.truth].max()


def test_the_lesion_holds_the_feature() -> None:
    for case in mammogram_cases(InputSpec((96, 96)), 4, seed=3):
        assert case.lesion is not None
        assert case.truth is not None
        assert (case.truth & ~case.lesion).sum() < 0.1 * case.truth.sum()
        assert case.lesion.mean() < 0.6


def test_a_feature_smaller_than_a_voxel_does_not_vanish() -> None:
    mask = np.zeros((96, 96, 1), bool)
    mask[40, 50] = True
    image = Image(np.zeros((1, 96, 96, 1), np.float32), Geometry((96, 96, 1), np.eye(4)), "thin", 2)
    found = on_grid(mask, image, InputSpec((16, 16)))
    assert found.sum() >= 1
    assert np.abs(np.argwhere(found).mean(axis=0) - (40 / 6, 50 / 6)).max() < 1.5
    assert not on_grid(np.zeros_like(mask), image, InputSpec((16, 16))).any()


def test_truth_on_another_grid_is_refused() -> None:
    (phantom,) = mammograms(3, 1, MammogramSettings())
    case = phantom_case(phantom, InputSpec((32, 32)))
    with pytest.raises(ImageError, match="grid"):
        Case("x", case.image, np.zeros((8, 8), bool))
