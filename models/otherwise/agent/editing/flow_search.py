"""The search among edits by flow: how strong, and where.

Strengths (see ``edit_scale``) are tried in fours, and the least that convinces the black box counts. The change of that
edit is taken apart by windows, and the effect of each on the black box is measured. Of the regions of the strongest
effect and the connected parts of the change, the one of the least change that still convinces and does not look cut out
is edited again, held to the image elsewhere at each step. Of what convinces and does not look cut out, the least change
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.direction import evidence_boundary
from otherwise.agent.editing.edit_scale import EditScale, EvidenceScale, TimeScale, opposite_evidence
from otherwise.agent.editing.flow_edit import flow_edit, without_grain
from otherwise.agent.editing.flow_settings import QUARTERS, FlowSettings
from otherwise.agent.editing.realism import denoising_errors
from otherwise.agent.editing.regions import (
    cuts_through,
    edges_nearby,
    regions_of_change,
    regions_of_effect,
    seam,
    strong_parts,
)
from otherwise.agent.editing.rendering import as_images
from otherwise.agent.flow import StepDone
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.influence.effect import measure_effect
from otherwise.influence.parts import composite

NEARLY = 0.9
"""Share of the farthest edit's way to the target that is enough where no edit convinces."""
Judge = Callable[[np.ndarray, Sequence[float]], list[Candidate]]
"""Images ``(n, channels, *size)`` in [0, 1] and their strengths -> candidates with the black box's answers."""


@dataclass(frozen=True)
class FlowResult:
    """The result of the search.

    Attributes:
        best: The least edit that convinces.
        tried: Edits of the same region and noise, by strength.
        alternatives: Edits of the same region from other noises that flip the black box.
    """

    best: Candidate
    tried: tuple[Candidate, ...]
    alternatives: tuple[Candidate, ...]


