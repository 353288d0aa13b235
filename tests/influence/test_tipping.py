"""A classifier that answers exactly 0 or 1 still has places that decide, and they are where it looks."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import softmax

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.explain.explainer import Explainer
from otherwise.explain.notes import SATURATED
from otherwise.images.image import Geometry, Image
from otherwise.influence.effect import measure_effect
from otherwise.influence.regions import measure_regions, reconstruction_floor
from otherwise.influence.tipping import EXACT
from support.square_models import SquareClassifier, eager_agent

SIZES = [(24, 20), (12, 10, 14)]


@dataclass(frozen=True)
class Saturated(SquareClassifier):
    """The square classifier with its log-odds multiplied, answered in a given precision."""

    factor: float = np.inf
    dtype: type = np.float64

    def predict(self, images: np.ndarray) -> np.ndarray:
        p = super().predict(images)
        logits = np.log(p[:, 1]) - np.log(p[:, 0])
        if np.isinf(self.factor):
            return np.stack([logits <= 0, logits > 0], axis=1).astype(np.float64)
        scores = np.stack([0 * logits, self.factor * logits], axis=1).astype(self.dtype)
        return softmax(scores, axis=1).astype(np.float64)


def brightened(size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A dark image, and one that is brighter everywhere."""
    image = np.full((1, *size), 0.25, np.float32)
    return image, image + np.float32(0.4)


def share_inside(effect: np.ndarray) -> float:
    """Share of an effect that lies within the central square and a voxel about it."""
    centre = tuple(slice(edge // 4 - 1, edge - edge // 4 + 1) for edge in effect.shape)
    return float(effect[centre].sum() / effect.sum())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("factor", "dtype"), [(np.inf, np.float64), (1e5, np.float64), (1e3, np.float32)])
def test_the_effect_lies_where_the_classifier_looks(size, factor, dtype):
    classifier = Saturated(InputSpec(size), factor=factor, dtype=dtype)
    image, made = brightened(size)
    found = measure_effect(classifier, image, made, target=1)
    assert found.saturated
    smooth = measure_effect(SquareClassifier(InputSpec(size)), image, made, target=1)
    assert share_inside(found.values) > share_inside(smooth.values) - 0.05
    regions = measure_regions(
        classifier, image, made, found.values, reconstruction_floor(image, image), 1, found.saturated
    )
    assert regions
    assert regions[0].effect > 0.5 * found.values.sum()


def test_the_effects_of_all_places_add_up_to_the_whole_change():
    image, made = brightened((24, 20))
    found = measure_effect(Saturated(InputSpec((24, 20))), image, made, target=1)
    assert found.values.sum() <= 2 * -np.log(EXACT) + 1e-3
    assert found.values.sum() > 0.8 * 2 * -np.log(EXACT)


def test_what_is_merely_sure_in_single_precision_is_measured_in_log_odds():
    """A softmax in float32 answers 1.0 exactly; the other class still tells how sure it is."""
    image, made = brightened((24, 20))
    sure = Saturated(InputSpec((24, 20)), factor=8.0, dtype=np.float32)
    assert sure.predict(made[None])[0, 1] == 1.0
    found = measure_effect(sure, image, made, target=1)
    assert not found.saturated
    plain = measure_effect(SquareClassifier(InputSpec((24, 20))), image, made, target=1)
    np.testing.assert_allclose(found.values, 8 * plain.values, rtol=1e-3, atol=1e-4)


def test_logits_are_read_in_double_precision():
    from otherwise.blackbox.checked import decision_value
    from otherwise.blackbox.hosted import HostedClassifier

    for outputs, activation in ((2, "softmax"), (1, "sigmoid")):
        scores = np.array([[-150.0], [-20.0], [20.0], [150.0]], np.float32)
        wanted = np.concatenate([np.zeros_like(scores), scores], axis=1) if outputs == 2 else scores
        spec = ClassifierSpec("any", "0" * 64, ("a", "b"), InputSpec((4, 4)), activation)
        hosted = HostedClassifier(spec, lambda images, wanted=wanted: wanted)
        values = decision_value(hosted.predict(np.zeros((4, 1, 4, 4), np.float32)), 1)
        np.testing.assert_allclose(values, scores[:, 0], rtol=1e-9)


def test_an_explanation_of_a_saturated_classifier_has_regions_and_says_how_they_are_ranked():
    classifier = Saturated(InputSpec((16, 12)))
    explainer = Explainer(classifier, eager_agent(classifier))
    rng = np.random.default_rng(0)
    image = Image((0.2 + 0.1 * rng.random((1, 16, 12, 1))).astype(np.float32), Geometry((16, 12, 1), np.eye(4)), "i", 2)
    explanation = explainer.explain(image)
    assert explanation.counterfactual.valid
    assert explanation.regions
    assert explanation.regions[0].effect > 0
    assert SATURATED in explanation.notes
    assert not any("No region" in note for note in explanation.notes)
