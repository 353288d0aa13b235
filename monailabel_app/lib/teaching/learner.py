"""Learn names from annotations, one snapshot after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from lib.teaching.versions import Versions, described
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.store import AnnotationStore, RecordedAnnotation
from otherwise.annotations.vocabulary import Vocabulary
from otherwise.concepts.feature_store import FeatureStore
from otherwise.concepts.snapshot import ConceptSnapshot, fit_snapshot
from otherwise.concepts.statistics import UnitTable


class Learner:
    """Annotations, and the snapshot learned from them. Only the teaching thread calls methods that change it.

    Args:
        versions: Of the names.
        vocabulary: The terms.

    Attributes:
        recorded: All annotations, in the order of their numbers.
        taught: The snapshot in use; it is replaced as a whole, so that any thread may read it.
        sources: Ids of the explanations that it was learned from.
    """

    def __init__(self, versions: Versions, vocabulary: Vocabulary) -> None:
        self.versions, self.vocabulary = versions, vocabulary
        self.recorded: list[RecordedAnnotation] = []
        self.taught: ConceptSnapshot | None = None
        self.sources: frozenset[str] = frozenset()
        self._learned: tuple[object, ...] | None = None

    def hear(self, annotations: AnnotationStore) -> None:
        """Take in what has been recorded since the last time."""
        self.recorded += annotations.since(self.recorded[-1].number if self.recorded else 0)

    def forget(self) -> None:
        """Forget what was learned, because other models are in use."""
        self.taught, self._learned = None, None

    def outdate(self) -> None:
        """Learn again the next time, because the features changed."""
        self._learned = None

    def valid_annotations(self, until: int | None) -> list[Annotation]:
        """Return the annotations that were not withdrawn, oldest first.

        Args:
            until: Number of a version: annotations after it and before it was chosen are left out. None: all.
        """
        since = self.versions.since
        notes = [
            each.annotation for each in self.recorded if until is None or each.number <= until or each.number > since
        ]
        withdrawn = {note.withdraws for note in notes if note.kind == "withdraw"}
        return [note for note in notes if note.kind != "withdraw" and note.id not in withdrawn]

    def is_current(self, catalogue: FeatureStore, ids: Collection[str]) -> bool:
        """Return whether nothing has changed since the last time."""
        return self._state(catalogue, ids) == self._learned

    def learn(
        self,
        catalogue: FeatureStore,
        table: UnitTable,
        ids: Collection[str],
        owner_of: Callable[[str], str | None],
    ) -> None:
        """Learn from all valid annotations.

        Args:
            catalogue: Features of explanations and of the regions that were spoken of.
            table: Of the units.
            ids: Of the explanations that are kept.
            owner_of: Whose an explanation is; None: everybody's. A private one counts once its owner spoke of it.
        """
        state = self._state(catalogue, ids)
        entries = {entry.source: entry for entry in catalogue.all()}
        spoken = {note.explanation for note in self.valid_annotations(None)}
        # Features are gathered a moment before an explanation is kept; one that is gone is not asked about.
        kept = [source for source in entries if source in set(ids)]
        explained = [entries[source] for source in kept if owner_of(source) is None or source in spoken]
        head = self.recorded[-1].number if self.recorded else 0

        def learned(until: int | None, name: str) -> ConceptSnapshot:
            return fit_snapshot(
                self.valid_annotations(until),
                explained,
                entries,
                table,
                self.vocabulary,
                name,
                np.random.default_rng(0),
            )

        latest = learned(None, str(head))
        self.versions.take(described(head, latest, self.versions.before(head)))
        chosen = self.versions.chosen
        later = sum(each.number > self.versions.since for each in self.recorded)
        name = f"{chosen}+{later}" if later else str(chosen)
        self.taught = latest if chosen in (None, head) else learned(chosen, name)
        self.sources, self._learned = frozenset(kept), state

    def _state(self, catalogue: FeatureStore, ids: Collection[str]) -> tuple[object, ...]:
        sources = frozenset(entry.source for entry in catalogue.all())
        head = self.recorded[-1].number if self.recorded else 0
        return head, sources & frozenset(ids), len(sources), catalogue.version, self.versions.chosen
