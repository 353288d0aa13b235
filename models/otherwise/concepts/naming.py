"""From a few labelled regions to names for all of them: as fine as the labels allow, and no finer.

A light probe on region embeddings (a linear one, Alain & Bengio, arXiv 1610.01644) tells the kinds of a term apart;
how many labelled examples lie near a region says how far to trust it: Dirichlet evidence with kernel counts (as
Sensoy et al., arXiv 1806.01768, without their network). From the root of the vocabulary downwards a region takes the
name of a term as long as the product of both stays high: where the margin's kind is uncertain it is still a margin
(hedging, Deng et al., CVPR 2012), and what is unlike everything labelled stays unnamed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.annotations.vocabulary import Key, Term, Vocabulary

SURE = 0.7
"""Confidence that a name needs."""
DIMENSIONS = 12
"""Principal components of the embeddings that the probes see: more than a handful of labels could weigh."""
MOST_FITTED = 5_000
"""Regions that the components are fitted to."""
NEIGHBOURHOOD = 0.08
"""Share of all regions that are neighbours of one: the kernel reaches as far as the last of them lies."""
PRIOR = 0.25
"""Evidence held back for what nobody has thought of yet, in labelled examples at no distance."""
UNSEEN = 0.025
"""The same for each kind in the vocabulary of which there is no example."""
FREEDOM = 3.0
"""Inverse strength of the probes' regularisation."""
DOUBT = 0.3
"""What an uncertain label counts, in certain ones."""
SAID, FINDING, LIKENESS = "said", "finding", "likeness"
"""Where a name comes from, see ``Name``."""


@dataclass(frozen=True)
class Example:
    """A labelled region.

    Attributes:
        embedding: ``(width,)``, see ``region_embeddings``.
        term: Its name.
        certain: Whether whoever named it was sure.
    """

    embedding: np.ndarray
    term: Term
    certain: bool = True


@dataclass(frozen=True)
class Name:
    """What a region shows.

    Attributes:
        term: The finest term that is sure enough.
        confidence: In [0, 1].
        evidence: ``SAID`` by a reader of this very region; a ``FINDING`` that was learned from others; or ``LIKENESS``
            to named regions, which tells coarse names.
        disputed: Readers of this region differ.
        axis: The property that the term is a value of, where it is known.
    """

    term: Term
    confidence: float
    evidence: str = "likeness"
    disputed: bool = False
    axis: Term | None = None


@dataclass(frozen=True, eq=False)
class Space:
    """Where regions are compared: principal components of the embeddings of all regions, labelled or not.

    Attributes:
        mean: ``(width,)``.
        scale: ``(width,)``.
        components: ``(dimensions, width)``.
        reach: Distance to the neighbours, by which all distances are divided; there the kernel has fallen to 0.6.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    reach: float

    @classmethod
    def of(cls, embeddings: np.ndarray, rng: np.random.Generator) -> Space:
        """Fit to embeddings, or to as many of them as tell the components just as well.

        Args:
            embeddings: ``(n, width)``, at least one.
            rng: Draws ``MOST_FITTED`` of them where there are more.
        """
        if len(embeddings) > MOST_FITTED:
            embeddings = embeddings[np.sort(rng.choice(len(embeddings), MOST_FITTED, replace=False))]
        mean, scale = embeddings.mean(0), embeddings.std(0)
        scale = np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
        standard = (embeddings - mean) / scale
        count = min(DIMENSIONS, len(embeddings) - 1, embeddings.shape[1])
        if count < 1:
            return cls(mean, scale, np.zeros((0, embeddings.shape[1]), np.float32), 1.0)
        from sklearn.decomposition import PCA  # not while a server starts

        components = PCA(count, svd_solver="covariance_eigh").fit(standard).components_
        made = cls(mean, scale, components.astype(np.float32), 1.0)
        return cls(mean, scale, made.components, _reach(made.place(embeddings)))

    def place(self, embeddings: np.ndarray) -> np.ndarray:
        """Bring ``(n, width)`` embeddings into the space: ``(n, dimensions)``, in units of the reach."""
        return np.asarray(((embeddings - self.mean) / self.scale) @ self.components.T / self.reach, dtype=np.float32)


def kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how alike places ``(n, d)`` and ``(m, d)`` are: ``(n, m)`` in [0, 1], 1 at no distance."""
    return np.exp(squared_distances(one, other) / -2)


