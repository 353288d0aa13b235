"""Labels that may be wrong, and how far readers agree: reasons to ask again, never to obey less in silence."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import cohen_kappa_score
from sklearn.preprocessing import StandardScaler

from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.concepts.attributes import AttributeModel, LabelledRegion, answers_for, axis_of, fit_attributes
from otherwise.concepts.description import DescriptionError

DISBELIEVED = 0.1
"""A label is asked about again where trees that have not seen it give it a smaller probability."""
UNBELIEVED = 0.15
"""Labels that get a smaller probability are not learned from. Chosen on train and validation patients of LIDC."""
SPOKEN = 3
"""Regions that must show a term before a label of it can be doubted: else nothing speaks for it."""
TREES = 100


@dataclass(frozen=True)
class DoubtfulLabel:
    """A label that the others do not believe.

    Attributes:
        region: Its place in the list of labelled regions.
        term: What the reader said.
        probability: What the other labels give it, in [0, 1].
    """

    region: int
    term: Term
    probability: float


def doubtful_labels(
    regions: Sequence[LabelledRegion], vocabulary: Vocabulary, limit: float = DISBELIEVED, seed: int = 0
) -> list[DoubtfulLabel]:
    """Find labels that would not be believed, had they not been given.

    Every tree of an ensemble is grown without a third of the labels; those trees that have not seen a label judge it
    (out-of-bag, Breiman, Machine Learning 45, 2001), which costs a small part of leaving out one after the other.

    Returns:
        The least likely first. A term that fewer than ``SPOKEN`` regions show is doubted only where the region shows
        another term of the same axis almost certainly.
    """
    if not regions:
        return []
    own = np.stack([region.description for region in regions])
    places = np.clip(StandardScaler().fit_transform(own), -4, 4)
    terms = list(dict.fromkeys(term for region in regions for term in sorted(region.present)))
    believed: dict[Term, dict[int, float]] = {}
    for term in terms:
        rows, answers, counts = answers_for(term, regions, vocabulary)
        if answers.sum() >= SPOKEN and not answers.all():
            unseen = _unseen(places[rows], answers, counts, seed)
            believed[term] = dict(zip(rows.tolist(), unseen.tolist(), strict=True))
    found = []
    for number, region in enumerate(regions):
        for term in sorted(region.present):
            axis = axis_of(term, vocabulary)
            rivals = [
                belief for other, belief in believed.items() if other != term and axis_of(other, vocabulary) == axis
            ]
            own = believed.get(term, {}).get(number, 1.0)
            # A word that hardly anybody uses is judged by what else the region may show on its axis.
            value = min(own, *(1 - rival.get(number, 0.0) for rival in rivals)) if rivals else own
            if value < limit:
                found.append(DoubtfulLabel(number, term, value))
    return sorted(found, key=lambda each: each.probability)


def fit_believed(
    regions: Sequence[LabelledRegion], vocabulary: Vocabulary, tissue: np.ndarray | None = None, seed: int = 0
) -> AttributeModel:
    """Learn findings from the labels that the others believe; see ``fit_attributes``.

    Labels that are likely wrong blur what is learned and make every confidence too modest; left out, they do neither
    (confident learning, Northcutt, Jiang & Chuang, Journal of Artificial Intelligence Research 70, 2021). What a reader
    said of a region holds of that region all the same.
    """
    doubted = {each.region for each in doubtful_labels(regions, vocabulary, UNBELIEVED, seed)}
    believed = [region for number, region in enumerate(regions) if number not in doubted]
    return fit_attributes(believed or regions, vocabulary, tissue, seed)


def label_skill(regions: Sequence[LabelledRegion], vocabulary: Vocabulary, seed: int = 0) -> float | None:
    """Return how much better the other labels foretell a label than its share does (Brier skill score, out-of-bag).

    Returns:
        At most 1; 0 or less where labels have nothing to do with what regions look like, as if they were shuffled.
        None where no term is shown by ``SPOKEN`` regions and not shown by as many.
    """
    if not regions:
        return None
    own = np.stack([region.description for region in regions])
    places = np.clip(StandardScaler().fit_transform(own), -4, 4)
    missed, blind = 0.0, 0.0
    for term in dict.fromkeys(term for region in regions for term in sorted(region.present)):
        rows, answers, counts = answers_for(term, regions, vocabulary)
        if min(answers.sum(), len(answers) - answers.sum()) < SPOKEN:
            continue
        unseen = _unseen(places[rows], answers, counts, seed)
        # The share without the label itself, or the label would foretell itself.
        share = (answers.sum() - answers) / (len(answers) - 1)
        missed += float(np.square(unseen - answers).sum())
        blind += float(np.square(share - answers).sum())
    return 1 - missed / blind if blind else None


def _unseen(places: np.ndarray, answers: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Return the probability that trees which have not seen a label give to the term there; 1 where all have."""
    trees = ExtraTreesClassifier(TREES, bootstrap=True, oob_score=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a label that all trees have seen
        trees.fit(places, answers, sample_weight=counts)
    return np.nan_to_num(trees.oob_decision_function_[:, 1], nan=1.0)


def agreement(one: Sequence[Collection[Term]], other: Sequence[Collection[Term]]) -> dict[Term, float]:
    """Return Cohen's kappa of two readers of the same regions, for each term that either of them used.

    Two readers who always say the same thing, and it only, agree fully: 1, where kappa itself is undefined.

    Raises:
        DescriptionError: if they did not read the same number of regions.
    """
    if len(one) != len(other):
        raise DescriptionError(
            f"The readers named {len(one)} and {len(other)} regions.", "Give the ones both have named."
        )
    terms = dict.fromkeys(term for reader in (one, other) for region in reader for term in sorted(region))
    found = {}
    for term in terms:
        mine, theirs = ([term in region for region in reader] for reader in (one, other))
        found[term] = 1.0 if mine == theirs else float(cohen_kappa_score(mine, theirs))
    return found
