"""The learned names: updated by a background thread, read as one snapshot."""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import replace
from pathlib import Path

from lib.runtime.host import Host
from lib.storage.explanation_store import NotFoundError
from lib.teaching.activation_cache import ActivationCache
from lib.teaching.label_sync import LabelSync
from lib.teaching.learner import Learner
from lib.teaching.region_names import RegionNames, region_names_of
from lib.teaching.study_images import StudyImages
from lib.teaching.superseded import SupersededError, refuse_superseded
from lib.teaching.unit_statistics import shown_plane, update_unit_statistics, view_of_explanation, view_of_image
from lib.teaching.versions import Versions
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.store import AnnotationConflictError, AnnotationStore
from otherwise.annotations.vocabulary import Vocabulary
from otherwise.concepts.activations import ImageActivations, activations_of_explanation
from otherwise.concepts.annotated_regions import REGION_KINDS
from otherwise.concepts.feature_store import FeatureEntry, FeatureStore
from otherwise.concepts.region_features import RegionFeatures, features_of_explanation, features_of_region
from otherwise.concepts.snapshot import ConceptSnapshot
from otherwise.concepts.statistics import UnitTable
from otherwise.concepts.units import UnitError, UnitReader
from otherwise.errors import CancelledError, OtherwiseError
from otherwise.explain.explanation import Explanation
from otherwise.report.folder import read_explanation

logger = logging.getLogger(__name__)

LOOK_SECONDS = 20.0
"""Between two looks for new images that no request announced."""
GROWTH = 2.0
"""Statistics of units are taken anew once there are this many times as many images."""


