"""Teach the names of decisive regions as the server teaches them, and look at those of other patients.

The same functions that the server calls learn (``fit_snapshot``), ask (``next_questions``) and name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from otherwise.annotations.annotation import Annotation, Kind, new_id
from otherwise.annotations.region import RegionMask
from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.concepts.attributes import TISSUE
from otherwise.concepts.feature_store import FeatureEntry
from otherwise.concepts.questions import next_questions
from otherwise.concepts.snapshot import ConceptSnapshot, fit_snapshot
from otherwise.evaluation.teaching.attributes import FOLDS, folds_of, kappa_of
from otherwise.evaluation.teaching.decisive import ExplainedNodules
from otherwise.evaluation.teaching.figures import Prediction, ReaderRun, TeachingFigures, summarise
from otherwise.evaluation.teaching.readers import RatedRegion, ReaderKind, answers
from otherwise.images.image import Geometry

READERS: Mapping[str, ReaderKind] = {
    "always right": ReaderKind(),
    "10 % mistakes, 10 % doubts": ReaderKind(0.1, 0.1),
    "two such readers": ReaderKind(0.1, 0.1, readers=2),
    "shuffled": ReaderKind(shuffled=True),
}
"""Kinds of readers that a benchmark has."""
FIRST = 10
"""Labels after which ways of asking are compared."""
_SOMEWHERE = RegionMask(np.ones((1, 1, 1), bool), Geometry((1, 1, 1), np.eye(4)))
"""Stands for every decisive region, whose features are known already."""


def measure_decisive(
    explained: ExplainedNodules,
    vocabulary: Vocabulary,
    labels: Sequence[int] = (10, 20, 40),
    readers: int = 20,
    kind: ReaderKind | None = None,
    strategy: str = "random",
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> list[TeachingFigures]:
    """Let readers label decisive regions, and look at those of other patients.

    Args:
        explained: See :func:`explain_nodules`.
        vocabulary: Terms and their axes.
        labels: How many regions are labelled; a number beyond those there are means all.
        readers: How many, each of another fold and order.
        kind: How they answer; None: always right and sure.
        strategy: Which region is asked about next, see ``STRATEGIES``; all but "random" learn after each label.
        seed: Of folds, orders and mistakes.
        progress: Called with the share done.
    """
    kind = kind or ReaderKind()
    fold_of = folds_of([explained.patients[entry.source] for entry in explained.entries], seed)
    counts, runs = sorted(set(labels)), dict[int, list[ReaderRun]]()
    for reader in range(readers):
        lesson = _Lesson(explained, vocabulary, kind, fold_of, reader % FOLDS, seed, reader)
        for count in counts:
            lesson.label(count, strategy)
            runs.setdefault(count, []).append(lesson.examine())
        progress((reader + 1) / readers)
    return [summarise(runs[count], vocabulary, seed) for count in counts]


def compare_readers(
    explained: ExplainedNodules,
    vocabulary: Vocabulary,
    labels: Sequence[int],
    readers: int,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, list[TeachingFigures]]:
    """Return the figures of every kind of reader, and of the server's own way of asking after ``FIRST`` labels."""
    runs = {name: (kind, "random", labels) for name, kind in READERS.items()}
    runs[f"always right, asked at random, {FIRST}"] = (ReaderKind(), "random", [FIRST])
    runs[f"always right, asked as the server asks, {FIRST}"] = (ReaderKind(), "mixed", [FIRST])
    found = {}
    for place, (name, (kind, strategy, counts)) in enumerate(runs.items()):

        def report(part: float, place: int = place) -> None:
            progress((place + part) / len(runs))

        found[name] = measure_decisive(explained, vocabulary, counts, readers, kind, strategy, seed, report)
    return found


