"""The sentences that a reader of an explanation has to know."""

from __future__ import annotations

from otherwise.agent.editing.deformation_search import LEAST_MOVE
from otherwise.agent.editing.search_result import SearchResult
from otherwise.blackbox.output_kind import far_sentence
from otherwise.blackbox.question import Question
from otherwise.explain.explanation import Counterfactual
from otherwise.explain.measurement import MeasuredEdit

RESAMPLED = (
    "The classifier changes its mind where nothing moves by more than one of its voxels: it answers to resampled "
    "grain, not to shapes."
)
CARRIED = "not once carried to the full image"
SATURATED = (
    "The classifier answers exactly 0 or 1, so that its log-odds cannot be compared: effects are the share of random "
    "orders of putting the change in, part by part, in which a place tips the answer."
)


def notes_of(
    result: SearchResult, best: Counterfactual, measured: MeasuredEdit, question: Question | None = None
) -> tuple[str, ...]:
    """Return the sentences that a reader has to know; ``question`` is what is asked of a value."""
    notes, regions = [], measured.regions
    if not best.valid:
        reason = "within the budget" if result.exhausted else "with the strongest movement tried"
        wanted = "the black box changes its mind" if question is None else f"the value is {question.text}"
        notes.append(f"Nothing was found {reason} for which {wanted}; this is the nearest.")
    if result.valid and not best.valid and question is None:
        notes.append(f"The change flips the black box on its own grid, but {CARRIED}.")
    if best.valid and 0 < furthest_move(result) < LEAST_MOVE:
        notes.append(RESAMPLED)
    if measured.saturated:
        notes.append(SATURATED)
    if not regions:
        notes.append("No region of the change has a measured effect towards the target.")
    elif not any(region.above_floor for region in regions):
        notes.append("No decisive region changes by more than the agent's own reconstruction error.")
    return tuple(notes)


def furthest_move(result: SearchResult) -> float:
    """Return the greatest displacement of the best edit in voxels of the classifier's grid; 0 of a drawn one."""
    return 0.0 if result.best.displacement is None else result.best.strength


def far_notes(count: int) -> tuple[str, ...]:
    """Return the sentence that changed images were left out, since their value was too far away; none if none was.

    Args:
        count: How many of them there were.
    """
    return (far_sentence(count, "changed image"),) if count else ()
