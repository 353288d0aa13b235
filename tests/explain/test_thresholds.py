"""A class is said from its own threshold on, and everything that asks whether an answer has flipped goes by that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from otherwise.blackbox.checked import CheckedBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.smoothed import SmoothedBlackBox
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.blackbox.view import view, warnings_of
from otherwise.explain.explainer import Explainer
from otherwise.images.image import Geometry, Image
from otherwise.report.explanation_json import explanation_json, schema
from otherwise.report.folder import read_explanation, write_explanation
from otherwise.report.html import render_report
from support.square_models import SquareClassifier, eager_agent

CLASSES = ("dark", "bright")


@dataclass(frozen=True)
class Declared(SquareClassifier):
    """The square classifier with a bundle's specification."""

    spec: ClassifierSpec | None = None


def declared(thresholds: tuple[float, ...] | None, size: tuple[int, ...] = (16, 12)) -> Declared:
    inputs = InputSpec(size)
    return Declared(inputs, spec=ClassifierSpec("square", "1" * 64, CLASSES, inputs, thresholds=thresholds))


def grey(level: float, size: tuple[int, int] = (16, 12)) -> Image:
    array = level + 0.02 * np.random.default_rng(0).random((1, *size, 1)).astype(np.float32)
    return Image(array.astype(np.float32), Geometry((*size, 1), np.eye(4)), "grey", 2)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.8])
def test_of_two_classes_the_second_is_said_from_its_threshold_on(threshold: float) -> None:
    rule = DecisionRule(False, (1 - threshold, threshold))
    for p in np.linspace(0.01, 0.99, 99):
        if abs(p - threshold) > 1e-6:
            assert bool(rule.predicts(np.array([1 - p, p]), 1)) == (p > threshold)
    assert rule.predicts(np.array([1 - np.float32(threshold), np.float32(threshold)]), 1)
    assert rule.boundary(1) == threshold
    assert rule.boundary(0) == pytest.approx(1 - threshold)


def test_exactly_one_class_is_said_of_those_that_exclude_each_other_and_any_number_of_labels() -> None:
    rng = np.random.default_rng(0)
    answers = rng.dirichlet(np.ones(4), 200)
    rule = DecisionRule(False, (0.2, 0.5, 0.3, 0.6))
    assert (rule.predicted(answers).sum(axis=1) == 1).all()
    assert all(rule.predicts(answer, rule.label(answer)) for answer in answers)
    assert all(rule.nearest_other(answer) != rule.label(answer) for answer in answers)
    assert rule.boundary(0) is None
    several = DecisionRule(True, (0.2, 0.5, 0.3, 0.6))
    np.testing.assert_array_equal(several.predicted(answers), answers >= np.array([0.2, 0.5, 0.3, 0.6]))


def test_wrappers_keep_the_rule() -> None:
    box = CheckedBlackBox(SmoothedBlackBox(declared((0.7, 0.3))))
    assert DecisionRule.of(box).thresholds == (0.7, 0.3)


def test_an_explanation_flips_where_the_hospital_decides(tmp_path: Path) -> None:
    """At 0.48 the middle is "bright" with 0.4: no at one half, yes at 0.3; the flip to dark has to go below 0.3."""
    image = grey(0.47)
    plain = Explainer(declared(None), eager_agent(declared(None)))
    assert plain.explain(image).prediction.label == "dark"
    classifier = declared((0.7, 0.3))
    explainer = Explainer(classifier, eager_agent(classifier))
    explainer = Explainer(classifier, explainer.agent, replace(explainer.settings, confidence=0.0))
    explanation = explainer.explain(image)
    assert 0.3 < explanation.prediction.probabilities["bright"] < 0.5
    assert explanation.prediction.label == "bright"
    assert explainer.classify(image).label == "bright"
    assert explanation.target == "dark"
    assert explanation.counterfactual.valid
    assert explanation.counterfactual.probabilities["dark"] > 0.7
    for point in explanation.path:
        assert point.flipped == (point.probabilities["dark"] > 0.7)

    content = explanation_json(explanation)
    jsonschema.validate(content, schema())
    assert content["decision"] == {"multi_label": False, "thresholds": {"dark": 0.7, "bright": 0.3}}
    again = read_explanation(write_explanation(explanation, tmp_path / "e"))
    assert again.rule == explanation.rule
    assert [point.flipped for point in again.path] == [point.flipped for point in explanation.path]
    page = render_report(again)
    assert "its threshold is 0.30" in page
    assert page.index("How this was made<") < page.index("As the classifier sees it")


def test_what_the_classifier_saw_is_kept_on_its_own_grid(tmp_path: Path) -> None:
    classifier = declared(None, (8, 6))
    image = grey(0.3, (31, 22))
    explanation = Explainer(classifier, eager_agent(classifier)).explain(image)
    again = read_explanation(write_explanation(explanation, tmp_path / "e"))
    assert again.seen is not None
    assert again.seen.image.array.shape == (1, 8, 6, 1)
    np.testing.assert_array_equal(again.seen.image.array, explanation.seen.image.array)
    assert again.seen.window == (0.0, 1.0)
    assert explanation_json(again)["seen"]["contract"] == explanation.seen.contract


def test_another_modality_and_a_view_that_is_nearly_constant_are_said() -> None:
    classifier = SquareClassifier(InputSpec((16, 12), modality="MG"))
    explainer = Explainer(classifier, eager_agent(classifier))
    image = replace(grey(0.3), modality="CT")
    codes = {warning.code for warning in explainer.explain(image).warnings}
    assert "modality" in codes
    flat = image.with_array(np.full_like(image.array, 0.25))
    flat.array[0, 3, 3] = 0.3
    found = warnings_of(flat, classifier.inputs, view(flat, classifier.inputs))
    assert {warning.code for warning in found} == {"modality", "constant"}
    assert warnings_of(replace(grey(0.3), modality="MG"), classifier.inputs, view(grey(0.3), classifier.inputs)) == ()
