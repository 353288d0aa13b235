"""The extent of a training and what can be expected of it, said before it begins."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace

from otherwise.agent.training.trainer import Trainer

TIMED_STEPS = 3
"""Steps of a copy that are timed; one before them is not, since the first one prepares much."""
ROUGH, GOOD = 2_000, 7_000
"""Steps of 16 images: below the first, counterfactuals are mostly noise; the shipped agents took 7,434 to 24,241."""
FEW_IMAGES = 300
"""Fewer images than this are seen so often that the decoder learns them by heart."""


@dataclass(frozen=True)
class Estimate:
    """The extent of a training.

    Attributes:
        steps: Steps that it takes, from now on.
        batch: Images a step, of all processes.
        images: Images to learn from.
        further: Whether it goes on from a trained agent or a checkpoint.
    """

    steps: int
    batch: int
    images: int
    further: bool = False

    @property
    def passes(self) -> float:
        """Return how often each image is seen."""
        return self.steps * self.batch / self.images

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return what to expect, and what to do about it."""
        equal = self.steps * self.batch / 16
        seen = f"each of {self.images:,} is seen {self.passes:.0f} times"
        lines = [f"About {self.steps:,} steps of {self.batch} images: {seen}."]
        if self.further:
            lines.append("The training goes on from weights that were trained before.")
        elif equal < ROUGH:
            lines.append(
                f"That is little: below {ROUGH:,} steps of 16, counterfactuals are mostly noise. "
                "Give more --minutes, or --start an agent of like images."
            )
        elif equal < GOOD:
            lines.append(
                f"Counterfactuals will be rough: the shipped agents took {GOOD:,} steps of 16 and more. "
                "Give more --minutes for fine detail."
            )
        else:
            lines.append("That is as much as the shipped agents took.")
        if self.images < FEW_IMAGES:
            lines.append(
                f"{self.images} images are few: what the decoder draws will resemble them. No label is needed, so give "
                "all that there are."
            )
        return tuple(lines)


def estimate(trainer: Trainer, further: bool) -> Estimate:
    """Time a few steps of a copy of the training, which itself stays as it is.

    Args:
        trainer: Ready to run.
        further: See ``Estimate``.
    """
    settings, batch = trainer.settings, trainer.settings.batch * trainer.processes.count
    left = 1 - trainer.fraction
    if settings.steps is not None and settings.minutes is None:
        return Estimate(round(left * settings.steps), batch, len(trainer.images), further)
    alone = replace(settings, student_first=0.0)
    trial = Trainer(copy.deepcopy(trainer.model), trainer.teacher, trainer.images, alone, trainer.device)
    trial.advance()
    started = time.perf_counter()
    for _ in range(TIMED_STEPS):
        trial.advance()
    each = (time.perf_counter() - started) / TIMED_STEPS
    steps = round(left * 60 * (settings.minutes or 0.0) / each)
    if settings.steps is not None:
        steps = min(steps, round(left * settings.steps))
    return Estimate(max(1, steps), batch, len(trainer.images), further)
