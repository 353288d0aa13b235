"""Bring an edit to the value that is asked for: no further than needed, and within the tolerance.

The search finds edits on either side of the question's cut. Where the one that it chose goes too far, or its value on
the full image is another one, a blend of it and the last one before the cut is bisected until that value is right. An
alternative is blended with the original.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from otherwise.agent.conditioning import MAX_LOG_ODDS
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.deformation import blend
from otherwise.agent.editing.search_result import SearchResult
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.question import Question
from otherwise.explain.native import ChosenEdit, NativeJudge, carried

BISECTIONS = 10
"""Blends that are asked about on the classifier's own grid."""
CORRECTIONS = 4
"""Blends that are then carried to the full image, where its value is a little another one."""
CLOSE = 0.4
"""Share of the tolerance within which a value hits its aim, which lies half of it inside the target."""
PRECISE = 0.1
"""The same on the classifier's own grid."""
FURTHEST = 1.25
"""Greatest share of the second edit in a blend: a little beyond it, where the full image needs more."""
ALONG = (0.7, 0.85, 0.93, 1.0, 1.07)
"""Factors of the strength for the path: closer together than for classes, so that a value lies between two of them."""
BEYOND = 1.0
"""Spreads beyond the cut that the evidence asks for: an answer as far away as any would draw another patient."""


@dataclass(frozen=True)
class ReachedRule(DecisionRule):
    """The rule of a question: the target is predicted where its value is reached.

    Attributes:
        question: The question.
    """

    question: Question | None = None

    def predicts(self, probabilities: np.ndarray, target: int) -> np.ndarray:
        """Return whether the value lies within the target, ``(...)`` bool; for the other class, whether it does not."""
        assert self.question is not None
        values = self.question.value_of(probabilities)
        reached = np.vectorize(self.question.reached, otypes=[bool])(values)
        return np.asarray(reached if target == self.question.target else ~reached)


def settings_for(settings: SearchSettings, question: Question) -> SearchSettings:
    """Return the settings of a search for a value: finer in strength, and convinced at the question's aim.

    An edit of a value draws what the value depends on as a whole. A piece of it can reach the value too, by spoiling
    what the model measures; so all of the change that stands out stays, and it is not drawn again.
    """
    flow = settings.flow
    if flow is not None:
        asked = abs(question.aim - question.cut) / question.spread / MAX_LOG_ODDS
        evidence = min(1.0, asked + BEYOND / MAX_LOG_ODDS)
        flow = replace(
            flow,
            quarterings=2,
            along=ALONG,
            evidence=evidence,
            asked=asked,
            least_move=0.01,
            shares=(),
            touched=(1.0,),
            grain_depths=(),
        )
    return replace(settings, confidence=question.confidence, flow=flow)


def choose_reaching(judge: NativeJudge, result: SearchResult, question: Question) -> tuple[SearchResult, ChosenEdit]:
    """Choose the least edit whose value on the full image is the target's; failing that, the nearest.

    Args:
        judge: Asks about edits on the full image.
        result: Of the search.
        question: What is asked.

    Returns:
        The result with the chosen edit on its path, and that edit. Its alternatives are tuned to the target likewise;
        those that do not reach it are left out.
    """
    end, found = result.best, carried(judge, result.best)
    if _beyond(question, _value(question, end)):
        found = _tuned(judge, found, lambda aim: _ends(question, result, aim), question)
    others = [_faded(judge, result.original, other, question) for other in result.alternatives]
    result = replace(result, alternatives=tuple(each.candidate for each in others if each.answer.valid))
    if found.candidate is end:
        return result, found
    tried = tuple(sorted([*result.tried, found.candidate], key=lambda c: c.strength))
    return replace(result, best=found.candidate, tried=tried), found


def _faded(judge: NativeJudge, original: Candidate, other: Candidate, question: Question) -> ChosenEdit:
    """Return the blend of the original and an alternative that hits the aim on the full image."""
    return _tuned(judge, carried(judge, other), lambda aim: (original, other), question)


def _tuned(
    judge: NativeJudge, found: ChosenEdit, ends: Callable[[float], tuple[Candidate, Candidate]], question: Question
) -> ChosenEdit:
    """Return the blend of two edits that hits the aim on the full image; failing that, the nearest.

    Args:
        judge: Asks about edits on the full image.
        found: The edit as it was found, which is kept where it hits the aim.
        ends: Returns the edits to blend, given the value to be reached on the classifier's own grid.
        question: What is asked.
    """
    aim = question.aim
    for _ in range(CORRECTIONS):
        if found.answer.valid and abs(_off(question, found)) <= CLOSE * question.tolerance:
            break
        again = carried(judge, _bisected(judge, *ends(aim), question, aim))
        off = _off(question, again)
        if (again.answer.valid, -abs(off)) > (found.answer.valid, -abs(_off(question, found))):
            found = again
        aim -= off  # what the way to the full image changes
    return found


def _ends(question: Question, result: SearchResult, aim: float) -> tuple[Candidate, Candidate]:
    """Return two edits with ``aim`` between their values; where none is so far, the original and the strongest."""
    stronger = [result.best, *(c for c in result.tried if c.strength > result.best.strength)]
    end = next((c for c in stronger if question.sign * (_value(question, c) - aim) >= 0), None)
    if end is None:
        return result.original, stronger[-1]
    before = [c for c in result.tried if c.strength < end.strength and question.sign * (_value(question, c) - aim) < 0]
    return max(before, key=lambda c: question.sign * _value(question, c), default=result.original), end


def _bisected(judge: NativeJudge, start: Candidate, end: Candidate, question: Question, aim: float) -> Candidate:
    """Return the blend of two edits whose value on the classifier's grid is nearest to ``aim``."""
    low, high = 0.0, FURTHEST
    blends: list[Candidate] = []
    for _ in range(BISECTIONS):
        share = (low + high) / 2
        image, displacement = blend(judge.view.array, start, end, share)
        strength = (1 - share) * start.strength + share * end.strength
        tried = Candidate(image, judge.classifier.predict(image[None])[0], strength, displacement=displacement)
        blends.append(tried)
        off = _value(question, tried) - aim
        if abs(off) <= PRECISE * question.tolerance:
            break
        low, high = (low, share) if question.sign * off > 0 else (share, high)
    return min(blends, key=lambda each: abs(_value(question, each) - aim))


def _value(question: Question, candidate: Candidate) -> float:
    return float(question.value_of(candidate.probabilities))


def _off(question: Question, chosen: ChosenEdit) -> float:
    """Return how far the value on the full image is from the question's aim."""
    return float(question.value_of(np.array(list(chosen.answer.probabilities.values())))) - question.aim


def _beyond(question: Question, value: float) -> bool:
    return question.sign * (value - question.cut) >= 0