class FlowSearch:
    """A search among edits by flow of one image.

    Args:
        agent: Draws.
        judge: Asks the black box.
        classifier: The black box.
        settings: How to search.
        original: The image and the black box's answer.
        target: Index of the class to flip to.
        goal: Probability of the target that convinces.
        rule: When the black box says a class.
        seed: Of the noises.
        step_done: See ``flow.StepDone``.
    """

    def __init__(
        self,
        agent: Agent,
        judge: Judge,
        classifier: BlackBox,
        settings: FlowSettings,
        original: Candidate,
        target: int,
        goal: float,
        rule: DecisionRule,
        seed: int,
        step_done: StepDone,
    ) -> None:
        self.agent, self.judge, self.classifier = agent, judge, classifier
        self.settings, self.original = settings, original
        self.target, self.goal, self.rule, self.step_done = target, goal, rule, step_done
        self._pixels = 2 * torch.from_numpy(original.image)[None].to(agent.device) - 1
        self._generator = torch.Generator().manual_seed(seed)
        self._noise = self._new_noise(1)
        self._whole: list[tuple[EditScale, Candidate]] = []
        answer = torch.from_numpy(np.asarray(original.probabilities, np.float32))[None].to(self._pixels)
        present = clipped_log_odds(answer)
        sure = opposite_evidence(present, target, rule.multi_label, evidence_boundary(rule, target))
        latent = torch.zeros(1, agent.model.architecture.latent).to(self._pixels)
        self._present = Conditioning.of(latent, present).withheld()
        self._scales = _scales(settings, self._present, Conditioning.of(latent, sure).withheld())

    def run(self, alternatives: int, progress: Callable[[float], None] = lambda part: None) -> FlowResult | None:
        """Search for the least edit that convinces.

        Args:
            alternatives: How many other answers to look for.
            progress: Called with the share done.

        Returns:
            None if no edit of the whole image convinces.
        """
        for scale in self._scales:
            whole = self._least_convincing(scale)
            if whole is not None:
                return self._within_region(whole, scale, alternatives, progress)
        return None

    def nearest(self, alternatives: int) -> FlowResult | None:
        """Search for the least edit that comes nearly as far as the farthest one, where ``run`` found none.

        The true counterfactual of an image may convince less than most images of the target do.

        Args:
            alternatives: See ``run``.

        Returns:
            None if no edit of the whole image flips the black box.
        """
        flips = [pair for pair in self._whole if self.rule.predicts(pair[1].probabilities, self.target)]
        if not flips:
            return None
        before = self.original.probabilities[self.target]
        farthest = max(edit.probabilities[self.target] for _, edit in flips)
        lowered = copy(self)
        lowered.goal = float(before + NEARLY * (farthest - before))
        far = [pair for pair in flips if lowered._convinces(pair[1])]
        scale, whole = min(far, key=lambda pair: self._change(pair[1]))
        return lowered._within_region(whole, scale, alternatives, lambda part: None)

    def _within_region(
        self, whole: Candidate, scale: EditScale, alternatives: int, progress: Callable[[float], None]
    ) -> FlowResult:
        """Edit the region of an edit's effect again, and keep the least edit that is enough."""
        progress(0.5)
        edges = edges_nearby(self.original.image, whole.image)
        region, part = self.best_region(whole, edges)
        inside = self._edit([factor * whole.strength for factor in self.settings.along], scale, region)
        progress(0.8)
        best, path, depths = self._least_grain([part, *inside], scale, region, edges)
        tried = [*(c for c in path if c.strength != best.strength), best]
        others: list[Candidate] = []
        if alternatives:
            noise = self._new_noise(alternatives)
            made = self._edit([self.settings.stronger * best.strength] * alternatives, scale, region, noise)
            others = self._flips_with_least_grain(made, scale, region, noise, depths)
        return FlowResult(best, tuple(sorted(tried, key=lambda c: c.strength)), tuple(others))

    def flips_at_most(self) -> bool:
        """Return whether the strongest edit of the whole image flips the black box."""
        scale = self._scales[0]
        (candidate,) = self._edit([scale.limits[1]], scale)
        return bool(self.rule.predicts(candidate.probabilities, self.target))

    def _least_convincing(self, scale: EditScale) -> Candidate | None:
        """Find the least strength that convinces the black box, if the whole image is edited."""
        low, high = scale.limits
        tried = self._edit(_quarters(low, scale.first), scale)
        if not any(map(self._convinces, tried)) and self._moves(tried[-1]):
            low = scale.first
            tried = self._edit(_quarters(low, high), scale)
        least = next(filter(self._convinces, tried), None)
        for _ in range(self.settings.quarterings - 1):
            if least is None:
                break
            below = max((each.strength for each in tried if each.strength < least.strength), default=low)
            tried = [*self._edit(_quarters(below, least.strength)[:-1], scale), least]
            low, least = below, next(filter(self._convinces, tried))
        return least

    def best_region(self, whole: Candidate, edges: np.ndarray) -> tuple[np.ndarray, Candidate]:
        """Return the region of the least change that convinces and does not look cut out, and the change within it.

        Args:
            whole: An edit of the whole image that convinces.
            edges: See ``regions.edges_nearby``.

        Returns:
            A mask ``size`` in [0, 1], and the image with that part of the edit; all of it where no region is enough.
        """
        settings, image = self.settings, self.original.image
        change = np.abs(whole.image - image).max(axis=0)
        effect = measure_effect(
            self.classifier, image, whole.image, self.target, most=settings.windows, follow=False
        ).values
        regions = [
            *regions_of_effect(effect, change, settings.shares, settings.border),
            *regions_of_change(effect, change, settings.levels, settings.touched),
        ]
        strong = strong_parts(change)
        masks = [region for region in regions if not cuts_through(region, strong)]
        everything = (np.ones(change.shape, np.float32), whole)
        if not masks:  # no part of the change stands out, or all cut through what does
            return everything
        parts = self.judge(
            np.stack([composite(image, whole.image, mask) for mask in masks]), [whole.strength] * len(masks)
        )
        enough = [pair for pair in zip(masks, parts, strict=True) if self._is_enough(pair[1], edges)]
        return min([*enough, everything], key=lambda pair: self._change(pair[1]))

    def _least_grain(
        self, edits: Sequence[Candidate], scale: EditScale, region: np.ndarray, edges: np.ndarray
    ) -> tuple[Candidate, list[Candidate], tuple[float, ...]]:
        """Take as much grain from edits as leaves one that is enough.

        Args:
            edits: Of the region; the first one is enough as it is.
            region: Mask ``size`` in [0, 1].
            edges: See ``regions.edges_nearby``.

        Returns:
            The least edit that is enough; all edits but the first after the same treatment; and the depths that may be
            tried on other edits, the one that was used first.
        """
        depths = self.settings.grain_depths
        for index, depth in enumerate(depths):
            cleaned = self._cleaned(edits, scale, region, self._noise, depth)
            enough = [each for each in cleaned if self._is_enough(each, edges)]
            if enough:
                return self._most_believable(enough), cleaned[1:], depths[index:]
        enough = [edits[0], *(each for each in edits[1:] if self._is_enough(each, edges))]
        return self._most_believable(enough), list(edits[1:]), ()

    def _flips_with_least_grain(
        self,
        edits: Sequence[Candidate],
        scale: EditScale,
        region: np.ndarray,
        noise: torch.Tensor,
        depths: Sequence[float],
    ) -> list[Candidate]:
        """Return the edits that flip the black box, each without as much grain as lets it.

        Args:
            edits: ``n`` of the region.
            region: Mask ``size`` in [0, 1].
            noise: ``(n, channels, *size)`` of the edits.
            depths: Depths to try in turn; where none lets an edit flip, it stays as it is.
        """
        kept: list[Candidate | None] = [None] * len(edits)
        for depth in (*depths, 0.0):
            left = [index for index, each in enumerate(kept) if each is None]
            if not left:
                break
            some = [edits[index] for index in left]
            cleaned = self._cleaned(some, scale, region, noise[left], depth) if depth else some
            for index, each in zip(left, cleaned, strict=True):
                if self.rule.predicts(each.probabilities, self.target):
                    kept[index] = each
        return [each for each in kept if each is not None]

    def _cleaned(
        self, edits: Sequence[Candidate], scale: EditScale, region: np.ndarray, noise: torch.Tensor, depth: float
    ) -> list[Candidate]:
        """Return edits of a region after ``without_grain``, judged again; outside of it they are the image itself."""
        wanted = scale.wanted([edit.strength for edit in edits])
        pixels = torch.from_numpy(np.stack([edit.image for edit in edits])).to(self._pixels) * 2 - 1
        mask = torch.from_numpy(region)[None, None].to(pixels)
        steps = self.settings.grain_steps
        made = without_grain(self.agent.model, pixels, wanted, noise.expand_as(pixels), depth, steps, mask)
        images = np.where(region[None] > 0, as_images(made), self.original.image)
        return self.judge(images, [edit.strength for edit in edits])

    def _edit(
        self,
        strengths: Sequence[float],
        scale: EditScale,
        masks: np.ndarray | None = None,
        noise: torch.Tensor | None = None,
    ) -> list[Candidate]:
        """Edit with each of the strengths; ``masks`` is one region ``size``, or one for each."""
        strengths = [min(strength, scale.limits[1]) for strength in strengths]
        count = len(strengths)
        pixels = self._pixels.expand(count, *self._pixels.shape[1:])
        noise = (self._noise if noise is None else noise).expand_as(pixels)
        regions = None
        if masks is not None:
            each = masks if masks.ndim == pixels.ndim - 1 else masks[None]
            regions = torch.from_numpy(np.asarray(each[:, None], np.float32)).to(pixels)
        wanted = scale.wanted(strengths)
        made = flow_edit(
            self.agent.model,
            pixels,
            self._present.expand(count),
            wanted,
            noise,
            [scale.flow(strength) for strength in strengths],
            regions,
            scale.steps,
            self.step_done,
            scale.renewed,
        )
        images = as_images(made)
        if regions is not None:
            images = np.where(regions.cpu().numpy() > 0, images, self.original.image)
        judged = self.judge(images, strengths)
        if masks is None:
            self._whole += [(scale, each) for each in judged]
        return judged

    def _most_believable(self, candidates: Sequence[Candidate]) -> Candidate:
        return most_believable(self.agent, self.original.image, candidates, self.settings.slack)

    def _change(self, candidate: Candidate) -> float:
        return change_of(candidate, self.original.image)

    def _convinces(self, candidate: Candidate) -> bool:
        flips = bool(self.rule.predicts(candidate.probabilities, self.target))
        return flips and bool(candidate.probabilities[self.target] >= self.goal)

    def _is_enough(self, part: Candidate, edges: np.ndarray) -> bool:
        """Return whether a part of an edit convinces and does not look cut out; ``edges``: see ``edges_nearby``."""
        return self._convinces(part) and seam(edges, part.image) <= self.settings.seam

    def _moves(self, candidate: Candidate) -> bool:
        """Return whether a candidate is at least half as far as the boundary; if not, more strength is no use."""
        before, now = self.original.probabilities[self.target], candidate.probabilities[self.target]
        return bool(abs(now - before) > self.settings.least_move)

    def _new_noise(self, count: int) -> torch.Tensor:
        return torch.randn(count, *self._pixels.shape[1:], generator=self._generator).to(self._pixels)


