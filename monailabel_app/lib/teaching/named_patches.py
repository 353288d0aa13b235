"""Pictures of what people named, to stand beside the words of a report."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cachetools import LRUCache

from lib.storage.explanation_store import NotFoundError
from lib.teaching.service import TeachingService
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.vocabulary import Key, Term
from otherwise.errors import CancelledError, OtherwiseError

if TYPE_CHECKING:
    from otherwise.report.examples import ExamplePatch

SHOWN = 3
"""Patches beside a term."""
KEPT = 512
"""Patches that are kept at hand."""


class NamedPatches:
    """Cuts patches around named regions, each once.

    Args:
        teaching: Knows what was named.
    """

    def __init__(self, teaching: TeachingService) -> None:
        self.teaching = teaching
        self._cut: LRUCache[str, ExamplePatch | None] = LRUCache(KEPT)
        self._door = threading.Lock()

    def of(self, terms: Iterable[Term], owner: str | None) -> dict[Key, list[ExamplePatch]]:
        """Up to three patches of each term or of kinds of it, the newest certain ones first.

        Args:
            terms: To look for.
            owner: Of the report; patches of other people's private images are left out.
        """
        vocabulary = self.teaching.vocabulary
        notes = [
            note
            for note in reversed(self.teaching.valid_annotations())
            if note.region is not None and note.certain and self.teaching.owner_of(note) in (None, owner)
        ]
        found = {}
        for term in terms:
            patches = []
            for note in notes:
                if note.term is not None and vocabulary.is_a(note.term, term) and (patch := self._patch(note)):
                    patches.append(patch)
                if len(patches) == SHOWN:
                    break
            found[term.key] = patches
        return found

    def _patch(self, note: Annotation) -> ExamplePatch | None:
        """Return the patch of an annotation; None where its image is gone."""
        with self._door:
            if note.id in self._cut:
                return self._cut[note.id]
        try:
            patch = self._make(note)
        except CancelledError:
            raise
        except OtherwiseError:
            patch = None
        with self._door:
            self._cut[note.id] = patch
        return patch

    def _make(self, note: Annotation) -> ExamplePatch:
        from otherwise.report.examples import cut_patch  # loads matplotlib: not while the server starts

        assert note.region is not None
        assert note.term is not None
        try:
            image = self.teaching.explanation(note.explanation).volumes.original
        except (NotFoundError, ValueError):
            image = self.teaching.images.read(note.image)
        window = self.teaching.host.classifier.inputs.intensity
        return cut_patch(image, note.region, f"{note.term.meaning}, named by {note.author}", window)