class TeachingService:
    """The state of teaching.

    Args:
        host: The models, the worker, and the explanations.
        annotations: What people said.
        vocabulary: The terms.
        images: Of the studies.
        state: Folder for what is gathered; nothing in it is lost for good if it is removed.
        layer: Of the classifier, whose units are read; see ``unit_reader``.

    Raises:
        UnitError: if the classifier has no such layer.
    """

    def __init__(
        self,
        host: Host,
        annotations: AnnotationStore,
        vocabulary: Vocabulary,
        images: StudyImages,
        state: Path,
        layer: str = "",
    ) -> None:
        self.host, self.annotations, self.vocabulary, self.images = host, annotations, vocabulary, images
        self.state = state
        self.versions = Versions(state)
        self.learner = Learner(self.versions, vocabulary)
        self.doing = ""
        self._catalogue: FeatureStore | None = None
        self._unusable: set[str] = set()
        self._unseen: set[str] = set()
        self._mirror = LabelSync(state / "mirrored.json", images)
        self._door = threading.Lock()
        self._closing, self._news, self._changed = threading.Event(), threading.Event(), threading.Event()
        self._idle = threading.Event()
        self.activations = ActivationCache(host, layer, self._closing.wait)
        self._thread = threading.Thread(target=self._run, name="otherwise-teaching", daemon=True)

    @property
    def taught(self) -> ConceptSnapshot | None:
        """What has been learned; None before anything was."""
        return self.learner.taught

    def start(self) -> None:
        """Begin to learn in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what was acknowledged is on the disk."""
        self._closing.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self.annotations.close()

    def record(self, annotation: Annotation) -> int:
        """Record an annotation; once this returns, it stays. What follows from it is learned in the background.

        A client that did not hear the answer sends the same again, with the same id: it is recorded once.

        Raises:
            OtherwiseError: see ``AnnotationStore.append``.
        """
        try:
            number = self.annotations.append(annotation)
        except AnnotationConflictError:
            known = self.annotations.get(annotation.id)
            if replace(annotation, created=known.created, models=known.models) != known:
                raise
            number = self.annotations.append(known)
        self.wake()
        return number

    def wake(self) -> None:
        """There are news."""
        with self._door:
            self._idle.clear()
            self._news.set()

    def models_changed(self) -> None:
        """Other models are in use: their units are gathered, and everything is learned again from what was said."""
        self._changed.set()
        self.wake()

    def settled(self, timeout: float) -> bool:
        """Wait until all annotations have been learned."""
        return self._idle.wait(timeout)

    def with_names(self, explanation: Explanation) -> Explanation:
        """Return a new explanation with the known names; called on the worker's thread, before it is stored."""
        try:
            return self._with_names(explanation)
        except Exception:
            # The search took long; its names can be found later.
            logger.exception("A new explanation has no names yet")
            return explanation

    def _with_names(self, explanation: Explanation) -> Explanation:
        reader, table, catalogue = self.activations.reader, self.activations.table, self._catalogue
        if reader is None or table is None or catalogue is None or self._changed.is_set():
            return explanation
        look = activations_of_explanation(self.host.classifier, reader, table, explanation)
        if look is None:
            return explanation
        catalogue.put(_entry_of(explanation, look))
        names = self.names(explanation.id)
        return names.put_into(explanation) if names else explanation

    def names(self, id: str) -> RegionNames | None:
        """Return the present names of an explanation's regions; None where none is known."""
        taught, entry = self.taught, self._catalogue.get(id) if self._catalogue else None
        return region_names_of(taught, entry) if taught is not None and entry is not None and taught.labels else None

    def explanation(self, id: str) -> Explanation:
        """Return an explanation as it was stored.

        Raises:
            OtherwiseError: if there is none.
        """
        return read_explanation(self.host.store.folder(id))

    def explained(self) -> int:
        """How many explanations names are learned from, also those in which no region decides."""
        return len(self.learner.sources) if self.taught else 0

    def behind(self) -> bool:
        """Whether there are explanations that nothing has been learned from yet, though it could be."""
        learned = self.learner.sources if self.taught else frozenset()
        return not set(self.host.store.ids()) <= learned | self._unusable

    def activate(self, version: int | None) -> None:
        """Use one version of the names, or (None) always the latest.

        Raises:
            NotFoundError: if there is no such version.
        """
        reason = "Somebody chose it." if version is not None else ""
        self.versions.choose(version, reason, self.annotations.head())
        self.wake()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.clear()
            try:
                self._catch_up()
            except CancelledError:
                return
            except OtherwiseError as error:
                logger.warning("Teaching stopped (%s); it is tried again", error.code)  # its words may name an image
            except Exception:
                logger.exception("Teaching failed; it is tried again")
            self.doing = ""
            with self._door:
                if not self._news.is_set():
                    self._idle.set()
            self._news.wait(LOOK_SECONDS)

    def _catch_up(self) -> None:
        if self._changed.is_set():
            self._changed.clear()
            self._forget_models()
        self.learner.hear(self.annotations)
        if self.activations.reader is not None:
            self._gather_units(self.activations.reader)
        if self.activations.table is not None and self._catalogue is not None:
            self._gather_explanations(self._catalogue)
            self._gather_annotations(self._catalogue)
            self._learn(self._catalogue, self.activations.table)
        self._mirror.show(self.learner.recorded, self.learner.valid_annotations(None))

    def _learn(self, catalogue: FeatureStore, table: UnitTable) -> None:
        ids = set(self.host.store.ids())
        if self.learner.is_current(catalogue, ids):
            return
        self.doing = "Learning names"
        self.learner.learn(catalogue, table, ids, self.host.owners.get)

    def _forget_models(self) -> None:
        former, self._catalogue = self._catalogue, None
        self.activations.forget()
        self.learner.forget()
        self._unusable.clear()
        self._unseen.clear()
        if former is not None:
            former.close()

    def _gather_units(self, reader: UnitReader) -> None:
        patches = self.host.classifier.inputs.patches is not None
        # A classifier of patches has no data set but the patches that were explained.
        every = [id for id in self.host.store.ids() if not self._private(id)] if patches else self.images.ids()
        ids = [id for id in every if id not in self._unseen]
        known = self.activations.table
        if known is not None and len(ids) < GROWTH * known.images:
            return
        classifier = self.host.classifier
        view = (
            (lambda id: view_of_explanation(classifier, self.explanation(id)))
            if patches
            else (lambda id: view_of_image(classifier, self.images.read(id)))
        )

        def progress(count: int) -> None:
            self.doing = f"Looking at what units answer to: {count} of {len(ids)} images"

        file = self.state / "units" / f"{hashlib.sha256(reader.version.encode()).hexdigest()[:16]}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        statistics = update_unit_statistics(
            reader, self.host.worker, ids, view, file, self._closing.wait, self._unseen, progress
        )
        if statistics is None or (known is not None and len(statistics.seen) < GROWTH * known.images):
            return
        table = statistics.table()
        catalogue = FeatureStore(self.state / "facts.sqlite", f"{table.version}#{table.images}")
        former, self._catalogue = self._catalogue, catalogue
        self.activations.table = table
        self.learner.outdate()
        if former is not None:
            former.close()

    def _gather_explanations(self, catalogue: FeatureStore) -> None:
        ids = [id for id in self.host.store.ids() if catalogue.get(id) is None and id not in self._unusable]
        for number, id in enumerate(ids):
            self.doing = f"Reading explanations: {number} of {len(ids)}"
            try:
                explanation = self.explanation(id)
                refuse_superseded(self.host.classifier, explanation)
                catalogue.put(_entry_of(explanation, self._look_at(explanation)))
            except CancelledError:
                raise
            except Exception as error:
                logger.info("An explanation has no names: %s", getattr(error, "code", type(error).__name__))
                self._unusable.add(id)

    def _gather_annotations(self, catalogue: FeatureStore) -> None:
        for note in self.learner.valid_annotations(None):
            if (
                note.kind not in REGION_KINDS
                or note.region is None
                or catalogue.get(note.id)
                or note.id in self._unusable
            ):
                continue
            try:
                catalogue.put(FeatureEntry(note.id, note.image, self._features_of(note)))
            except CancelledError:
                raise
            except Exception:
                # Its image is no longer there, or other models explained it: what was said counts as words only.
                self._unusable.add(note.id)

    def look_at_example(self, id: str) -> ImageActivations:
        """Look at an image that units were gathered from: one of the studies, or an explained patch.

        Raises:
            OtherwiseError: if it is no longer there.
        """
        if self.host.classifier.inputs.patches is not None:
            return self._look_at(self.explanation(id))
        image = self.images.read(id)
        plane = shown_plane(self.host.classifier, image)
        return self.activations.look(f"image {id} {image.sha256} {plane}", lambda: image, plane)

    def _look_at(self, explanation: Explanation) -> ImageActivations:
        return self.activations.look(f"explanation {explanation.id}", lambda: explanation)

    def _features_of(self, note: Annotation) -> RegionFeatures:
        assert note.region is not None
        try:
            explanation = self.explanation(note.explanation)
            refuse_superseded(self.host.classifier, explanation)
            look, image = self._look_at(explanation), explanation.volumes.original
        except (NotFoundError, SupersededError, UnitError):
            image = self.images.read(note.image)
            key = f"image {note.image} {note.image_sha256} {note.slice_index}"
            look = self.activations.look(key, lambda: image, note.slice_index)
        return features_of_region(look, look.place(note.region), image, note.region.on(image.geometry).mask)

    def valid_annotations(self) -> list[Annotation]:
        """Return the valid annotations, oldest first, up to the version of the names in use."""
        return self.learner.valid_annotations(self.versions.chosen)

    def owner_of(self, note: Annotation) -> str | None:
        """Return whose image an annotation is about; None: everybody's."""
        if note.explanation:
            return self.host.owners.get(note.explanation)
        return note.author if note.image.startswith("session-") and note.image not in self.images.ids() else None

    def _private(self, id: str) -> bool:
        return self.host.owners.get(id) is not None


def _entry_of(explanation: Explanation, look: ImageActivations) -> FeatureEntry:
    return FeatureEntry(explanation.id, explanation.image_id, features_of_explanation(look, explanation))
