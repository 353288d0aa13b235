"""Simulated readers of real nodules: what they would say, how often they err, and how often they cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.annotations.vocabulary import Term, Vocabulary

WORDS: Mapping[str, tuple[tuple[str, str], Callable[[Mapping[str, int]], bool]]] = {
    "spiculated": (("DCM", "112136"), lambda rated: rated["Spiculation"] >= 4),
    "lobulated": (("DCM", "112135"), lambda rated: rated["Lobulation"] >= 4),
    "calcified": (("99OTHERWISE", "nodule-calc"), lambda rated: rated["Calcification"] < 6),
    "ground glass": (("DCM", "112120"), lambda rated: rated["Texture"] <= 2),
    "poorly defined": (("SCT", "300841009"), lambda rated: rated["Margin"] <= 2),
    "well defined": (("SCT", "260409000"), lambda rated: rated["Margin"] >= 4),
}
"""A reader's words in the order in which they stand out, and when they are true of LIDC's consensus ratings."""


@dataclass(frozen=True, eq=False)
class RatedRegion:
    """A region with the words that its readers hold to be true of it.

    Attributes:
        patient: Whose.
        description: See ``describe_region``.
        truth: Every word that is true of it; of ordinary tissue ``TISSUE``; empty: a nodule without a word.
        own: The word that stands out most, which a reader gives; None where there is none.
        share: What it counts: of a decisive region, its share of the decisive change.
        key: Explanation and label of a decisive region; None of any other one.
    """

    patient: str
    description: np.ndarray
    truth: frozenset[Term]
    own: Term | None
    share: float = 1.0
    key: tuple[str, int] | None = None


@dataclass(frozen=True)
class ReaderKind:
    """How simulated readers answer.

    Attributes:
        mistakes: Share of the answers that are another word, chosen at random.
        doubts: Share of the answers that are "cannot tell".
        shuffled: Whether all answers are dealt out anew among the regions: a control.
        readers: How many label the same regions; each errs for themselves.
    """

    mistakes: float = 0.0
    doubts: float = 0.0
    shuffled: bool = False
    readers: int = 1


def words_of(ratings: Mapping[str, int], vocabulary: Vocabulary) -> list[Term]:
    """Return the words that are true of a nodule, the most striking first."""
    return [vocabulary.find(*key) for key, holds in WORDS.values() if holds(ratings)]


def answers(
    regions: Sequence[RatedRegion], vocabulary: Vocabulary, kind: ReaderKind, draw: np.random.Generator
) -> list[Term | None]:
    """Return what one reader says of each region; None: cannot tell.

    Args:
        regions: Each with a word.
        vocabulary: Has the words.
        kind: How the reader answers.
        draw: Chooses mistakes and doubts.
    """
    words = [vocabulary.find(*key) for key, _ in WORDS.values()]
    given: list[Term | None] = []
    for region in regions:
        chance = draw.random()
        if chance < kind.mistakes:
            others = [word for word in words if word not in region.truth]
            given.append(others[draw.integers(len(others))])
        else:
            given.append(None if chance < kind.mistakes + kind.doubts else region.own)
    return [given[n] for n in draw.permutation(len(given))] if kind.shuffled else given
