"""The sentences that a reader of an explanation has to know."""

from __future__ import annotations

import numpy as np
import torch

from otherwise.agent.editing.deformation import magnified
from otherwise.agent.editing.search_result import SearchResult
from otherwise.blackbox.output_kind import far_sentence
from otherwise.blackbox.question import Question
from otherwise.explain.measurement import MeasuredEdit
from otherwise.explain.native import ChosenEdit
from otherwise.images.image import Geometry

CARRIED = "not once carried to the full image"
SATURATED = (
    "The classifier answers exactly 0 or 1, so that its log-odds cannot be compared: effects are the share of random "
    "orders of putting the change in, part by part, in which a place tips the answer."
)


def notes_of(
    result: SearchResult,
    chosen: ChosenEdit,
    measured: MeasuredEdit,
    grid: Geometry,
    question: Question | None = None,
) -> tuple[str, ...]:
    """Return the sentences that a reader has to know; ``question`` is what is asked of a value."""
    notes, regions, best = [], measured.regions, chosen.answer
    if chosen.candidate.displacement is not None:
        notes.append(shape_note(chosen.candidate.displacement, grid))
    if not best.valid:
        reason = "within the budget" if result.exhausted else "with the strongest movement tried"
        wanted = "the black box changes its mind" if question is None else f"the value is {question.text}"
        notes.append(f"Nothing was found {reason} for which {wanted}; this is the nearest.")
    if result.valid and not best.valid and question is None:
        notes.append(f"The change flips the black box on its own grid, but {CARRIED}.")
    if measured.saturated:
        notes.append(SATURATED)
    if not regions:
        notes.append("No region of the change has a measured effect towards the target.")
    elif not any(region.above_floor for region in regions):
        notes.append("No decisive region changes by more than the agent's own reconstruction error.")
    return tuple(notes)


def shape_note(displacement: np.ndarray, grid: Geometry) -> str:
    """Return what a deformation does, for people.

    Args:
        displacement: ``(dims, *size)`` in voxels.
        grid: Where it lies.
    """
    axes = grid.affine[:3, : len(displacement)]
    furthest = float(np.linalg.norm(np.tensordot(axes, displacement, 1), axis=0).max())
    factors = magnified(torch.from_numpy(displacement)[None])
    what = "area" if len(displacement) == 2 else "volume"
    return (
        f"Only shapes were changed: what the image shows was moved by up to {furthest:.3g} mm, so that places have "
        f"{factors.min():.2f} to {factors.max():.2f} times their {what}. Nothing was drawn."
    )


def far_notes(count: int) -> tuple[str, ...]:
    """Return the sentence that changed images were left out, since their value was too far away; none if none was.

    Args:
        count: How many of them there were.
    """
    return (far_sentence(count, "changed image"),) if count else ()
