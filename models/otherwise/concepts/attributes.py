"""Findings of a region: for each term a small calibrated yes or no that may abstain.

A region has any number of findings, each on an axis of its own: calcified, and of a smooth margin. Every term has an
ensemble of extremely randomised trees (Geurts, Ernst & Wehenkel, Machine Learning 63, 2006) on the region's
description. Of logistic regressions, Gaussian processes, support vector machines, nearest neighbours and forests it
found most of the readers' own words, with the best calibrated probabilities, in cross-validation by patient.

A term is predicted only where it is likely and likelier than among all labelled regions; the fewer labels there are,
the likelier it has to be. A region that looks like nothing labelled gets no finding. Neither does one that looks like
ordinary tissue, which is learned from places outside all regions, without labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, logit
from sklearn.preprocessing import StandardScaler

from otherwise.annotations.vocabulary import Key, Term, Vocabulary, local_term
from otherwise.concepts.description import OWN_FEATURES, DescriptionError
from otherwise.concepts.forest import Forest, fit_forest

TISSUE = local_term("Ordinary tissue")
"""What there is outside all regions; readers may say it of a region, too."""
LEAST_POSITIVE = 2
"""Regions that must show a term before it is predicted for others."""
SURE, DOUBTED, LEAST_SURE, SUREST = 0.4, 2.0, 0.45, 0.9
"""Probability that a finding needs: ``SURE + DOUBTED / labelled regions``, from ``LEAST_SURE`` to ``SUREST``."""
TEMPERATURE = 1.25
"""Divides the log-odds of the trees, which are too confident (Guo et al., ICML 2017)."""
DOUBT = 0.3
"""What an uncertain label counts, in certain ones."""
UNLIKE, STRETCH = 0.98, 1.25
"""A region is unlike all labelled ones where it lies farther from them than this quantile of their own distances to
their nearest neighbour, times the stretch."""
MISTAKEN = 0.05
"""Share of the places of ordinary tissue that may be taken for something else, at most."""
LIMIT = 4.0
"""Standard scores are cut off here."""


@dataclass(frozen=True, eq=False)
class LabelledRegion:
    """What one reader said of one region.

    Attributes:
        description: ``(features,)``, see ``describe_region``; more columns may follow.
        present: Terms that it shows.
        absent: Terms that it does not show ("not this").
        unknown: Terms of which the reader cannot tell; they teach nothing.
        certain: Whether the reader was sure.
    """

    description: np.ndarray
    present: frozenset[Term] = frozenset()
    absent: frozenset[Term] = frozenset()
    unknown: frozenset[Term] = frozenset()
    certain: bool = True

    def __post_init__(self) -> None:
        both = self.present & self.absent
        if both:
            raise DescriptionError(
                f"A region cannot show {next(iter(both)).meaning!r} and not show it.", "Leave one out."
            )


@dataclass(frozen=True)
class RegionFinding:
    """One finding of a region.

    Attributes:
        term: What it shows.
        axis: The property that the term is a value of, such as the margin.
        confidence: Calibrated probability in [0, 1].
        prior: Share of the labelled regions that show it.
    """

    term: Term
    axis: Term
    confidence: float
    prior: float

    @property
    def gain(self) -> float:
        """Return by how many log-odds the finding is surer than its prior: how much it sets the region apart."""
        return float(logit(np.clip(self.confidence, 1e-3, 1 - 1e-3)) - logit(np.clip(self.prior, 1e-3, 1 - 1e-3)))


@dataclass(frozen=True)
class _Head:
    """Where the answer about one term stands: in which forest, at which question.

    A term that all labelled regions show is predicted from tissue alone: ``opposite`` of the answer about tissue. Of a
    ``coarse`` term there are kinds among the labels.
    """

    term: Term
    axis: Term
    prior: float
    forest: Forest
    question: int
    coarse: bool
    opposite: bool = False


@dataclass(frozen=True, eq=False)
class AttributeModel:
    """Tells the findings of regions. Made by ``fit_attributes``.

    Attributes:
        vocabulary: What is a kind of what.
        heads: By term.
        tissue: Head of ordinary tissue; None where no places outside regions were given.
        tissue_limit: Probability from which on a region is ordinary tissue.
        sure: Probability that a finding needs.
    """

    vocabulary: Vocabulary
    heads: Mapping[Key, _Head]
    tissue: Forest | None
    tissue_limit: float
    sure: float
    _scaler: StandardScaler | None = field(repr=False)
    _places: np.ndarray = field(repr=False)
    _reach: float = field(repr=False)

    def probabilities(self, descriptions: np.ndarray) -> dict[Term, np.ndarray]:
        """Return the probability ``(n,)`` of every taught term for descriptions ``(n, features)``."""
        places = _standard(self._scaler, descriptions)
        found = {forest: forest.probabilities(places) for forest in {head.forest for head in self.heads.values()}}
        every = {head.term: (found[head.forest][:, head.question], head.opposite) for head in self.heads.values()}
        return {term: _tempered(1 - values if opposite else values) for term, (values, opposite) in every.items()}

    def doubt(self, descriptions: np.ndarray) -> np.ndarray:
        """Return how unsure the findings of regions are, ``(n,)`` in [0, 1].

        It is 1 less the probability of the likeliest fine term or of ordinary tissue. Coarse terms do not count: a
        region that is surely a nodule may show any kind of it.
        """
        found = self.probabilities(descriptions)
        fine = [found[head.term] for head in self.heads.values() if not head.coarse]
        return np.asarray(1 - np.max([self.tissue_probability(descriptions), *fine], axis=0))

    def tissue_probability(self, descriptions: np.ndarray) -> np.ndarray:
        """Return the probability ``(n,)`` that there is nothing but ordinary tissue; 0 where that was not learned."""
        if self.tissue is None:
            return np.zeros(len(descriptions))
        return self.tissue.probabilities(_standard(self._scaler, descriptions))[:, 0]

    def is_tissue(self, descriptions: np.ndarray) -> np.ndarray:
        """Return bool ``(n,)``: whether there is nothing but ordinary tissue."""
        return self.tissue_probability(descriptions) > self.tissue_limit

    def unlike(self, descriptions: np.ndarray) -> np.ndarray:
        """Return bool ``(n,)``: whether a region is unlike everything that has been labelled."""
        if not len(self._places) or not len(descriptions):
            return np.ones(len(descriptions), bool)
        return nearest(_standard(self._scaler, descriptions), self._places) > self._reach

    def findings(self, descriptions: np.ndarray, sure: float | None = None) -> list[list[RegionFinding]]:
        """Return the findings of each region, the most telling first; an empty list: the model abstains.

        Of terms on one axis only the likeliest is returned, since they exclude each other. A term is left out where
        a kind of it is returned.

        Args:
            descriptions: ``(n, features)``.
            sure: Probability that a finding needs; None: the model's own.
        """
        least = self.sure if sure is None else sure
        found: list[list[RegionFinding]] = [[] for _ in descriptions]
        if not self.heads or not len(descriptions):
            return found
        silent = self.unlike(descriptions) | self.is_tissue(descriptions)
        for term, values in self.probabilities(descriptions).items():
            head = self.heads[term.key]
            for n in np.flatnonzero((values >= least) & (values > head.prior) & ~silent):
                found[n].append(RegionFinding(term, head.axis, float(values[n]), head.prior))
        return [_finest(_one_for_each_axis(each), self.vocabulary) for each in found]


def fit_attributes(
    regions: Sequence[LabelledRegion],
    vocabulary: Vocabulary,
    tissue: np.ndarray | None = None,
    seed: int = 0,
    doubted: Collection[int] = (),
) -> AttributeModel:
    """Learn findings from labelled regions.

    Args:
        regions: What readers said; several readers of one region are several entries.
        vocabulary: Says which terms exclude each other; a term that it lacks is an axis of its own.
        tissue: ``(n, features)`` descriptions of places outside all regions, which need no label.
        seed: Of the trees.
        doubted: Rows of ``regions`` whose terms the other labels do not believe; only coarse terms are learned from
            them.

    Returns:
        A model with a head for each term that at least two regions show, and for what such terms are kinds of. With
        fewer a term is known on its own region only. A term that all regions show is predicted
        from tissue alone.
    """
    seeds = tissue if tissue is not None else np.zeros((0, 0))
    if not regions:
        return AttributeModel(vocabulary, {}, None, 1.0, SUREST, None, np.zeros((0, 1)), 0.0)
    own = np.stack([region.description for region in regions])
    scaler = StandardScaler().fit(own)
    places = _standard(scaler, own)
    tissue_head, limit = None, 1.0
    if len(seeds):
        tissue_head, limit = _fit_tissue(regions, places, _standard(scaler, seeds), seed)
    terms = _terms(regions, vocabulary)
    coarse = {term for term in terms if any(vocabulary.is_a(other, term) and other != term for other in terms)}
    heads = _fit_terms(terms, coarse, regions, places, vocabulary, seed, doubted)
    for term in terms:
        if term.key not in heads and tissue_head is not None and _shown_by_all(term, regions, vocabulary):
            heads[term.key] = _Head(term, axis_of(term, vocabulary), 0.5, tissue_head, 0, term in coarse, opposite=True)
    return AttributeModel(
        vocabulary, heads, tissue_head, limit, needed_probability(len(regions)), scaler, places, _reach(places)
    )


def needed_probability(labelled: int) -> float:
    """Return the probability that a finding needs: the fewer labels, the higher, since it is less well known itself."""
    return float(np.clip(SURE + DOUBTED / max(labelled, 1), LEAST_SURE, SUREST))


def axis_of(term: Term, vocabulary: Vocabulary) -> Term:
    """Return the property that a term is a value of: the nearest group of terms that exclude each other, or itself."""
    return next((above for above in vocabulary.ancestors(term) if vocabulary.exclusive(above)), term)


def nearest(places: np.ndarray, others: np.ndarray, itself: bool = False) -> np.ndarray:
    """Return each place's distance ``(n,)`` to the nearest of ``others (m, d)``; ``itself``: but for the place."""
    squares = np.square(places).sum(1)[:, None] + np.square(others).sum(1)[None] - 2 * places @ others.T
    if itself:
        np.fill_diagonal(squares, np.inf)
    return np.asarray(np.sqrt(np.maximum(squares.min(1), 0) / places.shape[1]))


