"""The search for the least change that flips the black box.

The student proposes where to go in latent space, the decoder renders it from the image's own inverted noise, and the
black box alone decides whether the result is valid. Shallow inversion keeps more of the image, so it is tried first;
among the edits that flip with confidence, the least movement wins, and only the needed part of its change is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.bounds import Bounds
from otherwise.agent.editing.candidate import Candidate
from otherwise.agent.editing.deformation_search import DeformationSearch
from otherwise.agent.editing.direction import EditDirection, direction_to_boundary, evidence_boundary
from otherwise.agent.editing.flow_search import FlowResult, FlowSearch
from otherwise.agent.editing.flow_settings import FlowSettings
from otherwise.agent.editing.refinement import SHARES, Refinement
from otherwise.agent.editing.rendering import Cancelled, EditSettings, Inverted, Renderer, stop_if_cancelled
from otherwise.agent.editing.search_result import SearchResult
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.blackbox.checked import CountingBlackBox, decision_value
from otherwise.blackbox.decision import DecisionRule

LEAST_GAIN = 0.05
"""Log-odds that a round must bring for another one to be worth while."""
MILD = 2
"""Attempts of a round after which the deepest and the last one are asked for, if nothing has moved the black box: where
these do not move it either, the round ends."""

Progress = Callable[[str, float], None]


class Search:
    """A search for counterfactuals of one image on the classifier's grid.

    Args:
        agent: Proposes and renders.
        classifier: Decides; counts what it is asked.
        settings: How hard to search.
    """

    def __init__(self, agent: Agent, classifier: CountingBlackBox, settings: SearchSettings) -> None:
        self.agent = agent
        self.classifier = classifier
        self.rule = DecisionRule.of(classifier)
        self.settings = settings

    def run(
        self,
        image: np.ndarray,
        target: int | None = None,
        seed: int = 0,
        progress: Progress = lambda stage, fraction: None,
        cancelled: Cancelled = lambda: False,
    ) -> SearchResult:
        """Search for the least edit that convinces.

        Args:
            image: ``(channels, *size)`` float32 in [0, 1].
            target: Index of the wanted class; None: the nearest other one or, where that is not reached and another
                one is on the direction, that one: it is otherwise, too.
            seed: For the alternatives.
            progress: Called with the stage and the share of the search done.
            cancelled: Asked between solver steps.

        Raises:
            CancelledError: if ``cancelled`` says so.
        """
        start_queries = self.classifier.queries
        with torch.inference_mode():
            original = Candidate(image, self.classifier.predict(image[None])[0], 0.0)
            any_other = target is None and not self.classifier.multi_label
            if target is None:
                target = self.rule.nearest_other(original.probabilities)
            shaped = self._search_deformation(original, target, start_queries, progress, cancelled)
            if shaped is not None:
                return shaped
            flow = self._flow_search(original, target, seed, start_queries, cancelled)
            if flow is not None:
                progress("search", 0.0)
                convincing = flow.run(self.settings.alternatives, lambda part: progress("search", part))
                if convincing is not None:
                    return self._result_by_flow(flow, convincing, cancelled)
            found = self._search_rounds(original, target, any_other, seed, start_queries, progress, cancelled)
            # A value is reached or it is not.
            if (
                flow is not None
                and flow.settings.asked is None
                and not found.convinces
                and self._may_flow(start_queries)
            ):
                nearest = flow.nearest(self.settings.alternatives)
                if nearest is not None:
                    return self._result_by_flow(flow, nearest, cancelled)
            if not (self.settings.refine and found.valid):
                return found
            progress("refinement", 0.95)
            return self._refined(found, seed, start_queries, cancelled)

    def _goal(self, target: int) -> float:
        return self.agent.calibration.goal(target) if self.settings.confidence is None else self.settings.confidence

    def _search_deformation(
        self, original: Candidate, target: int, start_queries: int, progress: Progress, cancelled: Cancelled
    ) -> SearchResult | None:
        """Search for a deformation; None where it is not wanted or, unless only that is wanted, does not convince."""
        only = self.settings.edit == "shape"
        if not only and (self.settings.edit == "draw" or not self.agent.calibration.edits_by_shape):
            return None
        goal = self._goal(target)
        search = DeformationSearch(
            self.classifier, self.rule, self.settings.deformation, target, goal, stop_if_cancelled(cancelled)
        )
        wanted = self.settings.alternatives
        exhausted = self._over_budget(start_queries, search.most_queries(original.image.shape[1:], wanted > 0))
        if exhausted and not only:
            return None
        found = None if exhausted else search.run(original, lambda part: progress("search", part))
        if found is not None and not (only or (found.convinces and found.moves)):
            return None
        reconstruction = self._reconstruction(original, self.settings.attempts[0], cancelled)
        if found is None:
            return SearchResult(original, target, original, False, (original,), (), reconstruction, True, goal)
        tried = _by_strength([original, *found.tried])
        others = search.alternatives(original, found.best)[:wanted] if wanted and found.convinces else ()
        return SearchResult(original, target, found.best, found.valid, tried, others, reconstruction, False, goal)

    def _reconstruction(self, original: Candidate, settings: EditSettings, cancelled: Cancelled) -> np.ndarray:
        """Return what the decoder makes of the image without any edit, ``(channels, *size)``."""
        pixels = torch.from_numpy(original.image)[None].to(self.agent.device)
        condition = self._condition(pixels, original)
        steps = self.settings.steps
        return Renderer(self.agent, steps, pixels, condition, settings, None, {}, cancelled).reconstruction

    def _flow_search(
        self, original: Candidate, target: int, seed: int, start_queries: int, cancelled: Cancelled
    ) -> FlowSearch | None:
        """Return the search among edits by flow; None where they are not wanted or not possible."""
        flow = self.settings.flow
        if flow is None or not self._draws_by_flow(flow) or not self._may_flow(start_queries):
            return None
        return FlowSearch(
            self.agent,
            self._answered,
            self.classifier,
            flow,
            original,
            target,
            self._goal(target),
            self.rule,
            seed,
            stop_if_cancelled(cancelled),
        )

    def _may_flow(self, start_queries: int) -> bool:
        """Return whether the budget allows a search among edits by flow."""
        flow = self.settings.flow
        return flow is not None and not self._over_budget(start_queries, flow.most_edits(self.settings.alternatives))

    def _result_by_flow(self, flow: FlowSearch, found: FlowResult, cancelled: Cancelled) -> SearchResult:
        settings = EditSettings(flow.settings.reconstruction_depth)
        reconstruction = self._reconstruction(flow.original, settings, cancelled)
        tried, goal = _by_strength([flow.original, *found.tried]), self._goal(flow.target)
        return SearchResult(
            flow.original, flow.target, found.best, True, tried, found.alternatives, reconstruction, False, goal, True
        )

    def _draws_by_flow(self, flow: FlowSettings) -> bool:
        """Return whether to try edits by flow; of a value wherever the decoder draws other classes, since a small
        change that the student guides can reach a value by spoiling what the model measures."""
        known = self.agent.calibration
        return known.edits_by_flow if flow.asked is None else known.draws_by_flow

    def _condition(self, pixels: torch.Tensor, seen: Candidate) -> Conditioning:
        answer = torch.from_numpy(np.asarray(seen.probabilities, np.float32))[None].to(pixels)
        return Conditioning.of(self.agent.model.encode(pixels), clipped_log_odds(answer))

    def _search_rounds(
        self,
        original: Candidate,
        target: int,
        any_other: bool,
        seed: int,
        start_queries: int,
        progress: Progress,
        cancelled: Cancelled,
    ) -> SearchResult:
        """Try rounds of settings until one of them flips the black box."""
        base, trail, goal = original, [original], self._goal(target)
        reconstruction = original.image
        for number in range(self.settings.rounds):
            found = self._try_settings(base, target, start_queries, _share(progress, number), cancelled)
            reconstruction = reconstruction if number else found.reconstruction
            tried = _by_strength([*trail, *found.tried, found.best])
            if found.valid:
                progress("alternatives", 0.9)
                others = self._alternatives(found, base, target, seed, start_queries)
                return SearchResult(original, target, found.best, True, tried, others, reconstruction, False, goal)
            if found.exhausted or _value(found.best, target) < _value(base, target) + LEAST_GAIN:
                break
            base, trail = found.best, [c for c in tried if c.strength <= found.best.strength]
        other = _other_answer(original, tried, self.rule) if any_other else None
        if other is not None:
            reached = self.rule.label(other.probabilities)
            return SearchResult(original, reached, other, True, tried, (), reconstruction, found.exhausted, goal)
        return SearchResult(original, target, found.best, False, tried, (), reconstruction, found.exhausted, goal)

    def _try_settings(
        self, base: Candidate, target: int, start_queries: int, progress: Progress, cancelled: Cancelled
    ) -> _RoundResult:
        """Try all edit settings from one image, until one of them flips the black box or nothing moves it."""
        pixels = torch.from_numpy(base.image)[None].to(self.agent.device)
        condition = self._condition(pixels, base)
        direction = direction_to_boundary(
            self.agent.model,
            condition,
            torch.tensor([target], device=self.agent.device),
            self.rule.multi_label,
            evidence_boundary(self.rule, target),
        )
        nearest, reserve = _RoundResult(base, False, [], base.image, None, direction), None
        reconstruction: np.ndarray | None = None
        inverted: dict[float, Inverted] = {}
        strengths = (*self.settings.strengths, *self.settings.farther)
        ways: list[tuple[EditSettings, Bounds | None]] = [(attempt, None) for attempt in self.settings.attempts]
        if self.settings.reach is not None:
            reach = self.settings.reach[pixels.ndim - 4]
            ways.insert(0, (self.settings.attempts[0], Bounds.around(pixels, reach)))
        utmost = {max(range(len(ways)), key=lambda each: ways[each][0].inversion_depth), len(ways) - 1}
        made: dict[int, tuple[Renderer, list[Candidate]]] = {}

        def edits(number: int) -> tuple[Renderer, list[Candidate]]:
            if number not in made:
                attempt, bounds = ways[number]
                renderer = Renderer(
                    self.agent, self.settings.steps, pixels, condition, attempt, bounds, inverted, cancelled
                )
                tried = self._ask(renderer, direction, self.settings.strengths, base.strength)
                if self.settings.farther and self._least_convincing(tried, target, insist=True) is None:
                    tried += self._ask(renderer, direction, self.settings.farther, base.strength)
                made[number] = renderer, tried
            return made[number]

        for number, (_, bounds) in enumerate(ways):
            progress("search", number / len(ways))
            if self._over_budget(start_queries, len(strengths)):
                return reserve or replace(nearest, exhausted=True)
            may_look_ahead = number == MILD and not self._over_budget(start_queries, 3 * len(strengths))
            if may_look_ahead and not any(_moves(edits(n)[1], base, target) for n in (*range(MILD), *utmost)):
                break
            renderer, tried = edits(number)
            reconstruction = renderer.reconstruction if reconstruction is None else reconstruction
            least = self._least_convincing(tried, target, insist=bounds is not None)
            if least is not None:
                first = next(index for index, candidate in enumerate(tried) if candidate is least)
                below = strengths[first - 1] if first else 0.0
                between = np.linspace(below, strengths[first], self.settings.refinements + 2)[1:-1].tolist()
                if between and not self._over_budget(start_queries, len(between)):
                    tried += self._ask(renderer, direction, between, base.strength)
                    least = self._least_convincing(tried, target, insist=bounds is not None) or least
                return _RoundResult(least, True, tried, reconstruction, renderer, direction)
            if (flips := self._least_convincing(tried, target, insist=False)) is not None:
                reserve = _RoundResult(flips, True, tried, reconstruction, renderer, direction)
            best = max(tried, key=lambda c: _value(c, target))
            if not nearest.tried or _value(best, target) > _value(nearest.best, target):
                nearest = _RoundResult(best, False, tried, reconstruction, renderer, direction)
        return reserve or nearest

    def _least_convincing(self, tried: Sequence[Candidate], target: int, insist: bool) -> Candidate | None:
        """Return the least movement that convinces both, else the black box, else flips it; None: nothing flips.

        ``insist``: There are other ways, so that nothing less than convincing is good enough.
        """
        goal = self._goal(target)
        flips = [c for c in tried if self.rule.predicts(c.probabilities, target)]
        sure = [c for c in flips if c.probabilities[target] >= goal]
        alone = not self.settings.convince_student
        both = [c for c in sure if alone or c.student_probabilities is None or c.student_probabilities[target] >= goal]
        return min(both if insist else both or sure or flips, key=lambda c: c.strength, default=None)

    def _over_budget(self, start: int, more: int) -> bool:
        budget = self.settings.budget
        return budget is not None and self.classifier.queries - start + more > budget

    def _ask(
        self, renderer: Renderer, direction: EditDirection, strengths: Sequence[float], already: float = 0.0
    ) -> list[Candidate]:
        return self._judged(renderer(direction, strengths), [already + float(s) for s in strengths])

    def _answered(self, images: np.ndarray, strengths: Sequence[float]) -> list[Candidate]:
        """Return what the black box says of images."""
        answers = self.classifier.predict(images)
        return [Candidate(*one) for one in zip(images, answers, strengths, strict=True)]

    def _judged(self, images: np.ndarray, strengths: Sequence[float]) -> list[Candidate]:
        """Return what the black box says of images, and the student if it has learned in noise."""
        candidates = self._answered(images, strengths)
        if not self.agent.student_noise:
            return candidates
        pixels = torch.from_numpy(images).to(self.agent.device)
        by_student = self.agent.model.predict(pixels, self.classifier.multi_label).cpu().numpy()
        return [replace(one, student_probabilities=answer) for one, answer in zip(candidates, by_student, strict=True)]

    def _refined(self, found: SearchResult, seed: int, start: int, cancelled: Cancelled) -> SearchResult:
        """Keep of all changes the part that the best needs, and of the alternatives the part that they need."""
        most = len(SHARES) * (2 + len(found.alternatives)) + 2 * len(found.tried)
        if self._over_budget(start, most):
            return found
        refinement = Refinement(self.agent, self._judged, found.goal, self.rule)
        image, generator = found.original.image, torch.Generator().manual_seed(seed)
        moved = [candidate for candidate in found.tried if candidate.strength > 0]
        moved = refinement.path(image, moved, found.best, found.target, generator, stop_if_cancelled(cancelled))
        best = next(candidate for candidate in moved if candidate.strength == found.best.strength)
        others = tuple(refinement.needed(image, other, found.target) for other in found.alternatives)
        return replace(found, best=best, tried=(found.original, *moved), alternatives=others)

    def _alternatives(
        self, found: _RoundResult, base: Candidate, target: int, seed: int, start: int
    ) -> tuple[Candidate, ...]:
        """Cross the boundary elsewhere: the same direction plus a random movement that the student does not see."""
        wanted, direction = self.settings.alternatives, found.direction
        if not wanted or found.renderer is None or self._over_budget(start, 2 * wanted):
            return ()
        generator = torch.Generator().manual_seed(seed)
        sideways = torch.randn(wanted, direction.latent.shape[1], generator=generator).to(direction.latent)
        length = direction.latent.norm()
        unit = direction.latent / length
        sideways = sideways - (sideways @ unit.T) * unit
        sideways = self.settings.diversity * length * sideways / sideways.norm(dim=1, keepdim=True)
        own = found.best.strength - base.strength
        chosen: dict[int, Candidate] = {}
        for factor in (1.0, 1.5):
            left = [index for index in range(wanted) if index not in chosen]
            if left:
                other = replace(direction, latent=direction.latent + sideways[left])
                tried = self._ask(found.renderer, other, [factor * own] * len(left), base.strength)
                flips = [self.rule.predicts(c.probabilities, target) for c in tried]
                chosen |= {index: c for index, c, flip in zip(left, tried, flips, strict=True) if flip}
        return tuple(chosen[index] for index in sorted(chosen))


@dataclass(frozen=True)
class _RoundResult:
    """The result of one round: the attempt that flipped or came nearest."""

    best: Candidate
    valid: bool
    tried: list[Candidate]
    reconstruction: np.ndarray
    renderer: Renderer | None
    direction: EditDirection
    exhausted: bool = False


def _other_answer(original: Candidate, tried: Sequence[Candidate], rule: DecisionRule) -> Candidate | None:
    """Return the least movement after which the black box gives any other answer."""
    before = rule.label(original.probabilities)
    others = [c for c in tried if rule.label(c.probabilities) != before]
    return min(others, key=lambda c: c.strength, default=None)


def _value(candidate: Candidate, target: int) -> float:
    return float(decision_value(candidate.probabilities, target))


def _moves(tried: Sequence[Candidate], base: Candidate, target: int) -> bool:
    """Return whether an edit moves the black box by at least ``LEAST_GAIN``, to either side."""
    return any(abs(_value(each, target) - _value(base, target)) >= LEAST_GAIN for each in tried)


def _by_strength(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    every = {c.strength: c for c in candidates}
    return tuple(every[strength] for strength in sorted(every))


def _share(progress: Progress, number: int) -> Progress:
    """Return the progress of one of several rounds; nearly always the first is the last."""
    return lambda stage, part: progress(stage, 1 - 0.2**number * (1 - 0.8 * part))
