"""The next question: which region's name would help most?

Labels that cover the variety of regions come first, then those of which the model is least sure: with few labels its
doubts say little (Hacohen, Dekel & Weinshall, arXiv 2202.02794).

Typical regions, influence and granularity: greedy facility location (Krause & Golovin, Submodular Function
Maximization, 2014): a label speaks for the regions that look like it, so the region is asked about that speaks for most
of what still lacks a name. What has been chosen already in a batch counts as labelled, which keeps a batch diverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from otherwise.concepts.naming import ConceptModel, Name, kernel, squared_distances
from otherwise.errors import OtherwiseError

TYPICAL, COVERING = 4, 20
"""The first regions asked about are typical of many, those up to the second number cover the variety; then uncertainty
counts."""
CANDIDATES = 512
"""Regions that are weighed as questions at a time; what each speaks for is counted over all regions."""
WEIGHTY = 0.3
"""Share of its explanation's decisive change that a region needs to be asked about, as long as there are such regions:
what hardly matters is hard to name, and teaches little."""


class QuestionError(OtherwiseError):
    """There is nothing to ask, or no such way to choose it."""

    code = "question"
    status = 422


@dataclass(frozen=True)
class RegionRef:
    """One region of one explanation.

    Attributes:
        image: Id of the image.
        explanation: Id of the explanation.
        label: The region's value in the label map.
    """

    image: str
    explanation: str
    label: int


@dataclass(frozen=True, eq=False)
class Pool:
    """The regions that can be asked about.

    Attributes:
        regions: Which.
        embeddings: ``(n, width)``.
        shares: ``(n,)`` share of its explanation's decisive change, in [0, 1].
        labelled: bool ``(n,)``: somebody has spoken of it, or disagrees with its explanation; it is not asked about
            again.
        descriptions: ``(n, features)``, see ``describe_region``; NaN where there is none.
        doubt: ``(n,)`` in [0, 1]: how unsure the findings of a region are; empty where there are no findings yet.
    """

    regions: tuple[RegionRef, ...]
    embeddings: np.ndarray
    shares: np.ndarray
    labelled: np.ndarray
    descriptions: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    doubt: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class LabelQuestion:
    """What to ask next.

    Attributes:
        region: About which region.
        reason: Why this one; a sentence for people.
    """

    region: RegionRef
    reason: str


Strategy = Callable[[Pool, ConceptModel, int, np.random.Generator], list[LabelQuestion]]
"""Pool, model, how many, randomness -> questions, the best first; none where nothing is left."""


def ask_random(pool: Pool, model: ConceptModel, count: int, rng: np.random.Generator) -> list[LabelQuestion]:
    """Ask about the strongest unlabelled region of images drawn at random: the baseline of the other strategies."""
    images: dict[str, list[int]] = {}
    for n in np.flatnonzero(~pool.labelled):
        images.setdefault(pool.regions[n].image, []).append(int(n))
    names = sorted(images)
    chosen = [names[n] for n in rng.permutation(len(names))[:count]]
    return [
        LabelQuestion(pool.regions[max(images[name], key=lambda n: pool.shares[n])], "The image was drawn at random.")
        for name in chosen
    ]


def ask_uncertain(pool: Pool, model: ConceptModel, count: int, rng: np.random.Generator) -> list[LabelQuestion]:
    """Ask about regions of whose name the model is least sure (least confidence, Lewis & Gale 1994)."""
    names = model.name(pool.embeddings, 0.0)
    doubt = _doubt(names)

    def reason(n: int, spoken: float) -> str:
        name = names[n]
        if name is None:
            return "Nothing like it has been named yet."
        return f"It may be {name.term.meaning}, but that is only {name.confidence:.0%} sure."

    return _greedy(pool, model, doubt, count, rng, reason, alone=True)


def _doubt(names: Sequence[Name | None]) -> np.ndarray:
    return 1 - np.array([name.confidence if name else 0.0 for name in names])


def ask_influential(pool: Pool, model: ConceptModel, count: int, rng: np.random.Generator) -> list[LabelQuestion]:
    """Ask about regions whose names would name most of the decisive change that has none yet."""
    unnamed = pool.shares * (1 - model.familiarity(pool.embeddings))
    total = float(pool.shares.sum()) or 1.0

    def reason(n: int, spoken: float) -> str:
        return f"Regions like this one make {spoken / total:.0%} of all decisive change, and have no sure name yet."

    return _greedy(pool, model, unnamed, count, rng, reason)


def ask_finer(pool: Pool, model: ConceptModel, count: int, rng: np.random.Generator) -> list[LabelQuestion]:
    """Ask about regions that would split a coarse name: what is named, but no finer than a term that has kinds.

    Where there is none, those whose names would name most.
    """
    names = model.name(pool.embeddings)
    coarse = np.array([name is not None and bool(model.vocabulary.children(name.term)) for name in names])
    if not (coarse & ~pool.labelled).any():
        return ask_influential(pool, model, count, rng)
    # A coarse label says nothing of the kind; what has a fine one speaks for its neighbours.
    fine = model.space.place(pool.embeddings[pool.labelled & ~coarse])
    near = kernel(model.space.place(pool.embeddings), fine).max(1) if len(fine) else 0.0
    worth = pool.shares * coarse * (1 - near)
    total = float(pool.shares.sum()) or 1.0

    def reason(n: int, spoken: float) -> str:
        name: Name | None = names[n]
        what = name.term.meaning if name else "no name"
        return (
            f"Regions like this one are called {what} and nothing finer: {spoken / total:.0%} of all decisive change."
        )

    return _greedy(pool, model, worth, count, rng, reason)


def ask_mixed(pool: Pool, model: ConceptModel, count: int, rng: np.random.Generator) -> list[LabelQuestion]:
    """Ask about regions that are typical of many, then about others that differ, then about those least sure.

    Regions that differ are drawn with probabilities proportional to their share and to the squared distance to the
    nearest one that has been named (k-means++, Arthur & Vassilvitskii, SODA 2007). What is asked about in the same
    batch counts as named.
    """
    places, free = _places(pool, model), _free(pool, count)
    size = max(CANDIDATES, count)
    some = free if len(free) <= size else np.sort(rng.choice(free, size, replace=False))
    shares, left = pool.shares[some], np.ones(len(some), bool)
    doubt = (pool.doubt if len(pool.doubt) else _doubt(model.name(pool.embeddings, 0.0)))[some]
    spoken = [int(n) for n in np.flatnonzero(pool.labelled)]
    far = squared_distances(places[some], places[spoken]).min(1) if spoken else np.ones(len(some))
    questions = list[LabelQuestion]()
    for _ in range(min(count, len(some))):
        if len(spoken) < TYPICAL:
            worth = _new_likeness(places, some, spoken) @ pool.shares
            reason = "It is typical of regions that nobody has named yet."
        elif len(spoken) < COVERING:
            # The least of exponential times at these rates is a draw with probabilities proportional to them.
            worth = far * shares / rng.exponential(size=len(some))
            reason = "It differs from what has been named so far."
        else:
            worth = doubt * np.sqrt(shares) * (1 - 0.5 * np.exp(far / -2))
            reason = "What it shows is least sure."
        best = int(np.where(left, worth, -1.0).argmax())
        questions.append(LabelQuestion(pool.regions[some[best]], reason))
        spoken.append(int(some[best]))
        far = np.minimum(far, squared_distances(places[some], places[spoken[-1:]])[:, 0])
        left[best] = False
    return questions


def _new_likeness(places: np.ndarray, some: np.ndarray, spoken: Sequence[int]) -> np.ndarray:
    """Return how much more like ``some`` regions all regions are than like those spoken of: ``(some, n)`` in [0, 1]."""
    alike = kernel(places[some], places)
    return np.maximum(0, alike - kernel(places[list(spoken)], places).max(0)) if spoken else alike


def _free(pool: Pool, count: int) -> np.ndarray:
    """Return the regions that may be asked about: those of great weight, as long as there are enough of them."""
    free = np.flatnonzero(~pool.labelled)
    weighty = free[pool.shares[free] >= WEIGHTY]
    return weighty if len(weighty) >= count else free


def _places(pool: Pool, model: ConceptModel) -> np.ndarray:
    """Return where regions are compared: by what they look like in their own unit, or else to the units."""
    rows = pool.descriptions
    if len(rows) < 2 or len(rows) != len(pool.regions) or not np.isfinite(rows).all():
        return model.space.place(pool.embeddings)
    standard = np.clip((rows - rows.mean(0)) / (rows.std(0) + 1e-6), -4, 4)
    some = standard[:: max(1, len(standard) // CANDIDATES)]
    distances = np.sort(squared_distances(some, some), axis=1)
    reach = float(np.median(distances[:, max(1, len(some) // 12) if len(some) > 1 else 0])) or 1.0
    return np.asarray(standard / np.sqrt(reach))


STRATEGIES: dict[str, tuple[Strategy, str]] = {
    "mixed": (ask_mixed, "First typical regions, then such as differ, then those whose findings are least sure"),
    "random": (ask_random, "An image at random, its strongest region"),
    "uncertainty": (ask_uncertain, "The region of whose name the model is least sure"),
    "influence": (ask_influential, "The region whose name would name most of the decisive change"),
    "granularity": (ask_finer, "The region that would split a coarse name into finer ones"),
}
"""By name: how it chooses, and a sentence for people."""


def next_questions(
    strategy: str, pool: Pool, model: ConceptModel, count: int, rng: np.random.Generator
) -> list[LabelQuestion]:
    """Choose what to ask.

    Raises:
        QuestionError: if there is no such strategy, or nothing is left to ask.
    """
    if strategy not in STRATEGIES:
        raise QuestionError(f"There is no strategy {strategy[:64]!r}.", f"Choose of {', '.join(STRATEGIES)}.")
    if not len(pool.regions):
        raise QuestionError("No image has been explained yet.", "Explain some first; their regions are asked about.")
    found = STRATEGIES[strategy][0](pool, model, count, rng)
    if not found:
        raise QuestionError("Somebody has spoken of every region already.", "Explain more images.")
    return found


def _greedy(
    pool: Pool,
    model: ConceptModel,
    worth: np.ndarray,
    count: int,
    rng: np.random.Generator,
    reason: Callable[[int, float], str],
    alone: bool = False,
) -> list[LabelQuestion]:
    """Choose one after the other what speaks for most of ``worth (n,)``; ``alone``: for its own worth only."""
    free = _free(pool, count)
    places = model.space.place(pool.embeddings)
    left, questions = worth.astype(np.float64).copy(), []
    for _ in range(min(count, len(free))):
        some = free if len(free) <= CANDIDATES else _likely(free, left, rng)
        alike = kernel(places[some], places)
        spoken = left[some] if alone else alike @ left
        best = int(spoken.argmax())
        questions.append(LabelQuestion(pool.regions[some[best]], reason(int(some[best]), float(spoken[best]))))
        left *= 1 - alike[best]
        free = free[free != some[best]]
    return questions


def _likely(free: np.ndarray, left: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose half of the candidates by their own worth, half at random."""
    best = free[np.argsort(-left[free], kind="stable")[: CANDIDATES // 2]]
    others = rng.choice(np.setdiff1d(free, best), CANDIDATES - len(best), replace=False)
    return np.concatenate([best, others])


def named_share(names: Sequence[Name | None], shares: np.ndarray) -> float:
    """Return the share of the decisive change that has a name, in [0, 1]; 0 where nothing decides."""
    named = np.array([name is not None for name in names], bool)
    total = float(shares.sum())
    return float(shares[named].sum()) / total if total else 0.0
