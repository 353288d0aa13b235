"""Findings of a region: for each term a small calibrated yes or no that may abstain.

A region has any number of findings, each on an axis of its own: calcified, and of a smooth margin. Every term has a
regularised logistic regression on the region's description. Three things keep it honest. A term is told only where it
is likely and likelier than among all labelled regions. A region that looks like nothing labelled gets no finding, and
neither does one that looks like ordinary tissue, which is learned from places outside all regions, without labels.
A label that its own head would not believe, had it not seen it, is asked about again rather than obeyed everywhere.

The heads are linear: a value in the middle of an axis, such as solid between ground glass and calcified, is told badly.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, logit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from otherwise.annotations.vocabulary import Key, Term, Vocabulary
from otherwise.concepts.description import DescriptionError

SURE = 0.6
"""Probability that a finding needs."""
LEAST_POSITIVE = 2
"""Regions that must show a term before it is told of others."""
FREEDOM = 0.3
"""Inverse strength of the regularisation."""
SILENT = 0.35
"""What a region counts as a "no" for a term that its reader said nothing about, in certain answers. Readers name what
stands out, so silence is weak evidence."""
DOUBT = 0.3
"""What an uncertain label counts, in certain ones."""
UNLIKE = 0.98
"""Quantile of the labelled regions' distances to their nearest neighbour; beyond, a region is unlike all of them."""
DISBELIEVED = 0.1
"""A label is asked about again where its head, taught without it, gives it a smaller probability."""


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


@dataclass(frozen=True, eq=False)
class _Head:
    """A logistic regression for one term."""

    term: Term
    axis: Term
    prior: float
    weights: np.ndarray
    bias: float

    def probabilities(self, places: np.ndarray) -> np.ndarray:
        return np.asarray(expit(places @ self.weights + self.bias))


@dataclass(frozen=True, eq=False)
class AttributeModel:
    """Tells the findings of regions. Made by ``fit_attributes``.

    Attributes:
        heads: By term.
        tissue: Head of ordinary tissue; None where no places outside regions were given.
    """

    heads: Mapping[Key, _Head]
    tissue: _Head | None
    _scaler: _Scaler = field(repr=False)
    _places: np.ndarray = field(repr=False)
    _reach: float = field(repr=False)

    def probabilities(self, descriptions: np.ndarray) -> dict[Term, np.ndarray]:
        """Return the probability ``(n,)`` of every taught term for descriptions ``(n, features)``."""
        places = self._scaler.transform(descriptions)
        return {head.term: head.probabilities(places) for head in self.heads.values()}

    def tissue_probability(self, descriptions: np.ndarray) -> np.ndarray:
        """Return the probability ``(n,)`` that there is nothing but ordinary tissue; 0 where that was not learned."""
        if self.tissue is None:
            return np.zeros(len(descriptions))
        return self.tissue.probabilities(self._scaler.transform(descriptions))

    def unlike(self, descriptions: np.ndarray) -> np.ndarray:
        """Return bool ``(n,)``: whether a region is unlike everything that has been labelled."""
        if not len(self._places):
            return np.ones(len(descriptions), bool)
        return nearest(self._scaler.transform(descriptions), self._places) > self._reach

    def findings(self, descriptions: np.ndarray, sure: float = SURE) -> list[list[RegionFinding]]:
        """Return the findings of each region, the surest first; an empty list means that nobody can tell.

        Of terms on one axis the likeliest is told, since they exclude each other.

        Args:
            descriptions: ``(n, features)``.
            sure: Probability that a finding needs.
        """
        silent = self.unlike(descriptions) | (self.tissue_probability(descriptions) > 0.5)
        told: list[list[RegionFinding]] = [[] for _ in descriptions]
        for term, values in self.probabilities(descriptions).items():
            head = self.heads[term.key]
            for n in np.flatnonzero((values >= sure) & (values > head.prior) & ~silent):
                told[n].append(RegionFinding(term, head.axis, float(values[n]), head.prior))
        return [_one_for_each_axis(found) for found in told]


def fit_attributes(
    regions: Sequence[LabelledRegion], vocabulary: Vocabulary, tissue: np.ndarray | None = None
) -> AttributeModel:
    """Learn findings from labelled regions.

    Args:
        regions: What readers said; several readers of one region are several entries.
        vocabulary: Its terms one step below a root are the axes; a term that it lacks is an axis of its own.
        tissue: ``(n, features)`` descriptions of places outside all regions, which need no label.

    Returns:
        A model with a head for each term that at least two regions show and that not all of them show. With fewer
        nobody can tell, and the term is known on its own region only.
    """
    seeds = tissue if tissue is not None else np.zeros((0, 0))
    described = [region.description for region in regions]
    if not described:
        return AttributeModel({}, None, _Scaler(np.zeros((0, 1))), np.zeros((0, 1)), 0.0)
    own = np.stack(described)
    scaler = _Scaler(np.concatenate([own, seeds]) if len(seeds) else own)
    places = scaler.transform(own)
    heads = {}
    for term in dict.fromkeys(term for region in regions for term in sorted(region.present)):
        head = _fit_term(term, regions, places, vocabulary)
        if head is not None:
            heads[term.key] = head
    head = None
    if len(seeds):
        both = np.concatenate([places, scaler.transform(seeds)])
        answers = np.repeat([0, 1], [len(places), len(seeds)])
        weights, bias = _logistic(both, answers, np.where(answers, len(places) / len(seeds), 1.0))
        nothing = Term("99OTHERWISE", "tissue", "Ordinary tissue")
        head = _Head(nothing, nothing, 0.5, weights, bias)
    return AttributeModel(heads, head, scaler, places, _reach(places))


