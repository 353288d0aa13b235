"""Reduce a convincing change to what is needed, and draw the place of what was removed again.

An edit changes the whole image a little. Most of that can be taken back, the least changes first, and
the black box is convinced all the same. And where something that stood out went, a ghost of it is left, since the
noise that the edit is rendered from still contains it: there the decoder draws again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.rendering import as_images
from otherwise.agent.flow import StepDone, redraw
from otherwise.blackbox.decision import DecisionRule
from otherwise.influence.minimal import AT_ONCE
from otherwise.influence.parts import composite, ranks, soft

SHARES = tuple(2.0**-halvings for halvings in range(8, 0, -1))
"""Candidate fractions of the most changed voxels to keep. Finer steps leave the black box just convinced, and
others less."""
SURE = 0.98
"""Probability of the target that such a part should reach, or what the whole change reaches if that is less. More than
the search asks for: what is taken back is what others saw, too."""
STOOD_OUT = 0.25
"""Share of the intensity range: where something changes by more, something that stood out came or went."""
GHOST = 0.03
"""In such an image, every voxel that changes by more than this share of the range is drawn again."""
GHOST_DEPTH = 0.3
"""Time of the noise that it is drawn from: ghosts are faint."""
GHOST_STEPS = 2
"""Solver steps from there: more of them were measured to draw letters no better."""
FAINT = 0.05
"""What then still changes by no more than this share of the range is taken back: what stands out has an edge."""
MOST_MORE = 1.25
"""Factor by which the redrawn image may change more than before, so that only a ghost is removed."""

Judge = Callable[[np.ndarray, Sequence[float]], list[Candidate]]
"""Images ``(n, channels, *size)`` in [0, 1] and their strengths -> what is said of them."""


class Refinement:
    """Reduces changes that convince, so that they still convince.

    Args:
        agent: Draws.
        judge: Says what the black box (and a student that has learned in noise) makes of images.
        confidence: Probability of the target that the student has to keep, unless it was lower before.
        rule: When the black box says a class.
    """

    def __init__(self, agent: Agent, judge: Judge, confidence: float, rule: DecisionRule) -> None:
        self.agent, self.judge, self.confidence, self.rule = agent, judge, confidence, rule

    def path(
        self,
        image: np.ndarray,
        moved: Sequence[Candidate],
        best: Candidate,
        target: int,
        generator: torch.Generator,
        step_done: StepDone,
    ) -> list[Candidate]:
        """Reduce every image of a path to the part that the best one needs; remove ghosts from the best and beyond.

        Args:
            image: The original, ``(channels, *size)`` in [0, 1].
            moved: All others, ascending in strength.
            best: One of them.
            target: Index of the class that it is about.
            generator: Of the noise.
            step_done: See ``flow.StepDone``.

        Returns:
            As many, of the same strengths.
        """
        part = self._needed_part(image, best, target, most=SURE)
        if part is not None:
            others = [candidate for candidate in moved if candidate.strength != best.strength]
            moved = sorted(
                [part.seen, *self._parts(image, others, [part.mask] * len(others))], key=lambda c: c.strength
            )
        ghostly = [c for c in moved if c.strength >= best.strength and _stands_out(image, c)]
        if not ghostly:
            return list(moved)
        drawn = self._redrawn(image, ghostly, generator, step_done)
        pairs = zip(ghostly, self.judge(drawn, [candidate.strength for candidate in ghostly]), strict=True)
        clear = {
            now.strength: now
            for before, now in pairs
            if self._convinces(now, before, target, 1.0) and _change(image, now) <= MOST_MORE * _change(image, before)
        }
        if best.strength in clear:  # what is now clear to the black box may need still less
            clear[best.strength] = self._needed(image, clear[best.strength], target, most=1.0)
        return [clear.get(candidate.strength, candidate) for candidate in moved]

    def needed(self, image: np.ndarray, candidate: Candidate, target: int) -> Candidate:
        """Return the needed part of a single change."""
        return self._needed(image, candidate, target, most=SURE)

    def _needed(self, image: np.ndarray, candidate: Candidate, target: int, most: float) -> Candidate:
        part = self._needed_part(image, candidate, target, most)
        return candidate if part is None else part.seen

    def _parts(
        self, image: np.ndarray, candidates: Sequence[Candidate], masks: Sequence[np.ndarray]
    ) -> list[Candidate]:
        """Return the part of each change within its own mask."""
        if not candidates:
            return []
        pairs = zip(candidates, masks, strict=True)
        images = np.stack([composite(image, candidate.image, mask) for candidate, mask in pairs])
        return self.judge(images, [candidate.strength for candidate in candidates])

    def _needed_part(self, image: np.ndarray, found: Candidate, target: int, most: float) -> _Part | None:
        """Return the smallest of ``SHARES`` of the most changed voxels that convinces; None: all of them are needed.

        The shares are asked about a few at a time, until one convinces.
        """
        change = np.abs(found.image - image).max(axis=0)
        rank = ranks(ndimage.gaussian_filter(change, 1.0), ties=change)
        for start in range(0, len(SHARES), AT_ONCE):
            masks = [soft(rank < share * rank.size) for share in SHARES[start : start + AT_ONCE]]
            for mask, seen in zip(masks, self._parts(image, [found] * len(masks), masks), strict=True):
                if self._convinces(seen, found, target, most):
                    return _Part(mask, seen)
        return None

    def _convinces(self, now: Candidate, before: Candidate, target: int, most: float) -> bool:
        """Return whether it flips, the target is as probable as before or ``most``, and the student is convinced."""
        if not self.rule.predicts(now.probabilities, target):
            return False
        if now.probabilities[target] < min(most, before.probabilities[target]):
            return False
        if now.student_probabilities is None or before.student_probabilities is None:
            return True
        return bool(now.student_probabilities[target] >= min(self.confidence, before.student_probabilities[target]))

    def _redrawn(
        self, image: np.ndarray, candidates: Sequence[Candidate], generator: torch.Generator, step_done: StepDone
    ) -> np.ndarray:
        """Draw the changed voxels again, conditioned on the edited images: ``(candidates, channels, *size)``."""
        edits = np.stack([candidate.image for candidate in candidates])
        masks = np.stack([soft(change > GHOST) for change in np.abs(edits - image).max(axis=1)])
        model, device = self.agent.model, self.agent.device
        pixels = torch.from_numpy(edits).to(device)
        answers = torch.from_numpy(np.stack([candidate.probabilities for candidate in candidates])).to(pixels)
        condition = Conditioning.of(model.encode(pixels), clipped_log_odds(answers))
        noise = torch.randn(pixels.shape[1:], generator=generator).to(pixels).expand_as(pixels)
        mask = torch.from_numpy(masks[:, None]).to(pixels)
        drawn = redraw(
            lambda x, t: model.velocity(x, t, condition),
            2 * pixels - 1,
            mask,
            noise,
            GHOST_DEPTH,
            GHOST_STEPS,
            step_done,
        )
        anew = as_images(drawn)
        faint = np.abs(anew - image).max(axis=1, keepdims=True) <= FAINT
        return np.where(faint, image, anew)


@dataclass(frozen=True)
class _Part:
    """The masked part of a change (``mask`` is ``size`` in [0, 1]), and the image with it alone, judged."""

    mask: np.ndarray
    seen: Candidate


def _change(image: np.ndarray, candidate: Candidate) -> float:
    return float(np.abs(candidate.image - image).mean())


def _stands_out(image: np.ndarray, candidate: Candidate) -> bool:
    return bool(np.abs(candidate.image - image).max() > STOOD_OUT)
