"""The result of a search: the edit that flips, the path to it, and other answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otherwise.agent.editing.candidate import Candidate
from otherwise.blackbox.checked import decision_value


@dataclass(frozen=True)
class SearchResult:
    """The result of the search.

    Attributes:
        original: The image itself, strength 0.
        target: Index of the class to flip to.
        best: The least movement that flips with confidence; failing that, that flips; failing that, what came nearest.
        valid: Whether ``best`` flips the black box.
        tried: Everything on the way from the original over ``best`` and beyond, by strength.
        alternatives: Other images that flip, different from ``best``.
        reconstruction: ``(channels, *size)``: what the decoder makes of the image without any edit.
        exhausted: The budget ended the search.
        goal: Probability of the target that convinces.
        by_flow: Whether the edits are those of the flow, each drawn anew, and not one edit in several strengths.
    """

    original: Candidate
    target: int
    best: Candidate
    valid: bool
    tried: tuple[Candidate, ...]
    alternatives: tuple[Candidate, ...]
    reconstruction: np.ndarray
    exhausted: bool
    goal: float
    by_flow: bool = False

    @property
    def convinces(self) -> bool:
        """Return whether the best edit flips the black box and reaches the goal."""
        return self.valid and bool(self.best.probabilities[self.target] >= self.goal)

    @property
    def path(self) -> tuple[Candidate, ...]:
        """Return the original, the way to the best, the best, and one step beyond."""
        return self.path_to(self.best)

    def path_to(self, candidate: Candidate) -> tuple[Candidate, ...]:
        """Return the same for another candidate; images far beyond it are unlike any real one and are left out."""
        beyond = [c for c in self.tried if c.strength > candidate.strength]
        return (*(c for c in self.tried if c.strength <= candidate.strength), *beyond[:1])

    def nearest_to_boundary(self, candidate: Candidate, multi_label: bool) -> Candidate | None:
        """Return the lesser edit by flow whose answer is nearest to the boundary; None if there is none."""
        between = [c for c in self.tried if self.by_flow and 0 < c.strength < candidate.strength]
        return min(
            between, key=lambda c: abs(float(decision_value(c.probabilities, self.target, multi_label))), default=None
        )