def _quarters(low: float, high: float) -> list[float]:
    """Return the strengths at ``QUARTERS`` of an interval, ascending."""
    return [low + part * (high - low) for part in QUARTERS]


def change_of(candidate: Candidate, image: np.ndarray) -> float:
    """Return the mean absolute difference of a candidate from ``image``."""
    return float(np.abs(candidate.image - image).mean())


def most_believable(agent: Agent, image: np.ndarray, candidates: Sequence[Candidate], slack: float) -> Candidate:
    """Return the most realistic of the candidates whose change is not much greater than the least one.

    Args:
        agent: Measures realism, see ``realism.denoising_errors``.
        image: ``(channels, *size)``, the original.
        candidates: At least one.
        slack: Changes of at most so many times the least one are small enough, from 1.
    """
    least = min(change_of(each, image) for each in candidates)
    small = [each for each in candidates if change_of(each, image) <= slack * least]
    if len(small) == 1:
        return small[0]
    answers = np.stack([each.probabilities for each in small])
    errors = denoising_errors(agent, np.stack([each.image for each in small]), answers)
    return small[int(errors.argmin())]


def _scales(settings: FlowSettings, present: Conditioning, sure: Conditioning) -> tuple[EditScale, ...]:
    """Return the scales of strength in the order in which they are tried; ``sure``: see ``opposite_evidence``."""
    scales: list[EditScale] = []
    if settings.asked is not None:
        target = replace(sure, evidence=settings.asked * sure.evidence)
        scales += [
            EvidenceScale(present, target, settings.deep, each, settings.deep_steps) for each in settings.deep_guidance
        ]
    target = replace(sure, evidence=settings.evidence * sure.evidence)
    scales += [
        TimeScale(target, each, settings.starts, settings.first, settings.steps) for each in settings.guidance_scales
    ]
    return tuple(scales)