def axis_of(term: Term, vocabulary: Vocabulary) -> Term:
    """Return the property that a term is a value of: its ancestor one step below the root, or the term itself."""
    line = (term, *vocabulary.ancestors(term))
    return line[-2] if len(line) > 2 else line[0]


def doubtful_labels(
    regions: Sequence[LabelledRegion], vocabulary: Vocabulary, limit: float = DISBELIEVED
) -> list[tuple[int, Term, float]]:
    """Find labels that their own head would not believe, had it not seen them (leave one out).

    Returns:
        Index of the region, the term, and the probability that the other labels give it; the least likely first. Terms
        that fewer than three regions show are left out: nothing else speaks for them.
    """
    found = []
    counts = {term: sum(term in region.present for region in regions) for r in regions for term in r.present}
    scaler = _Scaler(np.stack([region.description for region in regions])) if regions else None
    for index, region in enumerate(regions):
        assert scaler is not None
        for term in sorted(region.present):
            if counts[term] <= LEAST_POSITIVE:
                continue
            rest = [other for n, other in enumerate(regions) if n != index]
            head = _fit_term(term, rest, scaler.transform(np.stack([r.description for r in rest])), vocabulary)
            if head is None:
                continue
            value = float(head.probabilities(scaler.transform(region.description[None]))[0])
            if value < limit * min(1.0, 2 * head.prior):
                found.append((index, term, value))
    return sorted(found, key=lambda each: each[2])


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


def nearest(places: np.ndarray, others: np.ndarray, itself: bool = False) -> np.ndarray:
    """Return each place's distance ``(n,)`` to the nearest of ``others (m, d)``; ``itself``: but for the place."""
    squares = np.square(places[:, None] - others[None]).mean(2)
    if itself:
        np.fill_diagonal(squares, np.inf)
    return np.asarray(np.sqrt(squares.min(1)))


class _Scaler:
    """Brings descriptions onto one scale: robust against the long tails of intensities and sizes."""

    def __init__(self, descriptions: np.ndarray) -> None:
        self._standard = StandardScaler().fit(descriptions) if len(descriptions) else None
        count = len(descriptions)
        self._ranks = (
            QuantileTransformer(n_quantiles=min(count, 100), output_distribution="normal").fit(descriptions)
            if count >= 2 * LEAST_POSITIVE
            else None
        )

    def transform(self, descriptions: np.ndarray) -> np.ndarray:
        """Return ``(n, 2 * features)``: standard scores, cut off at 4, and normal scores of ranks, cut off at 2."""
        if self._standard is None:
            return np.zeros((len(descriptions), 1))
        plain = np.clip(self._standard.transform(descriptions), -4, 4)
        if self._ranks is None:
            return np.asarray(np.concatenate([plain, plain], axis=1))
        return np.concatenate([plain, np.clip(self._ranks.transform(descriptions), -2, 2)], axis=1)


def _fit_term(
    term: Term, regions: Sequence[LabelledRegion], places: np.ndarray, vocabulary: Vocabulary
) -> _Head | None:
    axis = axis_of(term, vocabulary)
    answers, counts, rows = [], [], []
    for row, region in enumerate(regions):
        if term in region.unknown:
            continue
        shown = any(vocabulary.is_a(other, term) for other in region.present)
        said = shown or term in region.absent or any(axis_of(t, vocabulary) == axis for t in region.present)
        rows.append(row)
        answers.append(int(shown))
        counts.append((1.0 if said else SILENT) * (1.0 if region.certain else DOUBT))
    if sum(answers) < LEAST_POSITIVE or all(answers):
        return None
    weights, bias = _logistic(places[rows], np.array(answers), np.array(counts))
    return _Head(term, axis, float(np.average(answers, weights=counts)), weights, bias)


def _logistic(places: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a regularised logistic regression; its strength follows from the number of columns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(C=FREEDOM, max_iter=300).fit(places, answers, sample_weight=counts)
    return probe.coef_[0], float(probe.intercept_[0])


def _reach(places: np.ndarray) -> float:
    if len(places) < 2 * LEAST_POSITIVE:
        return 0.0
    return 1.25 * float(np.quantile(nearest(places, places, itself=True), UNLIKE))


def _one_for_each_axis(found: Sequence[RegionFinding]) -> list[RegionFinding]:
    ranked = sorted(found, key=lambda each: -each.confidence)
    seen: set[Key] = set()
    kept = []
    for each in ranked:
        if each.axis.key not in seen:
            seen.add(each.axis.key)
            kept.append(each)
    return kept


def gain(confidence: float, prior: float) -> float:
    """Return by how many log-odds a finding is surer than its prior."""
    return float(logit(np.clip(confidence, 1e-4, 1 - 1e-4)) - logit(np.clip(prior, 1e-4, 1 - 1e-4)))
