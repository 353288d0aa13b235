"""Labels that may be wrong, and how far readers agree: reasons to ask again, never to obey less in silence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import cohen_kappa_score
from sklearn.preprocessing import StandardScaler

from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.concepts.attributes import AttributeModel, LabelledRegion, answers_for, axis_of, fit_attributes
from otherwise.concepts.description import DescriptionError
from otherwise.concepts.forest import fit_forest
from otherwise.concepts.naming import squared_distances

DISBELIEVED = 0.1
"""A label is asked about again where trees that have not seen it give it a smaller probability."""
UNBELIEVED = 0.15
"""Labels that get a smaller probability are not learned from, see ``LabelJudgement.unbelieved``."""
SPOKEN = 3
"""Regions that must show a term before a label of it can be doubted: else nothing speaks for it."""
TREES = 100
CHANCE = 0.05
"""Labels have nothing to do with what regions look like where more than this share of shuffled ones fit as well."""
LEAST_LABELLED = 40
"""Regions that must be labelled before this is reported: 20 coherent labels look like 20 shuffled ones."""
SHUFFLES = 199
"""How often labels are dealt out anew to see what chance does."""
MOST_COMPARED = 400
"""Labelled regions that are compared with each other."""


@dataclass(frozen=True)
class DoubtfulLabel:
    """A label that the others do not believe.

    Attributes:
        region: Its place in the list of labelled regions.
        term: What the reader said.
        probability: What the other labels give it, in [0, 1].
        share: Of the labelled regions that show the term.
    """

    region: int
    term: Term
    probability: float
    share: float


@dataclass(frozen=True)
class LabelJudgement:
    """What labels say of each other.

    Attributes:
        regions: How many were labelled.
        labels: Every label with the probability that the others give it, the least likely first.
        chance: Share of shuffled labels that fit what regions look like at least as well, in (0, 1]. None where fewer
            than ``LEAST_LABELLED`` regions were labelled, or no term is shown by ``SPOKEN`` regions and not shown by as
            many.
    """

    regions: int = 0
    labels: tuple[DoubtfulLabel, ...] = ()
    chance: float | None = None

    @property
    def doubtful(self) -> list[DoubtfulLabel]:
        """Return the labels that are to be asked about again, the least likely first."""
        return [label for label in self.labels if label.probability < DISBELIEVED]

    @property
    def unbelieved(self) -> frozenset[int]:
        """Return the rows of the regions whose labels are not to be learned from.

        A word that few regions show is unlikely everywhere: it has to be less likely than half its share.
        """
        limits = ((label, min(UNBELIEVED, label.share / 2)) for label in self.labels)
        return frozenset(label.region for label, limit in limits if label.probability < limit)

    @property
    def incoherent(self) -> bool:
        """Return whether labels have nothing to do with what regions look like; False with too few to tell."""
        return self.chance is not None and self.chance > CHANCE


def judge_labels(regions: Sequence[LabelledRegion], vocabulary: Vocabulary, seed: int = 0) -> LabelJudgement:
    """Let the other labels judge each label.

    Every tree of an ensemble is grown without a third of the labels; those trees that have not seen a label judge it
    (out-of-bag, Breiman, Machine Learning 45, 2001), which costs a small part of leaving out one after the other.

    A label of a term that fewer than ``SPOKEN`` regions show has probability 1, unless the region shows another term of
    the same axis almost certainly.
    """
    if not regions:
        return LabelJudgement()
    own = np.stack([region.description for region in regions])
    places = np.clip(StandardScaler().fit_transform(own), -4, 4)
    believed, shares = _believed(regions, places, vocabulary, seed)
    labels = [
        DoubtfulLabel(number, term, _probability(number, term, believed, vocabulary), shares[term])
        for number, region in enumerate(regions)
        for term in sorted(region.present)
    ]
    ordered = tuple(sorted(labels, key=lambda label: label.probability))
    return LabelJudgement(len(regions), ordered, _chance(places, regions, vocabulary, np.random.default_rng(seed)))


def fit_believed(
    regions: Sequence[LabelledRegion],
    judgement: LabelJudgement,
    vocabulary: Vocabulary,
    tissue: np.ndarray | None = None,
    seed: int = 0,
) -> AttributeModel:
    """Learn findings from the labels that the others believe; see ``fit_attributes``.

    Labels that are likely wrong blur what is learned and make every confidence too modest; left out, they do neither
    (confident learning, Northcutt, Jiang & Chuang, Journal of Artificial Intelligence Research 70, 2021). What a reader
    said of a region holds of that region all the same, and coarse terms are learned from every label.
    """
    return fit_attributes(regions, vocabulary, tissue, seed, judgement.unbelieved)


def _believed(
    regions: Sequence[LabelledRegion], places: np.ndarray, vocabulary: Vocabulary, seed: int
) -> tuple[dict[Term, dict[int, float]], dict[Term, float]]:
    """Return what trees that have not seen a region give to each term there, and the share of regions that show it.

    Terms that the same regions speak of are judged by the same trees.
    """
    shares: dict[Term, float] = {}
    together: dict[bytes, list[tuple[Term, np.ndarray, np.ndarray, np.ndarray]]] = {}
    for term in dict.fromkeys(term for region in regions for term in sorted(region.present)):
        rows, answers, counts = answers_for(term, regions, vocabulary)
        shares[term] = float(answers.mean())
        if answers.sum() >= SPOKEN and not answers.all():
            together.setdefault(rows.tobytes(), []).append((term, rows, answers, counts))
    believed = {}
    for group in together.values():
        _, rows, _, counts = group[0]
        every = np.stack([answers for _, _, answers, _ in group], axis=1)
        unseen = fit_forest(places[rows], every, counts, TREES, seed, hold_out=True).unseen_probabilities()
        for question, (term, *_) in enumerate(group):
            believed[term] = dict(zip(rows.tolist(), unseen[:, question].tolist(), strict=True))
    return believed, shares


def _probability(number: int, term: Term, believed: dict[Term, dict[int, float]], vocabulary: Vocabulary) -> float:
    """Return what the other labels give to a term of a region."""
    axis = axis_of(term, vocabulary)
    own = believed.get(term, {}).get(number, 1.0)
    rivals = [belief for other, belief in believed.items() if other != term and axis_of(other, vocabulary) == axis]
    # A word that hardly anybody uses is judged by what else the region may show on its axis.
    return min([own, *(1 - rival.get(number, 0.0) for rival in rivals)])


def _chance(
    places: np.ndarray, regions: Sequence[LabelledRegion], vocabulary: Vocabulary, rng: np.random.Generator
) -> float | None:
    """Return the share of shuffled labels that depend on the places at least as much; see ``LabelJudgement.chance``.

    A permutation test of the Hilbert-Schmidt independence criterion (Gretton et al., Algorithmic Learning Theory 2005),
    with a Gaussian kernel as wide as the median distance. It needs no trees, so it can afford to shuffle.
    """
    if len(regions) < LEAST_LABELLED:
        return None
    some = np.sort(rng.permutation(len(regions))[:MOST_COMPARED])
    shown = [{each for term in regions[n].present for each in (term, *vocabulary.ancestors(term))} for n in some]
    terms = dict.fromkeys(term for each in shown for term in sorted(each))
    answers = np.array([[term in each for term in terms] for each in shown], float).reshape(len(some), -1)
    answers = answers[:, np.minimum(answers.sum(0), (1 - answers).sum(0)) >= SPOKEN]
    if not answers.shape[1]:
        return None
    answers = (answers - answers.mean(0)) / answers.std(0)
    squares = squared_distances(places[some], places[some])
    alike = np.exp(-squares / (np.median(squares[np.triu_indices(len(some), 1)]) or 1.0))

    def dependence(order: np.ndarray) -> float:
        return float((alike[np.ix_(order, order)] @ answers * answers).sum())

    own = dependence(np.arange(len(some)))
    return (1 + sum(dependence(rng.permutation(len(some))) >= own for _ in range(SHUFFLES))) / (1 + SHUFFLES)


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
