"""What people have taught so far, as one snapshot: names of units and of regions, and what is still to be asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.concepts.feature_store import FeatureEntry
from otherwise.concepts.naming import ConceptModel, Example, Name, Space, fit_concepts
from otherwise.concepts.query import NAMING_OVERLAP
from otherwise.concepts.questions import Pool, RegionRef, named_share
from otherwise.concepts.region_features import RegionFeatures
from otherwise.concepts.statistics import UnitTable
from otherwise.concepts.summary import UnitName, Vote, summarise, unit_names
from otherwise.explain.explanation import Concepts

FOLDS = 5
LEAST_REGIONS = 4
"""Among fewer nobody can tell what is near: only what people named has a name."""
LEAST_LABELS = 10
"""With fewer labels nobody can tell how often names are right."""


@dataclass(frozen=True, eq=False)
class ConceptSnapshot:
    """One version of everything that names rest upon. Nothing in it ever changes.

    Attributes:
        version: Of the names.
        labels: How many annotations name something.
        model: Names regions.
        units: What units are called.
        table: Of the units.
        pool: All decisive regions.
        given: What people called a decisive region, by explanation and label: the last certain word.
        examples: The regions that people named, wherever they are.
    """

    version: str
    labels: int
    model: ConceptModel
    units: Mapping[str, UnitName]
    table: UnitTable
    pool: Pool
    given: Mapping[tuple[str, int], Term]
    examples: tuple[Example, ...]

    def names(self, explanation: str, features: RegionFeatures) -> list[Name | None]:
        """What the regions of an explanation are called: what somebody called that very region, or else the probes."""
        found = self.model.name(features.embeddings)
        for place, label in enumerate(features.labels.tolist()):
            term = self.given.get((explanation, label))
            if term is not None:
                found[place] = Name(term, 1.0)
        return found

    def concepts(self, explanation: str, features: RegionFeatures) -> Concepts:
        """An explanation summed up by concepts."""
        return summarise(features, self.names(explanation, features), self.table, self.units, self.version)

    @cached_property
    def region_names(self) -> list[Name | None]:
        """What each region of the pool is called."""
        names = self.model.name(self.pool.embeddings)
        for place, region in enumerate(self.pool.regions):
            term = self.given.get((region.explanation, region.label))
            names[place] = Name(term, 1.0) if term else names[place]
        return names

    def named_share(self) -> float:
        """Share of the decisive change of all explanations that has a name, in [0, 1]."""
        return named_share(self.region_names, self.pool.shares)

    def accuracy(self, folds: int = FOLDS) -> float | None:
        """How often names are right: of the labelled regions that get one when they are held back (cross-validation).

        Returns:
            In [0, 1]; None where there are too few labels to tell, or none of those held back gets a name.
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
    overlap: float = NAMING_OVERLAP,
) -> ConceptSnapshot:
    """Learn from everything that holds; takes a second or so for ten thousand explanations.

    Args:
        annotations: What holds, oldest first.
        explained: Features of explanations.
        named: Features of the regions that annotations name, by annotation; one whose features are not known yet
            counts once they are.
        table: Of the units.
        vocabulary: The terms; free ones that it lacks are roots of their own.
        version: What to call it.
        overlap: Units that overlap a named region by more than this take its name.
    """
    entries = sorted(explained, key=lambda entry: entry.source)
    labels = [note for note in annotations if note.kind == "name" and note.term is not None]
    examples, votes, given = [], dict[str, list[Vote]](), dict[tuple[str, int], Term]()
    elsewhere, named_already = list[np.ndarray](), set[tuple[str, int]]()
    known = {entry.source for entry in entries}
    for note in labels:
        assert note.term is not None
        entry = named.get(note.id)
        found = entry.features.overlaps[0] if entry is not None and len(entry.features.labels) else None
        if entry is not None and found is not None:
            examples.append(Example(entry.features.embeddings[0], note.term, note.certain))
            elsewhere += [] if entry.features.labels[0] else [entry.features.embeddings[0]]
            # Features of a named region carry the label of the decisive region that it is, 0 where it is none.
            region = (note.explanation, int(entry.features.labels[0]))
            if region[1] and note.explanation in known:
                named_already.add(region)
                if note.certain:
                    given[region] = note.term
        for unit, strength in _answering(note, table, found, overlap).items():
            votes.setdefault(unit, []).append(Vote(note.author, note.term, strength, note.certain, note.id))
    pool = _pool(entries, named_already, 2 * len(table.names))
    # Each region once: one that somebody named stands in the pool already, unless it was drawn elsewhere.
    every = np.concatenate([pool.embeddings, *(embedding[None] for embedding in elsewhere)])
    if not len(every):
        every = np.zeros((1, pool.embeddings.shape[1]), np.float32)
    return ConceptSnapshot(
        version=version,
        examples=tuple(examples),
        labels=len(labels),
        model=fit_concepts(Space.of(every), examples if len(every) >= LEAST_REGIONS else [], vocabulary),
        units=unit_names(votes, vocabulary),
        table=table,
        pool=pool,
        given=given,
    )


def _pool(entries: Sequence[FeatureEntry], named: Collection[tuple[str, int]], width: int) -> Pool:
    regions, embeddings, shares = [], [], []
    for entry in entries:
        regions += [RegionRef(entry.image, entry.source, label) for label in entry.features.labels.tolist()]
        embeddings += list(entry.features.embeddings)
        shares += entry.features.shares.tolist()
    return Pool(
        regions=tuple(regions),
        embeddings=np.stack(embeddings) if embeddings else np.zeros((0, width), np.float32),
        shares=np.array(shares, np.float64),
        labelled=np.array([(region.explanation, region.label) in named for region in regions], bool),
    )


def _answering(note: Annotation, table: UnitTable, overlaps: np.ndarray | None, least: float) -> dict[str, float]:
    """The units that take an annotation's name, each with its overlap: those it lists or else those that answer."""
    known = {} if overlaps is None else dict(zip(table.names, overlaps.tolist(), strict=True))
    if note.units:
        return {unit: known.get(unit, 1.0) for unit in note.units if unit in table.names}
    return {unit: strength for unit, strength in known.items() if strength > least}
