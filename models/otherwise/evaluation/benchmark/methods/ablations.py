"""Our search without one of its ingredients at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.rendering import EditSettings
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.agent.guidance_style import EVERYWHERE, STRONGEST_VOXELS, GuidanceStyle
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod
from otherwise.evaluation.benchmark.methods.own_search import USUAL, SearchedEdit, search_with_effect
from otherwise.influence.effect import shown_effect


def ablations(in_noise: bool = False) -> tuple[EditMethod, ...]:
    """Return our method, and our method without one ingredient at a time.

    Args:
        in_noise: Whether the agent's student was trained on noise; further ingredients are then left out in turn.
    """
    unled = tuple(dict.fromkeys(replace(attempt, student_guidance=0.0) for attempt in USUAL.attempts))
    shallow = tuple(attempt for attempt in USUAL.attempts if attempt.guidance_scale == 0)
    guided = tuple(attempt for attempt in USUAL.attempts if attempt.guidance_scale > 0)
    deep = (EditSettings(0.95, 1.0), EditSettings(0.95, 2.0))
    without: dict[str, tuple[str, SearchSettings]] = {
        "no-lead": ("The student does not lead", replace(USUAL, attempts=unled)),
        "unbounded": ("Any value, however dark or bright", replace(USUAL, reach=None)),
        "boundary": ("The mere boundary is enough", replace(USUAL, confidence=0.0)),
        "whole": ("All of the change stays, and ghosts with it", replace(USUAL, refine=False)),
        "unguided": ("Never guided by the evidence", replace(USUAL, attempts=shallow)),
        "guided": ("Always guided by the evidence", replace(USUAL, attempts=guided)),
        "deep": ("Nearly full inversion", replace(USUAL, attempts=deep)),
        "one-round": ("One round", replace(USUAL, rounds=1)),
        "two-steps": ("Two solver steps instead of four", replace(USUAL, steps=2)),
    }

    leads = {
        "unshrunk": ("The change does not shrink in the end", replace(STRONGEST_VOXELS, shrinkage=0.0)),
        "unblurred": ("The student's lead is not blurred", replace(STRONGEST_VOXELS, smooth=False)),
        "everywhere": ("The student leads everywhere", replace(STRONGEST_VOXELS, share=1.0)),
        "plain-lead": ("The student's raw gradient leads everywhere, and no change shrinks", EVERYWHERE),
    }

    def method(
        name: str,
        title: str,
        settings: SearchSettings = USUAL,
        drawn: Callable[[SearchedEdit], np.ndarray] = _along_path,
        follow: bool = True,
        sensitive: bool = True,
        lead: GuidanceStyle | None = None,
    ) -> EditMethod:
        def make(agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
            agent = replace(agent, guidance_override=lead)
            found = search_with_effect(agent, classifier, image, settings, follow, sensitive)
            return Edit(found.result.best.image, found.result.target, found.result.valid, drawn(found))

        return EditMethod(name, title, "this project", make)

    whole = method("ours", "As it is")
    parts = [method(name, *what) for name, what in without.items()]
    parts += [
        method("edit-alone", "The effect of the edit alone, not along its path", drawn=_of_the_edit),
        method("insensitive", "The student does not say where the change counts", sensitive=False),
        method(
            "even",
            "Effects spread evenly over their windows",
            drawn=lambda found: found.effect,
            follow=False,
            sensitive=False,
        ),
    ]
    if in_noise:
        alone = replace(USUAL, convince_student=False)
        parts.append(method("unconvinced", "The student need not be convinced", alone))
        parts += [method(name, title, lead=lead) for name, (title, lead) in leads.items()]
    return (whole, *parts)


def _along_path(found: SearchedEdit) -> np.ndarray:
    return shown_effect(found.along_path)


def _of_the_edit(found: SearchedEdit) -> np.ndarray:
    return shown_effect(found.located)
