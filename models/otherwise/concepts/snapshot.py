"""What people have taught so far, as one snapshot: names of units and of regions, and what is still to be asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.region import RegionMask
from otherwise.annotations.vocabulary import Vocabulary
from otherwise.concepts.annotated_regions import (
    AnnotatedRegion,
    DoubtfulWord,
    annotated_regions,
    doubtful_words,
    labels_of,
)
from otherwise.concepts.attributes import TISSUE, AttributeModel, RegionFinding
from otherwise.concepts.description import describe_region
from otherwise.concepts.feature_store import FeatureEntry
from otherwise.concepts.label_quality import LabelJudgement, fit_believed, judge_labels
from otherwise.concepts.naming import FINDING, ConceptModel, Example, Name, Space, fit_concepts
from otherwise.concepts.own_words import OwnWords
from otherwise.concepts.query import answering_limits
from otherwise.concepts.questions import Pool, RegionRef, named_share
from otherwise.concepts.region_features import RegionFeatures
from otherwise.concepts.statistics import UnitTable
from otherwise.concepts.summary import UnitName, Vote, summarise, unit_names
from otherwise.explain.explanation import Concepts
from otherwise.images.image import Image

FOLDS = 5
LEAST_REGIONS = 4
"""Among fewer it is unknown what is near: only what people named has a name."""
LEAST_LABELS = 10
"""With fewer labels it is unknown how often names are right, and findings are left to likeness."""
MOST_REGIONS = 2_000
"""Regions that tell from which overlap on a unit answers."""
MOST_SHARED = 3_000
"""Regions that tell which share of the decisive change has a name."""
MOST_TISSUE = 600
"""Places of ordinary tissue that are learned from."""


@dataclass(frozen=True, eq=False)
class ConceptSnapshot:
    """One version of the learned names. It is immutable.

    Attributes:
        version: Of the names.
        labels: How many annotations name something.
        model: Names regions by their likeness to named ones; coarsely, once there are findings.
        attributes: Tells findings.
        judgement: What labels say of each other.
        units: What units are called.
        table: Of the units.
        pool: All decisive regions.
        own: What people said of a decisive region, by explanation and label.
        unit_limits: ``(units,)`` overlap from which on each unit answers to a region, see ``answering_limits``.
        annotated: Every region that was annotated, wherever it is.
        examples: The regions that people named, once for each name.
    """

    version: str
    labels: int
    model: ConceptModel
    attributes: AttributeModel
    judgement: LabelJudgement
    units: Mapping[str, UnitName]
    table: UnitTable
    pool: Pool
    own: Mapping[tuple[str, int], OwnWords]
    unit_limits: np.ndarray
    annotated: tuple[AnnotatedRegion, ...]
    examples: tuple[Example, ...]

    def findings(self, explanation: str, features: RegionFeatures) -> list[tuple[Name, ...]]:
        """Return what each region of an explanation shows, the most telling first; nothing where the model abstains.

        Own words of the region come first, then findings on other axes. Only where there is neither, a coarse name
        stands that likeness to named regions makes surer than its prior.
        """
        keys = [(explanation, label) for label in features.labels.tolist()]
        return self._names(keys, features.embeddings, features.descriptions)

    def names(self, explanation: str, features: RegionFeatures) -> list[Name | None]:
        """Return the first finding of each region; None: no name."""
        return [found[0] if found else None for found in self.findings(explanation, features)]

    def concepts(self, explanation: str, features: RegionFeatures) -> Concepts:
        """Sum an explanation up by concepts."""
        return summarise(features, self.findings(explanation, features), self.table, self.units, self.version)

    def findings_of_region(self, embedding: np.ndarray, image: Image, region: RegionMask) -> tuple[Name, ...]:
        """Return the findings of any region of an image; see ``findings``.

        Args:
            embedding: ``(1, width)``.
            image: In its own unit.
            region: On any grid.
        """
        described = describe_region(image, region.on(image.geometry).mask)[None]
        (found,) = self._names([("", 0)], embedding, described)
        return found

    @cached_property
    def region_findings(self) -> list[tuple[Name, ...]]:
        """Return what each region of the pool shows."""
        keys = [(region.explanation, region.label) for region in self.pool.regions]
        return self._names(keys, self.pool.embeddings, self.pool.descriptions)

    @cached_property
    def doubtful(self) -> list[DoubtfulWord]:
        """Return the words that the other labels do not believe, the least likely first."""
        return doubtful_words(self.annotated, self.judgement)

    @property
    def incoherent(self) -> bool:
        """Return whether labels have nothing to do with what regions look like, as if they had been shuffled."""
        return self.judgement.incoherent

    @cached_property
    def region_names(self) -> list[Name | None]:
        """Return what each region of the pool is called first; None: no name."""
        return [found[0] if found else None for found in self.region_findings]

    def _names(
        self, keys: Sequence[tuple[str, int]], embeddings: np.ndarray, descriptions: np.ndarray
    ) -> list[tuple[Name, ...]]:
        described = len(descriptions) == len(keys) and len(keys) > 0
        learned: list[list[RegionFinding]] = [[] for _ in keys]
        silent, nothing = np.zeros(len(keys), bool), np.zeros(len(keys), bool)
        if described:
            known = ~np.isnan(descriptions).any(axis=1)
            filled = np.where(known[:, None], descriptions, 0)
            learned = self.attributes.findings(filled)
            nothing = known & self.attributes.is_tissue(filled)
            silent = nothing | (known & (len(self.attributes.heads) > 0) & self.attributes.unlike(filled))
            learned = [found if ok else [] for found, ok in zip(learned, known, strict=True)]
        likeness = self.model.name(embeddings)
        return [
            self._name(self.own.get(key), found, near, bool(mute), bool(tissue))
            for key, found, near, mute, tissue in zip(keys, learned, likeness, silent, nothing, strict=True)
        ]

    def _name(
        self, own: OwnWords | None, learned: Sequence[RegionFinding], near: Name | None, silent: bool, tissue: bool
    ) -> tuple[Name, ...]:
        if own is not None and own.cannot_tell:
            return ()
        vocabulary = self.model.vocabulary
        own_names = own.names if own else ()
        spoken, denied = (own.axes, own.denied) if own else (frozenset(), frozenset())
        learned_names = [
            Name(each.term, each.confidence, FINDING, axis=each.axis)
            for each in learned
            if each.axis.key not in spoken
            and not any(vocabulary.is_a(each.term, term) for term in denied)
            and not any(vocabulary.is_a(name.term, each.term) for name in own_names)
        ]
        if own_names or learned_names:
            return (*own_names, *learned_names)
        if tissue and self._tissue_is_a_word:
            return (Name(TISSUE, 1.0, FINDING),) if TISSUE not in denied else ()
        coarse = None if silent else self._coarse(near)
        if coarse is None or any(vocabulary.is_a(coarse.term, term) for term in denied):
            return ()
        return (coarse,)

    @cached_property
    def _tissue_is_a_word(self) -> bool:
        return any(example.term == TISSUE for example in self.examples)

    def _coarse(self, name: Name | None) -> Name | None:
        """Return a name by likeness, but for terms that their heads predict better."""
        if name is None or len(self.annotated) < LEAST_LABELS:
            return name
        line = (name.term, *self.model.vocabulary.ancestors(name.term))
        heads = self.attributes.heads
        term = next((t for t in line if t.key not in heads and not self.model.vocabulary.is_group(t)), None)
        return None if term is None else replace(name, term=term)

    @cached_property
    def questions_pool(self) -> Pool:
        """Return all decisive regions, with how unsure their findings are."""
        rows = self.pool.descriptions
        if not self.attributes.heads or not len(rows):
            return self.pool
        known = ~np.isnan(rows).any(axis=1)
        doubt = self.attributes.doubt(np.where(known[:, None], rows, 0))
        return replace(self.pool, doubt=np.where(known, doubt, 0.0))

    def named_share(self) -> float:
        """Return the share of the decisive change that has a name, in [0, 1], of at most ``MOST_SHARED`` regions.

        They are taken evenly from all explanations: every version of the names asks this.
        """
        step = -(-len(self.pool.regions) // MOST_SHARED) or 1
        keys = [(region.explanation, region.label) for region in self.pool.regions[::step]]
        found = self._names(keys, self.pool.embeddings[::step], self.pool.descriptions[::step])
        return named_share([names[0] if names else None for names in found], self.pool.shares[::step])

    def accuracy(self, folds: int = FOLDS) -> float | None:
        """Return how often names are right: of the labelled regions that get one when they are held back.

        Returns:
            In [0, 1], by cross-validation; None where there are too few labels to tell, or none of those held back
            gets a name.
        """
        if len(self.examples) < LEAST_LABELS:
            return None
        vocabulary, right, named = self.model.vocabulary, 0, 0
        # Several people's words of one region are in one fold, or it would be known before it is asked.
        places = {example.embedding.tobytes(): n for n, example in enumerate(self.examples)}
        fold_of = [places[example.embedding.tobytes()] % folds for example in self.examples]
        for fold in range(folds):
            held = [example for example, own in zip(self.examples, fold_of, strict=True) if own == fold]
            rest = [example for example, own in zip(self.examples, fold_of, strict=True) if own != fold]
            if not held:
                continue
            found = fit_concepts(self.model.space, rest, vocabulary).name(
                np.stack([example.embedding for example in held])
            )
            pairs = [(name.term, example.term) for name, example in zip(found, held, strict=True) if name]
            named += len(pairs)
            right += sum(vocabulary.is_a(truth, name) for name, truth in pairs)
        return round(right / named, 4) if named else None


def fit_snapshot(
    annotations: Sequence[Annotation],
    explained: Iterable[FeatureEntry],
    named: Mapping[str, FeatureEntry],
    table: UnitTable,
    vocabulary: Vocabulary,
    version: str,
    rng: np.random.Generator,
    overlap: float | None = None,
) -> ConceptSnapshot:
    """Learn names from all valid annotations; takes about a second for ten thousand explanations.

    Args:
        annotations: What holds, oldest first.
        explained: Features of explanations.
        named: Features of the regions that annotations speak of, by annotation; one whose features are not known yet
            counts once they are.
        table: Of the units.
        vocabulary: The terms; free ones that it lacks are roots of their own.
        version: What to call it.
        rng: Draws the regions that the space of embeddings is fitted to; the same state gives the same names.
        overlap: Units that overlap a named region by more than this take its name; None: a limit for each unit.
    """
    entries = sorted(explained, key=lambda entry: entry.source)
    known = {entry.source for entry in entries}
    labels = [note for note in annotations if note.kind == "name" and note.term is not None]
    limits = _limits(entries, len(table.names)) if overlap is None else np.full(len(table.names), overlap)
    votes, examples, elsewhere = dict[str, list[Vote]](), list[Example](), list[np.ndarray]()
    for note in labels:
        assert note.term is not None
        entry = named.get(note.id)
        found = entry.features.overlaps[0] if entry is not None and len(entry.features.labels) else None
        if entry is not None and found is not None:
            examples.append(Example(entry.features.embeddings[0], note.term, note.certain))
            elsewhere += [] if entry.features.labels[0] else [entry.features.embeddings[0]]
        for unit, strength in _answering(note, table, found, limits).items():
            votes.setdefault(unit, []).append(Vote(note.author, note.term, strength, note.certain, note.id))
    annotated = annotated_regions(annotations, named, known, vocabulary)
    own = {region.key: region.words for region in annotated if region.key is not None}
    disagreed = {note.explanation for note in annotations if note.kind == "disagree"}
    pool = _pool(entries, own.keys(), disagreed, 2 * len(table.names))
    # Each region once: one that somebody named stands in the pool already, unless it was drawn elsewhere.
    every = np.concatenate([pool.embeddings, *(embedding[None] for embedding in elsewhere)])
    if not len(every):
        every = np.zeros((1, pool.embeddings.shape[1]), np.float32)
    tissue = [entry.features.tissue for entry in entries if len(entry.features.tissue)]
    labelled = labels_of(annotated)
    judgement = judge_labels(labelled, vocabulary)
    return ConceptSnapshot(
        version=version,
        examples=tuple(examples),
        labels=len(labels),
        model=fit_concepts(Space.of(every, rng), examples if len(every) >= LEAST_REGIONS else [], vocabulary),
        attributes=fit_believed(labelled, judgement, vocabulary, _spread(tissue)),
        judgement=judgement,
        units=unit_names(votes, vocabulary),
        table=table,
        pool=pool,
        own=own,
        unit_limits=limits,
        annotated=tuple(annotated),
    )


def _spread(parts: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return at most ``MOST_TISSUE`` rows ``(n, features)``, evenly from all parts; None: there are none."""
    if not sum(map(len, parts)):
        return None
    every = np.concatenate(parts)
    return every[:: -(-len(every) // MOST_TISSUE)]


def _pool(
    entries: Sequence[FeatureEntry], spoken: Iterable[tuple[str, int]], disagreed: Iterable[str], width: int
) -> Pool:
    named, wrong = set(spoken), set(disagreed)
    regions, embeddings, shares, descriptions = [], [], [], []
    for entry in entries:
        regions += [RegionRef(entry.image, entry.source, label) for label in entry.features.labels.tolist()]
        embeddings += list(entry.features.embeddings)
        shares += entry.features.shares.tolist()
        each = entry.features.descriptions
        whole = len(each) == len(entry.features.labels)
        descriptions.append(each if whole else np.full((len(entry.features.labels), each.shape[1]), np.nan))
    return Pool(
        regions=tuple(regions),
        embeddings=np.stack(embeddings) if embeddings else np.zeros((0, width), np.float32),
        shares=np.array(shares, np.float64),
        labelled=np.array([(r.explanation, r.label) in named or r.explanation in wrong for r in regions], bool),
        descriptions=np.concatenate(descriptions) if descriptions else np.zeros((0, 0)),
    )


def _limits(entries: Sequence[FeatureEntry], units: int) -> np.ndarray:
    """Return the limits of ``answering_limits``, from at most ``MOST_REGIONS`` regions of all explanations."""
    regions = sum(len(entry.features.labels) for entry in entries)
    step = -(-regions // MOST_REGIONS) if regions else 1
    some = [entry.features.overlaps for entry in entries[::step]]
    return answering_limits(np.concatenate(some) if some else np.zeros((0, units)))


def _answering(note: Annotation, table: UnitTable, overlaps: np.ndarray | None, limits: np.ndarray) -> dict[str, float]:
    """Return the units that take an annotation's name, with their overlaps: those it lists or those that answer."""
    known = {} if overlaps is None else dict(zip(table.names, overlaps.tolist(), strict=True))
    if note.units:
        return {unit: known.get(unit, 1.0) for unit in note.units if unit in table.names}
    return {unit: known[unit] for unit, least in zip(table.names, limits, strict=True) if known.get(unit, 0.0) > least}
