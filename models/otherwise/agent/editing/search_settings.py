"""Settings of the search for counterfactuals, see ``search``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otherwise.agent.editing.deformation_search import USUAL_DEFORMATION, DeformationSettings
from otherwise.agent.editing.flow_settings import USUAL_FLOW, FlowSettings
from otherwise.agent.editing.rendering import EditSettings

EditKind = Literal["auto", "draw", "shape"]


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the search.

    Attributes:
        steps: Solver steps each way, see ``rendering.PARTWAY`` for what they cost.
        rounds: Rounds of attempts; all but the first begin at the nearest attempt so far, and the change adds up.
        attempts: In the order tried in each round. Most images flip where the student leads much; the others are led
            less. Going deeper redraws more of the image, but exaggerating more ends in images unlike any: so the deeper
            comes first, and the utmost last.
        reach: Before all others, the first attempt is made with nothing becoming darker or brighter than what the image
            shows within so many voxels (in 2-D, in 3-D), see ``bounds``, and counts if it convinces; None: it is not.
            What has to come from nothing needs the others.
        confidence: Probability of the target that convinces; None: as measured for the agent, see ``Calibration``. What
            only just flips one black box is often seen by no other; what convinces it, others see too. A student that
            was trained in noise should be convinced as well. Where nothing convinces both, the black box alone is to be
            convinced, and where that fails, flipping is enough.
        edit: How the image may change: ``draw``: as the decoder draws it; ``shape``: by a smooth deformation alone, see
            ``deformation_search``; ``auto``: by a deformation where these were measured to convince the black box
            (``Calibration.follows_shape``) and one does, else as drawn.
        deformation: How hard to search for a deformation.
        flow: Edits by flow, which are tried first, see ``flow_search``; None: they are not.
        convince_student: Whether a student that has learned in noise has to be convinced too.
        strengths: Edits tried, ascending. The condition moves to the boundary at 1, to its mirror image at 2 and no
            further; the guidance keeps growing with the strength.
        farther: The same, tried where none of ``strengths`` convinces.
        refinements: Edits tried between the last that did not convince and the first that did.
        refine: Whether to remove what is not needed, see ``refinement``.
        alternatives: How many further, different answers to look for.
        diversity: Length of the random sideways movement of an alternative, relative to the movement itself.
        budget: Most images that the black box may be asked about in the search, or None.
    """

    steps: int = 4
    rounds: int = 3
    attempts: tuple[EditSettings, ...] = (
        EditSettings(0.5, student_guidance=0.2),
        EditSettings(0.5),
        EditSettings(0.7),
        EditSettings(0.85, 2.0),
        EditSettings(0.95, 1.0),
        EditSettings(0.5, 20.0),
        EditSettings(0.7, 20.0),
    )
    reach: tuple[int, int] | None = (2, 1)
    confidence: float | None = None
    edit: EditKind = "auto"
    deformation: DeformationSettings = USUAL_DEFORMATION
    flow: FlowSettings | None = USUAL_FLOW
    convince_student: bool = True
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0)
    farther: tuple[float, ...] = (4.0,)
    refinements: int = 1
    refine: bool = True
    alternatives: int = 2
    diversity: float = 1.0
    budget: int | None = None
