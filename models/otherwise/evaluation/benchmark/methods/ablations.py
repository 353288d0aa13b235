"""Our search without one of its ingredients at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.rendering import EditSettings
from otherwise.agent.editing.search import SearchSettings
from otherwise.agent.guidance_style import EVERYWHERE, STRONGEST_VOXELS, GuidanceStyle
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod
from otherwise.evaluation.benchmark.methods.own_search import USUAL, search_with_effect
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
    without: dict[str, tuple[str, SearchSettings, bool]] = {
        "no-lead": ("The student does not lead", replace(USUAL, attempts=unled), True),
        "unbounded": ("Any value, however dark or bright", replace(USUAL, reach=None), True),
        "boundary": ("The mere boundary is enough", replace(USUAL, confidence=0.0), True),
        "whole": ("All of the change stays, and ghosts with it", replace(USUAL, refine=False), True),
        "unguided": ("Never guided by the evidence", replace(USUAL, attempts=shallow), True),
        "guided": ("Always guided by the evidence", replace(USUAL, attempts=guided), True),
        "deep": ("Nearly full inversion", replace(USUAL, attempts=deep), True),
        "one-round": ("One round", replace(USUAL, rounds=1), True),
        "two-steps": ("Two solver steps instead of four", replace(USUAL, steps=2), True),
        "even": ("Effects spread evenly over their windows", USUAL, False),
    }

    leads = {
        "unshrunk": ("The change does not shrink in the end", replace(STRONGEST_VOXELS, shrinkage=0.0)),
        "unblurred": ("The student's lead is not blurred", replace(STRONGEST_VOXELS, smooth=False)),
        "everywhere": ("The student leads everywhere", replace(STRONGEST_VOXELS, share=1.0)),
        "plain-lead": ("The student leads as one that has not learned in noise", EVERYWHERE),
    }

    def method(
        name: str, title: str, settings: SearchSettings, follow: bool, lead: GuidanceStyle | None = None
    ) -> EditMethod:
        def make(agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
            agent = replace(agent, guidance_override=lead)
            result, effect = search_with_effect(agent, classifier, image, settings, follow)
            return Edit(result.best.image, result.target, result.valid, shown_effect(effect) if follow else effect)

        return EditMethod(name, title, "this project", make)

    whole = method("ours", "As it is", USUAL, True)
    parts = [method(name, *what) for name, what in without.items()]
    if in_noise:
        alone = replace(USUAL, convince_student=False)
        parts.append(method("unconvinced", "The student need not be convinced", alone, True))
        parts += [method(name, title, USUAL, True, lead) for name, (title, lead) in leads.items()]
    return (whole, *parts)
