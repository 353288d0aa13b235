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
from otherwise.concepts.region_features import RegionFeatures
from otherwise.concepts.snapshot import ConceptSnapshot, fit_snapshot
from otherwise.evaluation.teaching.attributes import FOLDS, folds_of, kappa_of
from otherwise.evaluation.teaching.decisive import ExplainedNodules
from otherwise.evaluation.teaching.figures import Prediction, ReaderRun, TeachingFigures, summarise
from otherwise.evaluation.teaching.readers import RatedRegion, ReaderKind, answers
from otherwise.images.image import Geometry

READERS: Mapping[str, ReaderKind] = {
    "always right": ReaderKind(),
    "10 % mistakes, 10 % doubts": ReaderKind(0.1, 0.1),
    "40 % mistakes": ReaderKind(0.4),
    "two such readers": ReaderKind(0.1, 0.1, readers=2),
    "shuffled": ReaderKind(shuffled=True),
}
"""Kinds of readers that a benchmark has."""
WAYS = ("mixed", "influence", "uncertainty")
"""Ways of asking that are compared with random order, see ``STRATEGIES``."""
FIRST, BATCH = 10, 5
"""Names are learned again after each of the first labels, then after every batch."""
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
        strategy: Which region is asked about next, see ``STRATEGIES``. All but "random" depend on what was learned; see
            ``FIRST``.
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
    """Return the figures of every kind of reader asked at random, and of the other ways of asking."""
    runs = {name: (kind, "random", labels) for name, kind in READERS.items()}
    runs |= {f"always right, asked by {way}": (ReaderKind(), way, labels) for way in WAYS}
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
        questions = list[tuple[str, int]]()
        while len(self.asked) < count:
            questions = questions or self._next(strategy, count - len(self.asked))
            if not questions:
                return
            key = questions.pop(0)
            region = self.known.get(key)
            if region is None or region.own is None:  # the reader has no word for it
                self.passed.append(key)
            else:
                self.asked.append(region)

    def _next(self, strategy: str, most: int) -> list[tuple[str, int]]:
        """Return the next regions to ask about; none where nothing is left."""
        spoken = {region.key for region in self.asked} | set(self.passed)
        if strategy == "random":  # as ``ask_random``: an image at random, its strongest region
            for entry in self.order:
                if len(entry.features.labels):
                    key = entry.source, int(entry.features.labels[entry.features.shares.argmax()])
                    if key not in spoken:
                        return [key]
            return []
        given = [answers(self.asked, self.vocabulary, self.kind, np.random.default_rng(0))]
        taught = self._teach(given)
        if taught.pool.labelled.all():
            return []
        count = min(most, 1 if len(self.asked) < FIRST else BATCH)
        questions = next_questions(strategy, taught.questions_pool, taught.model, count, self.draw)
        return [(question.region.explanation, question.region.label) for question in questions]

    def _teach(self, given: Sequence[Sequence[Term | None]]) -> ConceptSnapshot:
        notes, named = [], {}
        where = {entry.source: entry for entry in self.entries}
        for author, words in enumerate(given):
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
        given = [
            answers(self.asked, self.vocabulary, self.kind, np.random.default_rng([int(self.draw.integers(2**31)), n]))
            for n in range(self.kind.readers)
        ]
        taught = self._teach(given)
        predictions: list[Prediction] = []
        regions = []
        keys = [(entry.source, label) for entry in self.tested for label in entry.features.labels.tolist()]
        # Nobody has spoken of these regions, so it does not matter of which explanation they are.
        for key, found in zip(keys, taught.findings("", _together(self.tested)), strict=True):
            if key in self.known:
                regions.append(self.known[key])
                predictions.append([(name.term, name.confidence) for name in found])
        lung = taught.attributes.findings(np.concatenate([self.explained.lung[e.source] for e in self.tested]))
        wrong = {
            note.id
            for region in taught.annotated
            for note in region.notes
            if note.term is not None and region.key in self.known and note.term not in self.known[region.key].truth
        }
        doubtful = {each.annotation.id for each in taught.doubtful}
        described = np.stack([region.description for region in regions])
        return ReaderRun(
            regions=regions,
            predictions=predictions,
            chosen=tuple(self.asked),
            given=given[0],
            probabilities=taught.attributes.probabilities(described),
            lung_named=float(np.mean([any(f.term != TISSUE for f in found) for found in lung])) if lung else 0.0,
            wrong=len(wrong),
            found=len(wrong & doubtful),
            asked=len(doubtful),
            kappa=kappa_of(given),
            warned=taught.incoherent,
        )


def _note(author: str, entry: FeatureEntry, key: tuple[str, int], word: Term | None) -> Annotation:
    kind: Kind = "cannot-tell" if word is None else "name"
    return Annotation(author, kind, entry.image, explanation=key[0], region=_SOMEWHERE, term=word, id=new_id())


def _together(entries: Sequence[FeatureEntry]) -> RegionFeatures:
    """Return the regions of several explanations as if they were of one."""
    each = [entry.features for entry in entries]
    rows = ("labels", "effects", "embeddings", "overlaps", "descriptions")
    return replace(each[0], **{name: np.concatenate([getattr(one, name) for one in each]) for name in rows})


def _one_of(entry: FeatureEntry, label: int, note: Annotation) -> FeatureEntry:
    """Return the features of one region of an explanation, as those of an annotation."""
    features = entry.features
    place = int(np.flatnonzero(features.labels == label)[0])
    rows = ("labels", "effects", "embeddings", "overlaps", "descriptions")
    one = {name: getattr(features, name)[place : place + 1] for name in rows}
    return FeatureEntry(note.id, entry.image, replace(features, **one))
