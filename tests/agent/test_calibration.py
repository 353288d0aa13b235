"""What convinces comes from the classifier; realism orders reconstructions, edits and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent, load_agent, write_agent
from otherwise.agent.calibration import LEVELS, USUAL_GOAL, Calibration
from otherwise.agent.conditioning import Conditioning
from otherwise.agent.editing.realism import denoising_errors
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.agent.training.calibration import calibrate, convincing_probabilities, flow_change
from otherwise.agent.training.validation import reconstructions
from otherwise.blackbox.loading import load_classifier
from otherwise.evaluation.benchmark.cases import mammogram_cases
from support.square_models import SquareClassifier


class Timid(SquareClassifier):
    """A classifier that is never sure, as one trained with label smoothing."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        return 0.5 + 0.3 * (super().predict(images) - 0.5)


def test_the_goal_is_what_the_classifier_says_of_real_images_of_the_class(
    classifier: SquareClassifier, images: np.ndarray
) -> None:
    timid = Timid(classifier.inputs)
    answers = timid.predict(images)
    goals = Calibration(convincing_probabilities(timid, images))
    for target in (0, 1):
        called = answers[answers.argmax(1) == target, target]
        assert goals.goal(target) == pytest.approx(np.median(called))
        assert 0.5 < goals.goal(target) < 0.7


def test_no_more_than_the_usual_is_asked_of_a_classifier_that_is_surer_of_real_images() -> None:
    assert Calibration((0.99, 0.93)).goal(0) == USUAL_GOAL
    assert Calibration((0.99, 0.93)).goal(1) == 0.93


def test_a_class_that_is_never_called_has_the_usual_goal(classifier: SquareClassifier, images: np.ndarray) -> None:
    only_dark = images[classifier.predict(images).argmax(1) == 0]
    goals = Calibration(convincing_probabilities(classifier, only_dark))
    assert goals.convincing[1] is None
    assert goals.goal(1) == USUAL_GOAL == Calibration().goal(0)


def test_a_calibration_survives_its_bundle_and_an_older_bundle_has_none(
    model: DiffusionAutoencoder, classifier: SquareClassifier, images: np.ndarray, tmp_path: object
) -> None:
    agent = Agent(model.eval(), "tiny", "", classifier.version, torch.device("cpu"))
    measured = replace(calibrate(agent, classifier, images, images[:6]), student_change=0.03)
    assert len(measured.errors) == len(LEVELS)
    assert measured.evidence_validity is not None
    folder = tmp_path / "agent"  # type: ignore[operator]
    write_agent(folder, model, classifier, name="tiny", card="", figures={}, calibration=measured)
    kept = load_agent(folder).calibration
    assert kept == Calibration.from_dict(measured.to_dict())
    assert Calibration.from_dict({}).draws_other_classes
    assert not Calibration.from_dict({}).edits_by_flow
    assert not Calibration(evidence_validity=0.1).draws_other_classes
    assert Calibration(evidence_validity=0.9, student_change=0.03).edits_by_flow
    assert not Calibration(evidence_validity=0.9, student_change=0.002).edits_by_flow
    assert not Calibration(evidence_validity=0.9, student_change=0.002, flow_change=0.01).edits_by_flow
    assert Calibration(evidence_validity=0.9, student_change=0.018, flow_change=0.02).edits_by_flow
    assert not Calibration(evidence_validity=0.1, student_change=0.018, flow_change=0.02).edits_by_flow


def test_the_change_by_flow_is_that_of_what_convinces_and_unknown_where_nothing_does(
    model: DiffusionAutoencoder,
    classifier: SquareClassifier,
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A decoder that brightens or darkens images with the evidence, and one that is untaught."""
    agent = Agent(model.eval(), "tiny", "", classifier.version, torch.device("cpu"))
    assert flow_change(agent, classifier, images[:2]) is None

    def velocity(noised: torch.Tensor, time: torch.Tensor, condition: Conditioning) -> torch.Tensor:
        level = condition.evidence[:, :2].diff(dim=1)
        return -level.reshape(-1, *([1] * (noised.ndim - 1))).expand_as(noised) * 0.6

    monkeypatch.setattr(model, "velocity", velocity)
    found = flow_change(agent, classifier, images[:4])
    assert found is not None
    assert 0.01 < found < 1
    assert calibrate(agent, classifier, images, images[:6]).flow_change is not None


def test_realism_orders_reconstructions_before_edits_before_noise() -> None:
    classifier, agent = load_classifier("mammogram_classifier"), load_agent("mammogram_agent")
    images = np.stack([case.image for case in mammogram_cases(classifier.inputs, 6, 1234)])
    made = reconstructions(agent, classifier, images)
    rng = np.random.default_rng(0)
    grain = (made + rng.normal(0, 0.02, made.shape)).clip(0, 1).astype(np.float32)
    noise = rng.uniform(0, 1, made.shape).astype(np.float32)
    errors = [np.median(denoising_errors(agent, kind, classifier.predict(kind))) for kind in (made, grain, noise)]
    assert errors[0] < errors[1] < errors[2]
    scale = Calibration(errors=tuple(np.quantile(denoising_errors(agent, made, classifier.predict(made)), LEVELS)))
    scores = [scale.realism(float(error)) for error in errors]
    assert scores[0] is not None
    assert scores[0] > 0.4
    assert scores[2] == 0
