"""Choose the regions whose names would help most."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.settings.params import ParamsError
from lib.storage.owners import Caller
from lib.teaching.activation_cache import NotYetError
from lib.teaching.service import TeachingService
from otherwise.concepts.questions import STRATEGIES, next_questions


def ask(teaching: TeachingService, strategy: str, count: int, seed: int, caller: Caller) -> list[dict[str, Any]]:
    """Choose questions that the caller may see, as JSON.

    Raises:
        OtherwiseError: if there is no such strategy, or nothing to ask (yet).
    """
    if strategy not in STRATEGIES:
        raise ParamsError(f"There is no strategy {strategy[:64]!r}.", f"Choose of {', '.join(STRATEGIES)}.")
    taught = teaching.taught
    if taught is None:
        raise NotYetError("Nothing has been learned yet.", "Explain an image, and ask again in a minute.")
    if not taught.pool.regions and teaching.behind():
        raise NotYetError("The first explanation is still being read.", "Ask again in a moment.")
    owners = teaching.host.owners
    hidden = {id for id in {region.explanation for region in taught.pool.regions} if not caller.sees(owners.get(id))}
    wanted = count + sum(region.explanation in hidden for region in taught.pool.regions)
    generator = np.random.default_rng([seed, taught.labels])
    found = next_questions(strategy, taught.questions_pool, taught.model, wanted, generator)
    found = [question for question in found if question.region.explanation not in hidden][:count]
    return (
        _again(teaching, strategy, caller)
        + [
            {
                "image": question.region.image,
                "explanation": question.region.explanation,
                "label": question.region.label,
                "reason": question.reason,
                "strategy": strategy,
            }
            for question in found
        ]
    )[:count]


def _again(teaching: TeachingService, strategy: str, caller: Caller) -> list[dict[str, Any]]:
    """Return the label that the others believe least, to be looked at again; only where the strategy is mixed."""
    taught = teaching.taught
    if strategy != "mixed" or taught is None:
        return []
    for word in taught.doubtful:
        note = word.annotation
        if word.key is not None and note.term is not None and caller.sees(teaching.owner_of(note)):
            return [
                {
                    "image": note.image,
                    "explanation": word.key[0],
                    "label": word.key[1],
                    "reason": f"{note.author} says {note.term.meaning}, which the other labels do not make likely. "
                    "Say it again, or something else.",
                    "strategy": strategy,
                }
            ]
    return []
