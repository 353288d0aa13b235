"""An explanation says when grain moves the classifier on this image, and when its change is an artefact."""

import numpy as np
import pytest

from otherwise.blackbox.checked import CountingBlackBox, RememberingBlackBox
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.smoothed import SmoothedBlackBox
from otherwise.explain.explainer import Explainer
from otherwise.explain.fragility import COPIES, FAINT, GRAIN, fragility_warnings, moved_by, undone_by
from otherwise.explain.request import ExplainRequest, explain_request
from otherwise.images.image import Geometry, Image
from otherwise.report.folder import read_explanation, write_explanation
from support.square_models import SquareClassifier, eager_agent

SIZES = [(16, 12), (10, 12, 8)]


class Rough:
    """Says ``rough`` where neighbours along the first axis differ by more than a limit."""

    name, version, classes, multi_label = "rough", "1", ("smooth", "rough"), False

    def __init__(self, size: tuple[int, ...], limit: float) -> None:
        self.inputs = InputSpec(size)
        self.limit = limit

    def predict(self, images: np.ndarray) -> np.ndarray:
        rough = np.abs(np.diff(images, axis=2)).mean(axis=tuple(range(1, images.ndim)))
        second = 1 / (1 + np.exp(-200 * (rough - self.limit)))
        return np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("limit", "deviation"), [(0.01, "2 %"), (0.04, "5 %"), (0.07, "10 %"), (0.3, None)])
def test_the_faintest_noise_that_moves_the_classifier_is_named(size, limit, deviation):
    image = np.full((1, *size), 0.5, np.float32)
    found = fragility_warnings(Rough(size, limit), image, None, 1)
    if deviation is None:
        assert found == ()
    else:
        (warning,) = found
        assert warning.code == "moved-by-grain"
        assert f"white noise of {deviation} of the range makes it say rough" in warning.text


class Steep(Rough):
    """As rough, with another slope, and as sure as a bias makes it."""

    def __init__(self, size: tuple[int, ...], limit: float, slope: float, bias: float) -> None:
        super().__init__(size, limit)
        self.slope, self.bias = slope, bias

    def predict(self, images: np.ndarray) -> np.ndarray:
        rough = np.abs(np.diff(images, axis=2)).mean(axis=tuple(range(1, images.ndim)))
        second = 1 / (1 + np.exp(-(self.slope * (rough - self.limit) + self.bias).clip(-500, 500)))
        return np.stack([1 - second, second], axis=1)


def by_all_copies(classifier: Rough, image: np.ndarray) -> str | None:
    """Ask about every copy of every disturbance, the faintest first; return the first that moves the answer."""
    import torch

    before = classifier.predict(image[None])[0].argmax()
    for disturbance in (one for level in GRAIN for one in level):
        copies = disturbance.apply(np.repeat(image[None], COPIES, axis=0), torch.Generator().manual_seed(0))
        if classifier.predict(copies).mean(axis=0).argmax() != before:
            return disturbance.text
    return None


@pytest.mark.parametrize("slope", [20.0, 100.0, 1000.0])
def test_few_copies_find_what_all_copies_find(slope: float) -> None:
    rng = np.random.default_rng(int(slope))
    most = sum(len(level) for level in GRAIN) * COPIES
    found, queries = [], []
    for _ in range(100):
        size = SIZES[int(rng.integers(2))]
        classifier = RememberingBlackBox(Steep(size, rng.uniform(0.005, 0.13), slope, rng.normal()))
        image = (0.5 + rng.uniform(0, 0.02) * rng.standard_normal((1, *size))).astype(np.float32)
        wanted = by_all_copies(classifier.inner, image)
        moved = moved_by(classifier, image, answer=classifier.inner.predict(image[None])[0])
        found.append(wanted)
        assert (moved.disturbance.text if moved else None) == wanted
        queries.append(classifier.queries)
    assert max(queries) <= most
    assert len(set(found)) >= 3, "of all kinds"


def test_where_nothing_moves_one_copy_of_each_is_enough() -> None:
    image = np.full((1, 16, 12), 0.5, np.float32)
    sure = CountingBlackBox(Steep((16, 12), 0.3, 50.0, 0.0))
    assert moved_by(sure, image, answer=sure.inner.predict(image[None])[0]) is None
    assert sure.queries == sum(len(level) for level in GRAIN)


def test_a_counterfactual_that_is_sure_costs_a_question_for_each_disturbance() -> None:
    square = CountingBlackBox(SquareClassifier(InputSpec((16, 12))))
    bright = np.full((1, 16, 12), 0.9, np.float32)
    assert undone_by(square, bright, 1, answer=square.inner.predict(bright[None])[0]) is None
    assert square.queries == len(FAINT)


@pytest.mark.parametrize("size", SIZES)
def test_a_change_that_blur_undoes_is_an_artefact_and_a_broad_one_is_not(size):
    grain = np.full((1, *size), 0.5, np.float32)
    grain[:, ::2] += 0.1
    assert undone_by(Rough(size, 0.08), grain, 1).text == "blur of 0.5 pixel"
    texts = [warning.text for warning in fragility_warnings(Rough(size, 0.08), grain, grain, 1)]
    assert any(
        "artefact of the classifier, not a counterfactual: blur of 0.5 pixel undoes it" in text for text in texts
    )
    square = SquareClassifier(InputSpec(size))
    bright, dark = np.full((2, 1, *size), 0.9, np.float32), np.full((1, *size), 0.1, np.float32)
    assert undone_by(square, bright[0], 1) is None
    assert moved_by(square, dark) is None


def test_of_several_labels_the_one_that_went_is_named():
    class Both(Rough):
        classes, multi_label = ("smooth", "there"), True

        def predict(self, images):
            smooth = super().predict(images)[:, 0]
            return np.stack([smooth, np.full(len(images), 0.9)], axis=1)

    found = moved_by(Both((16, 12), 0.04), np.full((1, 16, 12), 0.5, np.float32))
    assert found is not None
    assert found.label == "not smooth"


def test_under_noise_the_same_image_gets_the_same_answer_alone_and_in_company():
    smoothed = SmoothedBlackBox(Rough((16, 12), 0.05), noise=0.05, copies=6)
    images = np.random.default_rng(0).random((3, 1, 16, 12)).astype(np.float32) * 0.1
    together = smoothed.predict(images)
    np.testing.assert_allclose(together.sum(axis=1), 1)
    np.testing.assert_array_equal(together, np.concatenate([smoothed.predict(image[None]) for image in images]))
    assert smoothed.predict(images[:0]).shape == (0, 2)


def test_an_explanation_carries_the_warnings_and_can_be_had_under_noise(tmp_path):
    classifier = SquareClassifier(InputSpec((8, 8)))
    explainer = Explainer(classifier, eager_agent(classifier))
    array = np.random.default_rng(0).uniform(0.25, 0.35, (1, 20, 18, 1)).astype(np.float32)
    image = Image(array, Geometry((20, 18, 1), np.eye(4)), "grey", 2)
    plain = explain_request(explainer, image, ExplainRequest())
    assert plain.warnings == ()
    asked = CountingBlackBox(classifier)
    noisy = explain_request(Explainer(asked, explainer.agent), image, ExplainRequest(noise=0.05))
    assert noisy.classifier.name.endswith("under noise of 5 %")
    assert noisy.counterfactual.valid
    assert noisy.queries == asked.queries
    write_explanation(noisy, tmp_path / "noisy")
    assert read_explanation(tmp_path / "noisy").classifier == noisy.classifier
