"""Methods that make a counterfactual: ours, and baselines written from the papers of others, with the same agent.

The baselines get the agent's encoder, student and decoder, so that what differs is the way of moving alone: figures of
theirs say how good the way is, not how good their authors' networks are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from otherwise.agent.bundle import Agent
from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.direction import direction_to_boundary
from otherwise.agent.editing.rendering import EditSettings, as_images
from otherwise.agent.editing.search import Search, SearchResult, SearchSettings
from otherwise.agent.flow import Velocity, invert, render
from otherwise.agent.guidance_style import EVERYWHERE, STRONGEST_VOXELS, GuidanceStyle
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.costs import timed
from otherwise.influence.effect import measure_effect, shown_effect
from otherwise.influence.minimal import minimal_mask
from otherwise.influence.parts import composite, soft
from otherwise.influence.regions import MeasuredRegion, measure_regions, reconstruction_floor

CHANGE, REGIONS = "ours-change", "ours-regions"
FULL_STEPS = 100
"""Solver steps each way of a full inversion, as MoPaDi and Atad et al. take them."""


@dataclass(frozen=True, eq=False)
class Edit:
    """What a method made of an image.

    Attributes:
        image: ``(channels, *size)`` float32 in [0, 1].
        target: Index of the class it was made for.
        valid: Whether the black box says so.
        effect: ``size``: where the method says the change matters; None: it says nothing.
        maps: Further maps ``size`` that come with it, by the names in ``EditMethod.maps``.
        shared_seconds: What was spent for it before, by another method that begins with the same search.
        shared_queries: Likewise, in images that the black box was asked about.
    """

    image: np.ndarray
    target: int
    valid: bool
    effect: np.ndarray | None = None
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    shared_seconds: float = 0.0
    shared_queries: int = 0


MakeEdit = Callable[[Agent, CountingBlackBox, np.ndarray], Edit]


@dataclass(frozen=True)
class EditMethod:
    """A way to make a counterfactual.

    Attributes:
        name: For machines.
        title: For people.
        source: Paper.
        make: Agent, black box and image ``(channels, *size)`` in [0, 1] -> what came out.
        maps: Names and titles of further maps that come with it.
        slow: It is given only every second image.
    """

    name: str
    title: str
    source: str
    make: MakeEdit
    maps: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False


USUAL = SearchSettings(alternatives=0)
"""As users get it, without further answers."""


def search_with_effect(
    agent: Agent,
    classifier: CountingBlackBox,
    image: np.ndarray,
    settings: SearchSettings = USUAL,
    follow: bool = True,
) -> tuple[SearchResult, np.ndarray]:
    """Search, and measure the effect ``size`` of the change; see ``measure_effect`` for ``follow``."""
    result = Search(agent, classifier, settings).run(image)
    return result, measure_effect(classifier, image, result.best.image, result.target, follow=follow).values


def search_with_regions(
    agent: Agent, classifier: CountingBlackBox, image: np.ndarray
) -> tuple[SearchResult, np.ndarray, list[MeasuredRegion]]:
    """Search, and measure the effect ``size`` of the change and the regions that decide, the strongest first."""
    result, effect = search_with_effect(agent, classifier, image)
    floor = reconstruction_floor(image, result.reconstruction)
    return result, effect, measure_regions(classifier, image, result.best.image, effect, floor, result.target)


@dataclass(frozen=True, eq=False)
class _Searched:
    """One search, what its change does, and what both cost."""

    result: SearchResult
    effect: np.ndarray
    seconds: float
    queries: int


class SharedSearch:
    """The search of an image and the measured effect of its change, made once for all methods that begin with them.

    Only the last image's is kept. Each method's row shows the costs as if it had searched alone.
    """

    def __init__(self) -> None:
        self._key: tuple[str, str, bytes] | None = None
        self._last: _Searched | None = None

    def ours(self, agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
        """Search, and show the measured effect of the change and the regions that decide."""
        found, again = self._search(agent, classifier, image)
        result, effect = found.result, found.effect
        made = result.best.image
        floor = reconstruction_floor(image, result.reconstruction)
        decisive = np.zeros(effect.shape, np.float32)
        for region in measure_regions(classifier, image, made, effect, floor, result.target):
            decisive[region.mask] = region.effect
        maps = {CHANGE: np.abs(made - image).max(axis=0), REGIONS: decisive}
        return _with_costs(Edit(made, result.target, result.valid, shown_effect(effect), maps), found, again)

    def minimal(self, agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
        """Return the smallest part of our change that still flips the black box."""
        found, again = self._search(agent, classifier, image)
        result, made = found.result, found.result.best.image
        if not result.valid:
            return _with_costs(Edit(made, result.target, False), found, again)
        least = composite(image, made, soft(minimal_mask(classifier, image, made, found.effect, result.target)))
        return _with_costs(Edit(least, result.target, _valid(classifier, least, result.target)), found, again)

    def _search(self, agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> tuple[_Searched, bool]:
        """Return the search, and whether it was made before."""
        key = (agent.version, classifier.version, np.ascontiguousarray(image).tobytes())
        if self._last is not None and self._key == key:
            return self._last, True
        before = classifier.queries
        (result, effect), seconds = timed(lambda: search_with_effect(agent, classifier, image))
        self._key, self._last = key, _Searched(result, effect, seconds, classifier.queries - before)
        return self._last, False


def _with_costs(edit: Edit, found: _Searched, again: bool) -> Edit:
    """Add the costs of a search that was made before."""
    return replace(edit, shared_seconds=found.seconds, shared_queries=found.queries) if again else edit


def straight_move(
    agent: Agent,
    classifier: CountingBlackBox,
    image: np.ndarray,
    strengths: Sequence[float] = (1.0, 1.5, 2.0, 3.0, 4.0),
    steps: int = FULL_STEPS,
) -> Edit:
    """Invert fully, move z straight across the student's boundary, render: the first strength that flips.

    As MoPaDi (Zigutyte et al., bioRxiv 2024.10.29.620913) and Atad et al. (arXiv 2408.01571) do: neither guidance nor
    partial inversion, and the autoencoder's own error stays in the image.
    """
    pixels, condition, target = _encoded(agent, classifier, image)
    way = direction_to_boundary(
        agent.model, condition, torch.tensor([target], device=agent.device), classifier.multi_label
    )
    with torch.inference_mode():
        noise = invert(_field(agent, condition), 2 * pixels - 1, 1.0, steps)
        strength = torch.tensor(strengths, device=agent.device, dtype=noise.dtype)
        moved = way.applied(condition.expand(len(strengths)), strength)
        made = as_images(render(_field(agent, moved), noise.expand(len(strengths), *noise.shape[1:]), 1.0, steps))
    return _first_that_flips(classifier, made, target)


@dataclass
class GlobalDirection:
    """One direction in z for all images of a class pair, found on a single image with the black box alone.

    After Global Counterfactual Directions (Sobieski & Biecek, arXiv 2404.12488): z of one source image is disturbed,
    what is rendered is put to the black box, a small proxy learns to predict its answer from z, and the proxy's
    gradient at the source is the direction, followed as far as a line search on the black box says. The paper spends
    tens of thousands of queries for each direction; ``renders`` is what a user would wait for, and is counted.

    Attributes:
        renders: Disturbed images for each direction.
        steps: Solver steps each way.
        seed: Of everything random.
        queries: Spent on directions so far, which all images share.
    """

    renders: int = 512
    steps: int = 20
    seed: int = 0
    queries: int = 0
    _directions: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def __call__(self, agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
        """Follow the direction of the image's class pair; it is found on the first image that has none."""
        pixels, condition, target = _encoded(agent, classifier, image)
        pair = (int(condition.evidence.argmax()), target)
        if pair not in self._directions:
            counted = CountingBlackBox(classifier)
            self._directions[pair] = self._find(agent, counted, pixels, condition, target)
            self.queries += counted.queries
        lengths = torch.linspace(0.5, 6.0, 8, device=agent.device)
        with torch.inference_mode():
            noise = invert(_field(agent, condition), 2 * pixels - 1, 1.0, self.steps)
            latents = condition.latent + lengths[:, None] * self._directions[pair]
            moved = Conditioning(
                latents, condition.evidence.expand(len(lengths), -1), condition.known.expand(len(lengths), -1)
            )
            start = noise.expand(len(lengths), *noise.shape[1:])
            made = as_images(render(_field(agent, moved), start, 1.0, self.steps))
        return _first_that_flips(classifier, made, target)

    def _find(self, agent: Agent, classifier: BlackBox, pixels: Tensor, condition: Conditioning, target: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        latents, answers = [], []
        with torch.inference_mode():
            noise = invert(_field(agent, condition), 2 * pixels - 1, 1.0, self.steps)
            for _ in range(self.renders // 32):
                # Lengths that the paper draws from, relative to the latent's own.
                scale = (
                    torch.rand(32, 1, generator=generator)
                    * float(condition.latent.norm())
                    / condition.latent.shape[1] ** 0.5
                )
                disturbed = condition.latent + (
                    scale * torch.randn(32, condition.latent.shape[1], generator=generator)
                ).to(pixels)
                some = Conditioning(disturbed, condition.evidence.expand(32, -1), condition.known.expand(32, -1))
                made = as_images(render(_field(agent, some), noise.expand(32, *noise.shape[1:]), 1.0, self.steps))
                latents.append(disturbed.float().cpu())
                answers.append(torch.from_numpy(classifier.predict(made)).float())
        known, said = torch.cat(latents).clone(), torch.cat(answers)
        proxy = _proxy(known, said, generator, self.seed)
        source = condition.latent.detach().float().cpu().clone().requires_grad_()
        with torch.enable_grad():
            value = proxy(source)[0].log_softmax(0)[target]
            (gradient,) = torch.autograd.grad(value, source)
        return (gradient / gradient.norm().clamp_min(1e-12)).to(pixels)


def nearest_unlike(neighbours: np.ndarray, answers: np.ndarray) -> MakeEdit:
    """Return the nearest real image of another answer (Euclidean): the floor of plausibility and the ceiling of change.

    Args:
        neighbours: ``(n, channels, *size)`` in [0, 1].
        answers: ``(n, classes)`` of the black box.
    """

    def make(agent: Agent, classifier: CountingBlackBox, image: np.ndarray) -> Edit:
        rule = DecisionRule.of(classifier)
        target = rule.nearest_other(classifier.predict(image[None])[0])
        unlike = np.flatnonzero(rule.says(answers, target))
        if not len(unlike):
            return Edit(image, target, False)
        distances = [float(np.square(neighbours[n] - image).sum()) for n in unlike]
        chosen = neighbours[unlike[int(np.argmin(distances))]]
        return Edit(chosen, target, _valid(classifier, chosen, target))

    return make


def edit_methods(neighbours: np.ndarray, answers: np.ndarray) -> tuple[EditMethod, ...]:
    """Return every method, in the order of the table; arguments as for ``nearest_unlike``."""
    search = SharedSearch()
    return (
        EditMethod(
            "ours",
            "Ours (map: measured effect)",
            "this project",
            search.ours,
            {CHANGE: "Ours (map: raw change)", REGIONS: "Ours (map: decisive regions)"},
        ),
        EditMethod("ours-minimal", "Ours, minimal part", "this project", search.minimal),
        EditMethod(
            "straight-move",
            "Straight move, full inversion",
            "MoPaDi, bioRxiv 2024.10.29.620913; Atad et al., arXiv 2408.01571",
            straight_move,
            slow=True,
        ),
        EditMethod("global-direction", "Global direction", "GCD, arXiv 2404.12488", GlobalDirection(), slow=True),
        EditMethod("nearest-unlike", "Nearest unlike neighbour", "the floor", nearest_unlike(neighbours, answers)),
    )


def ablations(in_noise: bool = False) -> tuple[EditMethod, ...]:
    """Ours, and ours without one of its ingredients at a time; ``in_noise``: of an agent whose student learned so."""
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


def _encoded(agent: Agent, classifier: BlackBox, image: np.ndarray) -> tuple[Tensor, Conditioning, int]:
    answer = classifier.predict(image[None])
    pixels = torch.from_numpy(image)[None].to(agent.device)
    with torch.inference_mode():
        told = torch.from_numpy(np.asarray(answer, np.float32)).to(pixels)
        condition = Conditioning.of(agent.model.encode(pixels), clipped_log_odds(told))
    return pixels, condition, DecisionRule.of(classifier).nearest_other(answer[0])


def _field(agent: Agent, condition: Conditioning) -> Velocity:
    return lambda x, t: agent.model.velocity(x, t, condition)


def _first_that_flips(classifier: BlackBox, images: np.ndarray, target: int) -> Edit:
    """Return the first that flips or, failing that, the one that comes nearest."""
    answers = classifier.predict(images)
    flips = DecisionRule.of(classifier).says(answers, target)
    chosen = int(flips.argmax()) if flips.any() else int(answers[:, target].argmax())
    return Edit(images[chosen], target, bool(flips[chosen]))


def _valid(classifier: BlackBox, image: np.ndarray, target: int) -> bool:
    return bool(DecisionRule.of(classifier).says(classifier.predict(image[None])[0], target))


def _proxy(latents: Tensor, answers: Tensor, generator: torch.Generator, seed: int) -> nn.Module:
    """Return a small network that predicts the black box's answer from z."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        proxy = nn.Sequential(
            nn.Linear(latents.shape[1], 128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, answers.shape[1])
        )
    optimizer = torch.optim.AdamW(proxy.parameters(), lr=1e-3)
    with torch.enable_grad():
        for _ in range(60):
            for chosen in torch.randperm(len(latents), generator=generator).split(64):
                loss = nn.functional.cross_entropy(proxy(latents[chosen]), answers[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return proxy.eval()
