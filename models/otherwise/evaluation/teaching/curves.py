"""Teach from nothing, label by label, and look after each how much has a right name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.concepts.attributes import TISSUE
from otherwise.concepts.naming import Example, Space, fit_concepts
from otherwise.concepts.questions import STRATEGIES, Pool, RegionRef, next_questions

GOAL = 0.9
"""Named share that is to be reached."""


@dataclass(frozen=True, eq=False)
class TaughtRegion:
    """A decisive region, and what the reader would call it.

    Attributes:
        ref: Which.
        embedding: See ``region_embeddings``.
        share: Of its image's decisive change.
        term: The truth.
    """

    ref: RegionRef
    embedding: np.ndarray
    share: float
    term: Term


@dataclass(frozen=True)
class Point:
    """Named shares after some labels, on images that nobody was asked about; all but ``concepts`` in [0, 1].

    Attributes:
        labels: How many have been given.
        named: Share of the decisive change with a right name: the reader's own, or what that is a kind of.
        finest: Share with the reader's own.
        wrong: Share with a wrong one.
        accuracy: Share of the named regions whose name is right.
        concepts: Different right names in use.
    """

    labels: int
    named: float
    finest: float
    wrong: float
    accuracy: float
    concepts: int


def teach(
    strategy: str, regions: Sequence[TaughtRegion], vocabulary: Vocabulary, labels: int, rng: np.random.Generator
) -> list[Point]:
    """Let one reader answer one strategy's questions, one at a time.

    Half of the images, drawn at random, may be asked about; the other half is what is looked at.

    Args:
        strategy: Name of one of ``STRATEGIES``.
        regions: Of all images.
        vocabulary: The terms.
        labels: How many the reader gives at most.
        rng: Divides the images, and is passed to the strategy.
    """
    images = sorted({region.ref.image for region in regions})
    asked = set(rng.permutation(images)[: len(images) // 2].tolist())
    pool = [region for region in regions if region.ref.image in asked]
    rest = [region for region in regions if region.ref.image not in asked]
    embeddings = np.stack([region.embedding for region in pool])
    shares = np.array([region.share for region in pool])
    labelled = np.zeros(len(pool), bool)
    place = {region.ref: n for n, region in enumerate(pool)}
    examples: list[Example] = []
    space = Space.of(embeddings, rng)
    model = fit_concepts(space, examples, vocabulary)
    points = []
    for number in range(1, min(labels, len(pool)) + 1):
        now = Pool(tuple(region.ref for region in pool), embeddings, shares, labelled.copy())
        (question,) = next_questions(strategy, now, model, 1, rng)
        chosen = place[question.region]
        labelled[chosen] = True
        examples.append(Example(embeddings[chosen], pool[chosen].term))
        model = fit_concepts(space, examples, vocabulary)
        names = model.name(np.stack([region.embedding for region in rest]))
        points.append(_look([name.term if name else None for name in names], rest, vocabulary, number))
    return points


def _look(names: Sequence[Term | None], regions: Sequence[TaughtRegion], vocabulary: Vocabulary, labels: int) -> Point:
    shares = np.array([region.share for region in regions])
    named = np.array([name is not None for name in names], bool)
    pairs = list(zip(names, regions, strict=True))
    right = np.array([name is not None and vocabulary.is_a(region.term, name) for name, region in pairs], bool)
    finest = np.array([name is not None and name.key == region.term.key for name, region in pairs], bool)
    total = float(shares.sum())
    return Point(
        labels=labels,
        named=float(shares[right].sum()) / total,
        finest=float(shares[finest].sum()) / total,
        wrong=float(shares[named & ~right].sum()) / total,
        accuracy=float(right.sum() / named.sum()) if named.any() else 1.0,
        concepts=len({name.key for name, ok in zip(names, right, strict=True) if ok and name and name != TISSUE}),
    )


@dataclass(frozen=True)
class Curve:
    """A strategy over several readers.

    Attributes:
        strategy: Its name.
        labels_to_goal: Of each reader: labels until the named share stays at ``GOAL``; None: never.
        points: Of each reader.
    """

    strategy: str
    labels_to_goal: tuple[int | None, ...]
    points: tuple[tuple[Point, ...], ...]

    def mean(self, figure: str) -> np.ndarray:
        """Return the mean of a figure after each label."""
        return self._values(figure).mean(0)

    def interval(self, figure: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the middle 90 % of the readers after each label."""
        low, high = np.quantile(self._values(figure), [0.05, 0.95], axis=0)
        return low, high

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "strategy": self.strategy,
            "labels_to_goal": list(self.labels_to_goal),
            "points": [[asdict(point) for point in reader] for reader in self.points],
        }

    def _values(self, figure: str) -> np.ndarray:
        return np.array([[getattr(point, figure) for point in reader] for reader in self.points], float)


def compare(
    regions: Sequence[TaughtRegion],
    vocabulary: Vocabulary,
    labels: int = 25,
    readers: int = 20,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Curve]:
    """Run every strategy, with the same readers on the same halves."""
    curves: dict[str, Curve] = {}
    for place, strategy in enumerate(STRATEGIES):
        found = []
        for reader in range(readers):
            found.append(tuple(teach(strategy, regions, vocabulary, labels, np.random.default_rng([seed, reader]))))
            progress((place + (reader + 1) / readers) / len(STRATEGIES))
        curves[strategy] = Curve(strategy, tuple(labels_to_goal(points) for points in found), tuple(found))
    return curves


def labels_to_goal(points: Sequence[Point], goal: float = GOAL) -> int | None:
    """Return the number of labels from which the named share stays at the goal; None: it never does."""
    needed = None
    for point in reversed(points):
        if point.named < goal:
            return needed
        needed = point.labels
    return needed


def table(curves: Mapping[str, Curve]) -> str:
    """Return a Markdown table: strategy by strategy, at a few numbers of labels."""
    count = min(len(curve.points[0]) for curve in curves.values())
    shown = [number for number in (1, 3, 5, 10, 15, 25) if number <= count]
    lines = [
        "| strategy | labels to 0.9 (median, range) | " + " | ".join(f"named @{n}" for n in shown)
        + f" | finest @{count} | wrong @{count} | concepts @{count} |",
        "|---" * (5 + len(shown)) + "|",
    ]  # fmt: skip
    for curve in curves.values():
        reached = [needed for needed in curve.labels_to_goal if needed is not None]
        share = f" ({len(reached)} of {len(curve.labels_to_goal)} readers)" if len(reached) < len(curve.points) else ""
        needed = f"{np.median(reached):g}, {min(reached)}–{max(reached)}{share}" if reached else "never"
        named = " | ".join(f"{curve.mean('named')[n - 1]:.2f}" for n in shown)
        last = " | ".join(f"{curve.mean(figure)[count - 1]:.2f}" for figure in ("finest", "wrong", "concepts"))
        lines.append(f"| {curve.strategy} | {needed} | {named} | {last} |")
    return "\n".join(lines) + "\n"
