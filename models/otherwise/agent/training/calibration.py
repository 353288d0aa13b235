"""Measure an agent's calibration on images without labels."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.calibration import DRAWN, LEVELS, Calibration
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.deformation_search import DeformationSearch, DeformationSettings
from otherwise.agent.editing.flow_search import FlowSearch, change_of
from otherwise.agent.editing.flow_settings import FlowSettings
from otherwise.agent.editing.realism import denoising_errors
from otherwise.agent.training.validation import FEWEST_SEARCHED, reconstructions
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.output_kind import OutputKind, output_kind
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.question import Question, QuestionBox, TargetError, ask

Figure = TypeVar("Figure")
"""A figure measured on one image."""

FEWEST = 5
"""Least number of images for a median."""
SHAPE_AMOUNT = 1 / 3
"""Spreads by which a deformation has to move a value for the model to count as one that follows shapes."""
MOST_EDITS = 24
"""Most images that are edited with the evidence as the only condition."""


def calibrate(
    agent: Agent, classifier: BlackBox, images: np.ndarray, held_out: np.ndarray, seconds: float | None = None
) -> Calibration:
    """Measure what convinces, what the decoder draws by itself, whether the black box follows shapes, and how well the
    decoder denoises its reconstructions.

    ``student_change`` stays unknown: ``validate`` measures it.

    Args:
        agent: The agent.
        classifier: Its black box.
        images: ``(n, channels, *size)`` float32 in [0, 1], the training images as usually seen: for what convinces.
        held_out: Images unseen in training: for the rest.
        seconds: See ``evidence_validity``.
    """
    held_out = np.asarray(held_out, np.float32)
    made = reconstructions(agent, classifier, held_out)
    errors = denoising_errors(agent, made, classifier.predict(made))
    known = Calibration(convincing_probabilities(classifier, images))
    few = held_out[:MOST_EDITS]
    drawn = evidence_validity(agent, classifier, few, seconds)
    calibrated = replace(agent, calibration=known)
    return replace(
        known,
        evidence_validity=drawn,
        flow_change=flow_change(calibrated, classifier, few, seconds) if drawn >= DRAWN else None,
        follows_shape=shape_validity(calibrated, classifier, few, seconds),
        errors=tuple(float(value) for value in np.quantile(errors, LEVELS)),
    )


def convincing_probabilities(classifier: BlackBox, images: np.ndarray, batch: int = 64) -> tuple[float | None, ...]:
    """Return, for each class, its median probability on the images for which it is predicted."""
    parts = [classifier.predict(np.asarray(images[n : n + batch], np.float32)) for n in range(0, len(images), batch)]
    answers, rule = np.concatenate(parts), DecisionRule.of(classifier)
    medians: list[float | None] = []
    for index in range(answers.shape[1]):
        called = answers[rule.predicts(answers, index), index]
        medians.append(float(np.median(called)) if len(called) >= FEWEST else None)
    return tuple(medians)


def shape_validity(agent: Agent, classifier: BlackBox, images: np.ndarray, seconds: float | None = None) -> float:
    """Return the share of images of which a deformation alone convinces the black box, see ``deformation_search``.

    A class is to become the nearest other one, a value to move by ``SHAPE_AMOUNT``. A deformation too small to be seen
    does not count. No further image is begun after ``seconds``, but ``FEWEST_SEARCHED`` are.
    """
    return _share(classifier, images, lambda image, answer: _shape_convinces(agent, classifier, image, answer), seconds)


def _shape_convinces(agent: Agent, classifier: BlackBox, image: np.ndarray, answer: np.ndarray) -> bool:
    kind, box = output_kind(classifier), classifier
    target = DecisionRule.of(classifier).nearest_other(answer)
    goal = agent.calibration.goal(target)
    if kind.is_value:
        question = _moved_question(kind, float(kind.value_of(answer)))
        if question is None:
            return False
        box = QuestionBox(classifier, kind.value_of, question)
        answer, target, goal = box.predict(image[None])[0], question.target, question.confidence
    search = DeformationSearch(CountingBlackBox(box), DecisionRule.of(box), DeformationSettings(), target, goal)
    found = search.run(Candidate(image, answer, 0.0))
    return found.convinces and found.moves


def _moved_question(kind: OutputKind, value: float) -> Question | None:
    """Return the question for a value nearer to the reference or, where the range ends there, further from it."""
    amount = SHAPE_AMOUNT * kind.spread
    for sign in ("+", "-") if value < kind.reference else ("-", "+"):
        with contextlib.suppress(TargetError):
            return ask(kind, value, f"{sign}{amount}")
    return None


def evidence_validity(agent: Agent, classifier: BlackBox, images: np.ndarray, seconds: float | None = None) -> float:
    """Return the share of images that the strongest edit by flow flips, with the evidence as the only condition.

    No further image is begun after ``seconds``, but ``FEWEST_SEARCHED`` are.
    """

    def flips(image: np.ndarray, answer: np.ndarray) -> bool:
        return bool(_flow_search(agent, classifier, image, answer).flips_at_most())

    with torch.inference_mode():
        return _share(classifier, images, flips, seconds)


def flow_change(agent: Agent, classifier: BlackBox, images: np.ndarray, seconds: float | None = None) -> float | None:
    """Return the mean absolute change of edits by flow that convince, as a share of the range; None: there are none.

    No further image is begun after ``seconds``, but ``FEWEST_SEARCHED`` are.
    """

    def change(image: np.ndarray, answer: np.ndarray) -> float | None:
        found = _flow_search(agent, classifier, image, answer).run(0)
        return None if found is None else change_of(found.best, image)

    with torch.inference_mode():
        changes = [each for each in _of_each(classifier, images, change, seconds) if each is not None]
    return round(float(np.mean(changes)), 6) if changes else None


def _flow_search(agent: Agent, classifier: BlackBox, image: np.ndarray, answer: np.ndarray) -> FlowSearch:
    """Return the search among edits by flow of an image towards the class nearest to its answer."""

    def judge(made: np.ndarray, strengths: Sequence[float]) -> list[Candidate]:
        return [Candidate(*one) for one in zip(made, classifier.predict(made), strengths, strict=True)]

    rule = DecisionRule.of(classifier)
    target = rule.nearest_other(answer)
    goal, original = agent.calibration.goal(target), Candidate(image, answer, 0.0)
    return FlowSearch(agent, judge, classifier, FlowSettings(), original, target, goal, rule, 0, lambda: None)


def _of_each(
    classifier: BlackBox,
    images: np.ndarray,
    figure: Callable[[np.ndarray, np.ndarray], Figure],
    seconds: float | None,
) -> list[Figure]:
    """Return a figure of each image and its answer; see ``evidence_validity`` for ``seconds``."""
    found: list[Figure] = []
    started = time.monotonic()
    for image, answer in zip(images, classifier.predict(images), strict=True):
        if seconds is not None and len(found) >= FEWEST_SEARCHED and time.monotonic() - started > seconds:
            break
        found.append(figure(image, answer))
    return found


def _share(
    classifier: BlackBox,
    images: np.ndarray,
    holds: Callable[[np.ndarray, np.ndarray], bool],
    seconds: float | None,
) -> float:
    """Return the share of images that satisfy a predicate of image and answer; see ``evidence_validity``."""
    return round(float(np.mean(_of_each(classifier, images, holds, seconds))), 4)
