"""Warnings of an explanation: an unusual image, sensitivity to grain, a counterfactual that is hard to believe."""

from __future__ import annotations

import numpy as np

from otherwise.agent.calibration import Calibration
from otherwise.agent.editing.search_result import SearchResult
from otherwise.blackbox.question import Question
from otherwise.blackbox.view import warnings_of
from otherwise.explain.believability import believability_warnings
from otherwise.explain.fragility import fragility_warnings
from otherwise.explain.native import ChosenEdit, NativeJudge
from otherwise.explain.value_fragility import value_warnings
from otherwise.warning import AnswerWarning


def doubts_of(
    judge: NativeJudge,
    result: SearchResult,
    chosen: ChosenEdit,
    calibration: Calibration,
    question: Question | None,
    seed: int,
) -> tuple[AnswerWarning, ...]:
    """Return the warnings of an explanation.

    Args:
        judge: Of the full image.
        result: Of the search.
        chosen: The counterfactual.
        calibration: Of the agent.
        question: What was asked of a value; None of classes.
        seed: Of the noise that is tried.
    """
    view, target = judge.view, result.target
    shown = view.see(chosen.image) if chosen.answer.valid else None
    flipped = np.array(list(chosen.answer.probabilities.values()))
    before = result.original.probabilities
    if question is None:
        fragile = fragility_warnings(judge.classifier, view.array, shown, target, seed, before, flipped)
    else:
        original, reached = (float(question.value_of(answer)) for answer in (before, flipped))
        fragile = value_warnings(judge.classifier, question, view.array, original, shown, reached, seed)
    unbelievable = believability_warnings(
        calibration,
        chosen.answer,
        judge.classifier.classes[target],
        0.0 if question else result.goal,  # a value is not convinced, but reached
        drawn=chosen.candidate.displacement is None,
    )
    return (*warnings_of(view.image, judge.classifier.inputs, view.seen), *fragile, *unbelievable)
