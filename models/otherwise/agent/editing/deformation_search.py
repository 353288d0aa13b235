"""The search for the least deformation that flips the black box: by its answers alone, without any gradient.

The black box is asked how its log-odds answer to each of the local magnifications. Of all fields with the same
response, to first order, the sum of the magnifications weighted by response over energy is a small and smooth one. It
is followed until the black box is convinced or a place would become implausibly large or small; from there the
responses are measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.deformation import (
    coarse_kinds,
    count_magnifications,
    deformed,
    is_plausible,
    magnifications,
)
from otherwise.blackbox.checked import CountingBlackBox, decision_value
from otherwise.blackbox.decision import DecisionRule

LEAST_MOVE = 1.0
"""Voxels of the classifier's grid by which a deformation has to move something to be seen. Less only resamples the
image: a classifier that this convinces does not go by shapes."""
UNLIKE = 0.3
"""Least distance of two displacement fields that count as different answers, as a share of the larger one."""
VOXELS_AT_ONCE = 2**20
"""Voxels in the images that the black box is asked about at once."""


@dataclass(frozen=True)
class DeformationSettings:
    """Settings of the search.

    Attributes:
        probe: Log-magnification with which the responses are measured, in both directions.
        rounds: How often the responses are measured at most.
        longest: Greatest displacement of a round, as a share of the image's shortest edge.
        stops: Displacements that are tried in a round.
        bisections: Displacements tried between the last that did not convince and the first that did.
        along: Shares of the deformation that convinces, for the path.
    """

    probe: float = 0.1
    rounds: int = 3
    longest: float = 0.15
    stops: int = 16
    bisections: int = 4
    along: tuple[float, ...] = (0.25, 0.5, 0.7, 0.85, 0.93, 1.0, 1.07, 1.15)


USUAL_DEFORMATION = DeformationSettings()


@dataclass(frozen=True, eq=False)
class DeformationResult:
    """The result of the search.

    Attributes:
        best: The least deformation that convinces; failing that, that flips; failing that, what came nearest.
        valid: Whether ``best`` flips the black box.
        convinces: Whether it convinces it.
        tried: Deformations along the same field, by strength: the greatest displacement in voxels.
    """

    best: Candidate
    valid: bool
    convinces: bool
    tried: tuple[Candidate, ...]

    @property
    def moves(self) -> bool:
        """Return whether the best deformation moves anything far enough to be seen."""
        return self.best.strength >= LEAST_MOVE


@dataclass(frozen=True, eq=False)
class DeformationSearch:
    """A search for deformations of one image on the classifier's grid.

    Attributes:
        classifier: Decides; counts what it is asked.
        rule: When it says a class.
        settings: How hard to search.
        target: Index of the class to flip to.
        goal: Probability of the target that convinces.
        stop_if_cancelled: Raises CancelledError where the search was cancelled.
    """

    classifier: CountingBlackBox
    rule: DecisionRule
    settings: DeformationSettings
    target: int
    goal: float
    stop_if_cancelled: Callable[[], None] = lambda: None

    def most_queries(self, size: tuple[int, ...], alternatives: bool) -> int:
        """Return how many images the black box may be asked about, for images of one size."""
        own, searched = self.settings, [count_magnifications(size)]
        if alternatives:
            searched += [kind.stop - kind.start for kind in coarse_kinds(size)]
        return sum(own.rounds * (2 * each + own.stops) + own.bisections + len(own.along) for each in searched)

    def run(self, original: Candidate, progress: Callable[[float], None] = lambda part: None) -> DeformationResult:
        """Search for the least deformation of the original."""
        field = self._search(original, magnifications(original.image.shape[1:]), progress)
        tried = self._asked(original, torch.stack([share * field for share in self.settings.along]))
        flips = [each for each in tried if self.rule.predicts(each.probabilities, self.target)]
        convince = [each for each in flips if self._convinces(each)]
        nearest = max(tried, key=lambda each: each.probabilities[self.target])
        best = min(convince or flips or [nearest], key=lambda each: each.strength)
        return DeformationResult(best, bool(flips), bool(convince), tuple(tried))

    def alternatives(self, original: Candidate, best: Candidate) -> tuple[Candidate, ...]:
        """Return coarser deformations (see ``coarse_kinds``) that convince and differ from the best one."""
        size = original.image.shape[1:]
        basis, found = magnifications(size), [best]
        for kind in coarse_kinds(size):
            (other,) = self._asked(original, self._search(original, basis[kind])[None])
            seen = self._convinces(other) and other.strength >= LEAST_MOVE
            if seen and all(_differ(other, each) for each in found):
                found.append(other)
        return tuple(found[1:])

    def _convinces(self, candidate: Candidate) -> bool:
        flips = bool(self.rule.predicts(candidate.probabilities, self.target))
        return flips and bool(candidate.probabilities[self.target] >= self.goal)

    def _search(
        self, original: Candidate, basis: torch.Tensor, progress: Callable[[float], None] = lambda part: None
    ) -> torch.Tensor:
        """Return the displacement field that just convinces; if none does, the one that comes nearest.

        Args:
            original: The unchanged image.
            basis: Fields ``(n, dims, *size)`` that may be added up.
            progress: Called with the share done.
        """
        image, own = original.image, self.settings
        lengths = torch.linspace(0, own.longest * min(image.shape[1:]), own.stops + 1)[1:]
        field = torch.zeros_like(basis[0])
        for number in range(own.rounds):
            progress(number / own.rounds)
            self.stop_if_cancelled()
            way = self._direction(image, field, basis)
            if way is None:
                break
            reachable = [length for length in lengths if bool(is_plausible((field + length * way)[None])[0])]
            if not reachable:
                break
            answers = self._answers(image, torch.stack([field + length * way for length in reachable]))
            enough = np.flatnonzero(answers[:, self.target] >= self.goal)
            if len(enough):
                first = int(enough[0])
                below = float(reachable[first - 1]) if first else 0.0
                return field + self._bisected(image, field, way, below, float(reachable[first])) * way
            field = field + reachable[int(answers[:, self.target].argmax())] * way
        return field

    def _direction(self, image: np.ndarray, field: torch.Tensor, basis: torch.Tensor) -> torch.Tensor | None:
        """Return the field of greatest displacement 1 that raises the target most; None if nothing moves it."""
        rise = torch.cat([self._rise(image, field, part) for part in basis.split(_at_once(image))])
        energy = torch.linalg.vector_norm(basis.flatten(1), dim=1).square() / basis[0].numel()
        way = torch.tensordot(rise / energy, basis, 1)
        length = way.norm(dim=0).max()
        return way / length if length > 0 else None

    def _rise(self, image: np.ndarray, field: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
        """Return by how much the target's log-odds rise along each of a few magnifications ``(n, dims, *size)``."""
        ends = [self._answers(image, field + sign * self.settings.probe * basis) for sign in (1, -1)]
        upper, lower = (decision_value(end, self.target, self.classifier.multi_label) for end in ends)
        return torch.from_numpy(upper - lower).float()

    def _bisected(self, image: np.ndarray, field: torch.Tensor, way: torch.Tensor, low: float, high: float) -> float:
        """Return the least length found between one that does not convince and one that does."""
        for _ in range(self.settings.bisections):
            middle = (low + high) / 2
            answer = self._answers(image, (field + middle * way)[None])[0]
            low, high = (low, middle) if answer[self.target] >= self.goal else (middle, high)
        return high

    def _asked(self, original: Candidate, fields: torch.Tensor) -> Sequence[Candidate]:
        images = deformed(original.image, fields)
        answers = self.classifier.predict(images)
        return [
            Candidate(image, answer, float(field.norm(dim=0).max()), displacement=field.numpy())
            for image, answer, field in zip(images, answers, fields, strict=True)
        ]

    def _answers(self, image: np.ndarray, fields: torch.Tensor) -> np.ndarray:
        parts = [self.classifier.predict(deformed(image, part)) for part in fields.split(_at_once(image))]
        return np.concatenate(parts)


def _differ(one: Candidate, other: Candidate) -> bool:
    assert one.displacement is not None
    assert other.displacement is not None
    larger = max(float(np.linalg.norm(each)) for each in (one.displacement, other.displacement))
    return float(np.linalg.norm(one.displacement - other.displacement)) > UNLIKE * larger


def _at_once(image: np.ndarray) -> int:
    """Return how many images like this one the black box is asked about at once."""
    return max(1, VOXELS_AT_ONCE // image.size)
