"""Explain lessons and let the reader look at every decisive region once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import BlackBox
from otherwise.concepts.embedding import region_embeddings
from otherwise.concepts.questions import RegionRef
from otherwise.concepts.units import unit_reader
from otherwise.evaluation.benchmark.methods.own_search import search_with_regions
from otherwise.evaluation.teaching.curves import TaughtRegion
from otherwise.evaluation.teaching.lessons import Lesson
from otherwise.images.atomic import atomic_path


def gather(
    agent: Agent,
    classifier: BlackBox,
    lessons: Iterable[Lesson],
    count: int,
    folder: Path,
    progress: Callable[[float], None] = lambda fraction: None,
) -> list[TaughtRegion]:
    """Return the decisive regions of all lessons.

    Args:
        agent: Explains.
        classifier: The black box; it has the units where it can be read, as on the server.
        lessons: What to explain.
        count: How many there are.
        folder: Where regions are stored, so that an interrupted run can be resumed.
        progress: Called with the share done.
    """
    reader = unit_reader(classifier, agent)
    assert reader is not None, "an agent always has units"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, lesson in enumerate(lessons, start=1):
        file = folder / f"{lesson.id}.npz"
        if file.is_file():
            with np.load(file) as arrays:
                masks, effects, embeddings = arrays["masks"], arrays["effects"], arrays["embeddings"]
        else:
            result, every = search_with_regions(agent, CountingBlackBox(classifier), lesson.image)
            measured = [region for region in every if region.effect > 0]
            masks = np.array([region.mask for region in measured], bool).reshape(-1, *lesson.image.shape[1:])
            effects = np.array([region.effect for region in measured], np.float32)
            embeddings = region_embeddings(reader, lesson.image, result.best.image, list(masks))
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, masks=masks, effects=effects, embeddings=embeddings)
        shares = effects / max(float(effects.sum()), 1e-12)
        for label, (mask, share, embedding) in enumerate(zip(masks, shares, embeddings, strict=True), start=1):
            ref = RegionRef(lesson.id, lesson.id, label)
            found.append(TaughtRegion(ref, embedding, float(share), lesson.name(mask)))
        progress(number / count)
    return found
