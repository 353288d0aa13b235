"""The measure of realism: nothing found between equals, noise and blur found, patients never on both sides."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from otherwise.evaluation.benchmark import realism
from otherwise.evaluation.benchmark.realism import texture_features, told_apart

PATIENTS = [f"patient {number // 2}" for number in range(60)]


def textures(seed: int, size: tuple[int, ...], grain: float = 0.0) -> np.ndarray:
    """Return 60 smooth random fields ``(60, 1, *size)`` in [0, 1], with white noise of standard deviation ``grain``."""
    generator = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(generator.standard_normal(size), 2.0) for _ in PATIENTS]
    fields = np.stack([0.5 + 0.15 * each / each.std() for each in smooth])[:, None]
    return np.clip(fields + grain * generator.standard_normal(fields.shape), 0, 1).astype(np.float32)


def features(images: np.ndarray) -> np.ndarray:
    return np.stack([texture_features(image) for image in images])


@pytest.fixture(params=[(40, 36), (16, 18, 20)], ids=["2-D", "3-D"])
def size(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return tuple(request.param)


def test_images_of_one_kind_are_not_told_apart_and_grain_is(size: tuple[int, ...]) -> None:
    real = features(textures(0, size))
    same = told_apart(real, features(textures(1, size)), PATIENTS, [f"other {name}" for name in PATIENTS])
    grainy = told_apart(real, features(textures(1, size, 0.02)), PATIENTS, PATIENTS)
    assert same is not None
    assert grainy is not None
    assert same.low < 0.6
    assert same.auc < 0.7
    assert grainy.low > 0.9
    assert grainy.low <= grainy.auc <= grainy.high
    assert grainy.images == 120


def test_an_image_beside_itself_is_not_told_apart() -> None:
    real = features(textures(0, (40, 36)))
    found = told_apart(real, real, PATIENTS, PATIENTS)
    assert found is not None
    assert found.auc == pytest.approx(0.5, abs=0.02)


def test_what_only_a_patient_has_does_not_help() -> None:
    """Each patient has a mark of its own, which says on which side all of its images are."""
    generator = np.random.default_rng(3)
    marks = {name: generator.standard_normal(40) * 5 for name in PATIENTS}
    real = np.stack([marks[name] + 0.01 * generator.standard_normal(40) for name in PATIENTS[:30]])
    made = np.stack([marks[name] + 0.01 * generator.standard_normal(40) for name in PATIENTS[30:]])
    found = told_apart(real, made, PATIENTS[:30], PATIENTS[30:])
    assert found is not None
    assert found.low < 0.6


def test_the_figure_is_the_same_for_the_same_seed() -> None:
    real, made = features(textures(0, (40, 36))), features(textures(1, (40, 36), 0.01))
    assert told_apart(real, made, PATIENTS, PATIENTS, seed=4) == told_apart(real, made, PATIENTS, PATIENTS, seed=4)


def test_the_area_is_that_of_the_curve_also_with_ties() -> None:
    generator = np.random.default_rng(2)
    labels, scores = generator.integers(2, size=80), generator.integers(6, size=80) / 5
    assert realism._wins(scores[labels == 1], scores[labels == 0]).mean() == pytest.approx(
        roc_auc_score(labels, scores)
    )


def test_few_patients_make_no_figure() -> None:
    real = np.zeros((20, 3))
    assert told_apart(real, real, ["a", "b"] * 10, ["a", "b"] * 10) is None