def squared_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances ``(n, m)`` of ``(n, d)`` and ``(m, d)``."""
    squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1)[None] - 2 * one @ other.T
    return np.maximum(squares, 0)


@dataclass(frozen=True, eq=False)
class _Node:
    """A term (None: the root) with a classifier among its kinds."""

    kinds: tuple[Term, ...]
    unseen: int
    weights: np.ndarray
    bias: np.ndarray
    members: np.ndarray


@dataclass(frozen=True, eq=False)
class ConceptModel:
    """Names regions. Made by ``fit_concepts``.

    Attributes:
        space: Where regions are compared.
        vocabulary: The terms.
        places: ``(n, dimensions)`` of the labelled examples.
        counts: ``(n,)`` what each example counts.
        nodes: For each term with labelled kinds (by key; None: the root) how these are told apart.
    """

    space: Space
    vocabulary: Vocabulary
    places: np.ndarray
    counts: np.ndarray
    nodes: dict[Key | None, _Node]

    @property
    def terms(self) -> tuple[Term, ...]:
        """Return every term that a region may be given, coarse ones first."""
        return tuple(kind for node in self.nodes.values() for kind in node.kinds)

    def name(self, embeddings: np.ndarray, sure: float = SURE) -> list[Name | None]:
        """Name regions as finely as is sure enough; None: unlike everything that has been labelled.

        Args:
            embeddings: ``(n, width)``.
            sure: Confidence that a name needs.
        """
        answers = self._answers(embeddings)
        return [
            self._descend({key: shares[n] for key, shares in answers.items()}, sure) for n in range(len(embeddings))
        ]

    def familiarity(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the greatest confidence of any name: ``(n,)`` in [0, 1], 0 where nothing has been labelled."""
        root = self._answers(embeddings).get(None)
        return np.zeros(len(embeddings)) if root is None else np.asarray(root.max(1))

    def _answers(self, embeddings: np.ndarray) -> dict[Key | None, np.ndarray]:
        """Return for each node the confidence ``(n, kinds)`` of its kinds, given the node."""
        places = self.space.place(embeddings)
        alike = kernel(places, self.places) * self.counts
        found = {}
        for key, node in self.nodes.items():
            evidence = alike[:, node.members].sum(1)
            trust = evidence / (evidence + PRIOR + UNSEEN * node.unseen)
            found[key] = _softmax(places @ node.weights.T + node.bias) * trust[:, None]
        return found

    def _descend(self, shares: Mapping[Key | None, np.ndarray], sure: float) -> Name | None:
        named, confidence, key = None, 1.0, None
        while key in shares:
            kind = int(shares[key].argmax())
            confidence *= float(shares[key][kind])
            if confidence < sure:
                break
            term = self.nodes[key].kinds[kind]
            key = term.key
            if not self.vocabulary.is_group(term):
                named = Name(term, confidence)
        return named


def fit_concepts(space: Space, examples: Sequence[Example], vocabulary: Vocabulary) -> ConceptModel:
    """Learn what regions are called.

    Args:
        space: Of all regions there are, labelled or not.
        examples: The labelled ones; free terms that the vocabulary lacks count as roots of their own.
        vocabulary: What is a kind of what.
    """
    known = [e.embedding for e in examples]
    places = space.place(np.stack(known) if known else np.zeros((0, len(space.mean)), np.float32))
    counts = np.array([1.0 if e.certain else DOUBT for e in examples], np.float32)
    lines = [tuple(reversed((e.term, *vocabulary.ancestors(e.term)))) for e in examples]
    nodes: dict[Key | None, _Node] = {}
    for depth in range(max(map(len, lines), default=0)):
        deep = [n for n, line in enumerate(lines) if len(line) > depth]
        for parent in dict.fromkeys(lines[n][depth - 1].key if depth else None for n in deep):
            below = [n for n in deep if (lines[n][depth - 1].key if depth else None) == parent]
            nodes[parent] = _node(places, counts, below, [lines[n][depth] for n in below], vocabulary, parent)
    return ConceptModel(space, vocabulary, places, counts, nodes)


def _node(
    places: np.ndarray,
    counts: np.ndarray,
    members: Sequence[int],
    kinds: Sequence[Term],
    vocabulary: Vocabulary,
    parent: Key | None,
) -> _Node:
    names = tuple(dict.fromkeys(kinds))
    unseen = 0 if parent is None else max(0, len(vocabulary.children(vocabulary.terms[parent])) - len(names))
    rows = np.asarray(members)
    if len(names) == 1:
        return _Node(names, unseen, np.zeros((1, places.shape[1])), np.zeros(1), rows)
    labels = np.array([names.index(kind) for kind in kinds])
    from sklearn.linear_model import LogisticRegression  # not while a server starts

    probe = LogisticRegression(C=FREEDOM, max_iter=1000).fit(places[rows], labels, sample_weight=counts[rows])
    weights, bias = probe.coef_, probe.intercept_
    if len(names) == 2:
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return _Node(names, unseen, weights, bias, rows)


def _reach(places: np.ndarray, most: int = 1000) -> float:
    """Return the median distance to the last of the neighbours."""
    some = places[:: max(1, len(places) // most)]
    ordered = np.sort(squared_distances(some, some), axis=1)
    return float(np.sqrt(np.median(ordered[:, math.ceil(NEIGHBOURHOOD * (len(some) - 1))]))) or 1.0


def _softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))