def answers_for(
    term: Term, regions: Sequence[LabelledRegion], vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what readers said of one term.

    Returns:
        Rows of ``regions`` that say something, whether they show the term (0 or 1), and what each answer counts.
    """
    rows = [
        row for row, region in enumerate(regions) if term not in region.unknown and (region.present or region.absent)
    ]
    shown = [any(vocabulary.is_a(other, term) for other in regions[row].present) for row in rows]
    counts = [1.0 if regions[row].certain else DOUBT for row in rows]
    return np.array(rows, int), np.array(shown, int), np.array(counts)


def _terms(regions: Sequence[LabelledRegion], vocabulary: Vocabulary) -> list[Term]:
    """Return the terms in use and what they are kinds of, but for groups, which are no findings."""
    used = dict.fromkeys(term for region in regions for term in sorted(region.present))
    every = dict.fromkeys(each for term in used for each in (term, *vocabulary.ancestors(term)))
    return [term for term in every if term in used or not vocabulary.is_group(term)]


def _shown_by_all(term: Term, regions: Sequence[LabelledRegion], vocabulary: Vocabulary) -> bool:
    _, shown, _ = answers_for(term, regions, vocabulary)
    return bool(shown.sum() >= LEAST_POSITIVE and shown.all() and term != TISSUE)


def _fit_terms(
    terms: Sequence[Term],
    coarse: Collection[Term],
    regions: Sequence[LabelledRegion],
    places: np.ndarray,
    vocabulary: Vocabulary,
    seed: int,
    doubted: Collection[int],
) -> dict[Key, _Head]:
    """Fit the terms that enough regions show and some do not; those that are learned from the same rows together."""
    together: dict[bytes, list[tuple[Term, float, np.ndarray, np.ndarray, np.ndarray]]] = {}
    for term in terms:
        rows, answers, counts = answers_for(term, regions, vocabulary)
        if term not in coarse:
            believed = ~np.isin(rows, list(doubted))
            rows, answers, counts = rows[believed], answers[believed], counts[believed]
        if answers.sum() < LEAST_POSITIVE or answers.all():
            continue
        # A coarse term is compared with what there is elsewhere, too: labelled regions, and as many places of tissue.
        prior = float(np.average(answers, weights=counts)) / (2 if term in coarse else 1)
        together.setdefault(rows.tobytes(), []).append((term, prior, rows, answers, counts))
    heads = {}
    for group in together.values():
        _, _, rows, _, counts = group[0]
        forest = fit_forest(places[rows], np.stack([answers for *_, answers, _ in group], axis=1), counts, seed=seed)
        for question, (term, prior, *_) in enumerate(group):
            heads[term.key] = _Head(term, axis_of(term, vocabulary), prior, forest, question, term in coarse)
    return heads


def _fit_tissue(
    regions: Sequence[LabelledRegion], places: np.ndarray, seeds: np.ndarray, seed: int
) -> tuple[Forest, float]:
    """Tell regions from tissue, and set the limit so that few places of tissue are taken for something else.

    Regions and places count alike, however many there are. What readers called tissue is tissue. The limit is read off
    what trees that have not seen a place say of it. Only the region's own features count: in lung the structure that a
    place touches is a vessel, which looks like a nodule.
    """
    called = np.array([TISSUE in region.present for region in regions], int)
    answers = np.concatenate([called, np.ones(len(seeds), int)])
    both = np.concatenate([places, seeds])[:, : len(OWN_FEATURES)]
    if answers.all():  # readers have named nothing but tissue
        both, answers = np.concatenate([both, both[:1] + 2 * LIMIT]), np.append(answers, 0)
    forest = fit_forest(both, answers[:, None], seed=seed, hold_out=True, least_leaf=2, balanced=True)
    unseen = forest.unseen_probabilities()[len(places) : len(places) + len(seeds), 0]
    return forest, min(0.5, float(np.quantile(unseen, MISTAKEN)))


def _standard(scaler: StandardScaler | None, descriptions: np.ndarray) -> np.ndarray:
    """Return standard scores ``(n, features)``, cut off where intensities and sizes have long tails."""
    if scaler is None or not len(descriptions):
        return np.zeros((len(descriptions), 1))
    return np.asarray(np.clip(scaler.transform(descriptions), -LIMIT, LIMIT))


def _tempered(probabilities: np.ndarray) -> np.ndarray:
    return np.asarray(expit(logit(np.clip(probabilities, 1e-3, 1 - 1e-3)) / TEMPERATURE))


def _reach(places: np.ndarray) -> float:
    if len(places) < 2 * LEAST_POSITIVE:
        return 0.0
    return STRETCH * float(np.quantile(nearest(places, places, itself=True), UNLIKE))


def _one_for_each_axis(found: Sequence[RegionFinding]) -> list[RegionFinding]:
    best: dict[Key, RegionFinding] = {}
    for each in sorted(found, key=lambda each: -each.confidence):
        best.setdefault(each.axis.key, each)
    return list(best.values())


def _finest(found: Sequence[RegionFinding], vocabulary: Vocabulary) -> list[RegionFinding]:
    finest = [
        each
        for each in found
        if not any(other is not each and vocabulary.is_a(other.term, each.term) for other in found)
    ]
    return sorted(finest, key=lambda each: -each.gain)