class _Lesson:
    """One reader, or two of the same regions, who label some patients' regions and are examined on others'."""

    def __init__(
        self,
        explained: ExplainedNodules,
        vocabulary: Vocabulary,
        kind: ReaderKind,
        fold_of: Mapping[str, int],
        fold: int,
        seed: int,
        number: int,
    ) -> None:
        self.explained, self.vocabulary, self.kind = explained, vocabulary, kind
        self.draw = np.random.default_rng([seed, number])
        held = {patient for patient, each in fold_of.items() if each == fold}
        self.entries = [e for e in explained.entries if explained.patients[e.source] not in held]
        self.tested = [e for e in explained.entries if explained.patients[e.source] in held]
        self.known = {region.key: region for region in explained.regions}
        self.asked: list[RatedRegion] = []
        self.passed: list[tuple[str, int]] = []
        self.order = [self.entries[n] for n in self.draw.permutation(len(self.entries))]

    def label(self, count: int, strategy: str) -> None:
        """Ask until so many regions are labelled, or nothing is left."""
        while len(self.asked) < count:
            key = self._next(strategy)
            if key is None:
                return
            region = self.known.get(key)
            if region is None or region.own is None:  # the reader has no word for it
                self.passed.append(key)
            else:
                self.asked.append(region)

    def _next(self, strategy: str) -> tuple[str, int] | None:
        spoken = {region.key for region in self.asked} | set(self.passed)
        if strategy == "random":  # as ``ask_random``: an image at random, its strongest region
            for entry in self.order:
                if len(entry.features.labels):
                    key = entry.source, int(entry.features.labels[entry.features.shares.argmax()])
                    if key not in spoken:
                        return key
            return None
        said = [answers(self.asked, self.vocabulary, self.kind, np.random.default_rng(0))]
        taught = self._teach(said)
        if taught.pool.labelled.all():
            return None
        (question,) = next_questions(strategy, taught.questions_pool, taught.model, 1, self.draw)
        return question.region.explanation, question.region.label

    def _teach(self, said: Sequence[Sequence[Term | None]]) -> ConceptSnapshot:
        notes, named = [], {}
        where = {entry.source: entry for entry in self.entries}
        for author, words in enumerate(said):
            for region, word in zip(self.asked, words, strict=True):
                assert region.key is not None
                notes.append(_note(f"reader {author + 1}", where[region.key[0]], region.key, word))
                named[notes[-1].id] = _one_of(where[region.key[0]], region.key[1], notes[-1])
        for key in self.passed:
            notes.append(_note("reader 1", where[key[0]], key, None))
            named[notes[-1].id] = _one_of(where[key[0]], key[1], notes[-1])
        return fit_snapshot(
            notes, self.entries, named, self.explained.table, self.vocabulary, "1", np.random.default_rng(0)
        )

    def examine(self) -> ReaderRun:
        """Teach what was labelled, and look at the held-back patients' regions."""
        said = [
            answers(self.asked, self.vocabulary, self.kind, np.random.default_rng([int(self.draw.integers(2**31)), n]))
            for n in range(self.kind.readers)
        ]
        taught = self._teach(said)
        predictions: list[Prediction] = []
        regions = []
        for entry in self.tested:
            names = taught.findings(entry.source, entry.features)
            for label, found in zip(entry.features.labels.tolist(), names, strict=True):
                region = self.known.get((entry.source, label))
                if region is not None:
                    regions.append(region)
                    predictions.append([(name.term, name.confidence) for name in found])
        lung = taught.attributes.findings(np.concatenate([self.explained.lung[e.source] for e in self.tested]))
        wrong = {
            note.id
            for region in taught.said
            for note in region.notes
            if note.term is not None and region.key in self.known and note.term not in self.known[region.key].truth
        }
        doubtful = {each.annotation.id for each in taught.doubtful}
        described = np.stack([region.description for region in regions])
        return ReaderRun(
            regions=regions,
            predictions=predictions,
            chosen=tuple(self.asked),
            said=said[0],
            probabilities=taught.attributes.probabilities(described),
            lung_named=float(np.mean([any(f.term != TISSUE for f in found) for found in lung])) if lung else 0.0,
            wrong=len(wrong),
            found=len(wrong & doubtful),
            asked=len(doubtful),
            kappa=kappa_of(said),
            warned=taught.incoherent,
        )


def _note(author: str, entry: FeatureEntry, key: tuple[str, int], word: Term | None) -> Annotation:
    kind: Kind = "cannot-tell" if word is None else "name"
    return Annotation(author, kind, entry.image, explanation=key[0], region=_SOMEWHERE, term=word, id=new_id())


def _one_of(entry: FeatureEntry, label: int, note: Annotation) -> FeatureEntry:
    """Return the features of one region of an explanation, as those of an annotation."""
    features = entry.features
    place = int(np.flatnonzero(features.labels == label)[0])
    rows = ("labels", "effects", "embeddings", "overlaps", "descriptions")
    one = {name: getattr(features, name)[place : place + 1] for name in rows}
    return FeatureEntry(note.id, entry.image, replace(features, **one))
