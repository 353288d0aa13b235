"""What people have taught the server: kept current by a thread of its own, read by everybody as one snapshot."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from lib.host import Host
from lib.store import NotFoundError
from lib.teaching.gathering import gather_units, on_worker, view_of_explanation, view_of_image
from lib.teaching.versions import Version, Versions
from otherwise.agent.bundle import Agent
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.store import AnnotationConflictError, AnnotationStore, Recorded
from otherwise.annotations.vocabulary import Vocabulary
from otherwise.concepts.catalogue import Catalogue, Entry
from otherwise.concepts.facts import facts_of_explanation, facts_of_region
from otherwise.concepts.looks import Look, look_at_explanation, look_at_image
from otherwise.concepts.naming import Name
from otherwise.concepts.statistics import UnitTable
from otherwise.concepts.teaching import Taught, learn
from otherwise.concepts.units import EncoderUnits, LayerUnits, UnitError, UnitReader
from otherwise.errors import CancelledError, OtherwiseError
from otherwise.explain.explanation import Concepts, Explanation
from otherwise.images.atomic import atomic_path
from otherwise.images.image import Image
from otherwise.report.folder import read_explanation

logger = logging.getLogger(__name__)

LOOK_SECONDS = 20.0
"""Between two looks for new images that nobody told us of."""
GROWTH = 2.0
"""Statistics of units are taken anew once there are this many times as many images."""
WORSE = 0.1
"""A version whose held-out accuracy falls by more than this is kept, but not used."""
RECENT = 8
"""Images whose masks of units are kept at hand."""


@dataclass(frozen=True)
class Images:
    """Where images come from.

    Attributes:
        ids: Of the studies.
        read: The image of an id; raises if there is none.
        mirror: Shows what people named in an image to other clients.
    """

    ids: Callable[[], list[str]]
    read: Callable[[str], Image]
    mirror: Callable[[Image, Sequence[Annotation]], None] = lambda image, notes: None


class Teaching:
    """The state of what has been taught.

    Args:
        host: The models, the worker, and the explanations.
        annotations: What people said.
        vocabulary: The terms.
        images: Of the studies.
        state: Folder for what is gathered; nothing in it is lost for good if it is removed.
        layer: Of the classifier, whose units are read instead of those of the agent's encoder; empty: the latter.

    Raises:
        UnitError: if the classifier has no such layer.
    """

    def __init__(
        self,
        host: Host,
        annotations: AnnotationStore,
        vocabulary: Vocabulary,
        images: Images,
        state: Path,
        layer: str = "",
    ) -> None:
        self.host, self.annotations, self.vocabulary, self.images = host, annotations, vocabulary, images
        self.state = state
        self.versions = Versions(state)
        self.layer = layer
        self.reader = _reader(host, layer)
        self.table: UnitTable | None = None
        self.taught: Taught | None = None
        self.doing = ""
        self._catalogue: Catalogue | None = None
        self._recorded: list[Recorded] = []
        self._unusable: set[str] = set()
        mirrored = state / "mirrored.json"
        self._mirrored = json.loads(mirrored.read_text(encoding="utf-8"))["number"] if mirrored.is_file() else 0
        self._learned: tuple[object, ...] | None = None
        self._recent: LRUCache[str, Look] = LRUCache(RECENT)
        self._door = threading.Lock()
        self._closing, self._news, self._changed = threading.Event(), threading.Event(), threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otherwise-teaching", daemon=True)

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

    def tell(self, annotation: Annotation) -> int:
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
        self._idle.clear()
        self._news.set()

    def models_changed(self) -> None:
        """Other models are in use: their units are gathered, and everything is learned again from what was said."""
        self._changed.set()
        self.wake()

    def settled(self, timeout: float) -> bool:
        """Wait until everything there is has been learned; for tests and for whoever has to know."""
        return self._idle.wait(timeout)

    def told(self, explanation: Explanation) -> Explanation:
        """A new explanation with the names that are known; called on the worker's thread, before it is kept."""
        self.wake()
        if self.reader is None or self.table is None or self._catalogue is None:
            return explanation
        look = look_at_explanation(self.host.classifier, self.reader, self.table, explanation)
        if look is None:
            return explanation
        facts = facts_of_explanation(look, {region.label: region.effect for region in explanation.regions})
        self._catalogue.put(Entry(explanation.id, explanation.image_id, facts))
        return self.renamed(explanation)

    def knows(self, id: str) -> bool:
        """Whether there are names for the regions of an explanation."""
        return self._names(id) is not None

    def renamed(self, explanation: Explanation) -> Explanation:
        """An explanation with the newest names; as it was where nothing is known of it."""
        found = self._names(explanation.id)
        if found is None:
            return explanation
        names, concepts = found
        regions = tuple(replace(region, concept=names.get(region.label)) for region in explanation.regions)
        return replace(explanation, regions=regions, concepts=concepts)

    def renamed_json(self, id: str, content: dict[str, Any]) -> dict[str, Any]:
        """The same for the content of an ``explanation.json``."""
        found = self._names(id)
        if found is None:
            return content
        names, concepts = found
        regions = [{**region, "concept": names.get(region["label"])} for region in content["regions"]]
        return {**content, "regions": regions, "concepts": asdict(concepts)}

    def _names(self, id: str) -> tuple[dict[int, dict[str, object] | None], Concepts] | None:
        """What each region of an explanation is called, by label, and the summary."""
        taught, entry = self.taught, self._catalogue.get(id) if self._catalogue else None
        if taught is None or entry is None or not taught.labels:
            return None
        found = zip(entry.facts.labels.tolist(), taught.names(id, entry.facts), strict=True)
        names = {label: None if name is None else _concept(name) for label, name in found}
        return names, taught.concepts(id, entry.facts)

    def look(self, key: str, open: Callable[[], Image | Explanation], slice_index: int | None) -> Look:
        """An image or an explanation as the units see it; the last few are kept at hand.

        Args:
            key: What identifies it.
            open: Reads it.
            slice_index: For an image.

        Raises:
            OtherwiseError: if it cannot be used, or the units have not been gathered yet.
        """
        reader, table = self.reader, self.table
        if reader is None:
            raise UnitError("The agent of this server has no units.", "Host an agent made by otherwise train agent.")
        if table is None:
            raise NotYetError("The units are still being gathered.", "Ask again in a minute.")
        key = f"{key}#{table.images}"
        with self._door:
            known = self._recent.get(key)
        if known is not None:
            return known
        found = open()

        def see() -> Look | None:
            if isinstance(found, Explanation):
                return look_at_explanation(self.host.classifier, reader, table, found)
            return look_at_image(self.host.classifier, reader, table, found, slice_index)

        look = on_worker(self.host.worker, see, self._closing.wait)
        if look is None:
            raise UnitError("This explanation does not tell where the classifier looked.", "Explain the image again.")
        with self._door:
            self._recent[key] = look
        return look

    def explanation(self, id: str) -> Explanation:
        """An explanation as it was kept.

        Raises:
            OtherwiseError: if there is none.
        """
        return read_explanation(self.host.store.folder(id))

    def explained(self) -> int:
        """How many explanations names are learned from."""
        return len({region.explanation for region in self.taught.pool.regions}) if self.taught else 0

    def activate(self, version: int | None) -> None:
        """Use one version of the names, or (None) always the latest.

        Raises:
            NotFoundError: if there is no such version.
        """
        self.versions.choose(version, "Somebody chose it." if version is not None else "")
        self.wake()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.clear()
            try:
                self._catch_up()
            except CancelledError:
                return
            except OtherwiseError as error:
                logger.warning("Teaching: %s", error.detail)
            except Exception:
                logger.exception("Teaching failed; it is tried again")
            self.doing = ""
            if not self._news.is_set():
                self._idle.set()
            self._news.wait(LOOK_SECONDS)

    def _catch_up(self) -> None:
        if self._changed.is_set():
            self._changed.clear()
            self._forget_models()
        self._recorded += self.annotations.since(self._recorded[-1].number if self._recorded else 0)
        if self.reader is not None:
            self._gather_units()
        if self.table is not None and self._catalogue is not None:
            self._gather_explanations(self._catalogue)
            self._gather_annotations(self._catalogue)
            self._learn(self._catalogue, self.table)
        self._mirror()

    def _mirror(self) -> None:
        done = self._mirrored
        new = [each for each in self._recorded if each.number > done]
        if not new:
            return
        known = set(self.images.ids())
        current = self._current(None)
        for id in dict.fromkeys(each.annotation.image for each in new):
            if id in known:  # an image of a session is in no datastore
                try:
                    self.images.mirror(self.images.read(id), [note for note in current if note.image == id])
                except OtherwiseError as error:
                    logger.warning("A label could not be shown to other clients: %s", error.code)
        self._mirrored = new[-1].number
        with atomic_path(self.state / "mirrored.json") as temporary:
            temporary.write_text(json.dumps({"number": self._mirrored}), encoding="utf-8")

    def _forget_models(self) -> None:
        with self._door:
            self._recent.clear()
        former, self._catalogue = self._catalogue, None
        self.reader, self.table, self.taught, self._learned = _reader(self.host, self.layer), None, None, None
        self._unusable.clear()
        if former is not None:
            former.close()

    def _gather_units(self) -> None:
        assert self.reader is not None
        patches = self.host.classifier.inputs.patches is not None
        # A classifier of patches has no data set but the patches that were explained.
        ids = self.host.store.ids() if patches else self.images.ids()
        if self.table is not None and len(ids) < GROWTH * self.table.images:
            return
        classifier = self.host.classifier
        view = (
            (lambda id: view_of_explanation(classifier, self.explanation(id)))
            if patches
            else (lambda id: view_of_image(classifier, self.images.read(id)))
        )

        def progress(count: int) -> None:
            self.doing = f"Looking at what units answer to: {count} of {len(ids)} images"

        file = self.state / "units" / f"{hashlib.sha256(self.reader.version.encode()).hexdigest()[:16]}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        statistics = gather_units(self.reader, self.host.worker, ids, view, file, self._closing.wait, progress)
        if statistics is None or (self.table is not None and len(statistics.seen) < GROWTH * self.table.images):
            return
        table = statistics.table()
        catalogue = Catalogue(self.state / "facts.sqlite", f"{table.version}#{table.images}")
        former, self._catalogue, self.table, self._learned = self._catalogue, catalogue, table, None
        if former is not None:
            former.close()

    def _gather_explanations(self, catalogue: Catalogue) -> None:
        ids = [id for id in self.host.store.ids() if catalogue.get(id) is None and id not in self._unusable]
        for number, id in enumerate(ids):
            self.doing = f"Reading explanations: {number} of {len(ids)}"
            try:
                explanation = self.explanation(id)
                if explanation.classifier.version != self.host.classifier_ref.version:
                    raise UnitError("It explains another classifier.")
                look = self.look(f"explanation {id}", lambda found=explanation: found, None)  # type: ignore[misc]
            except CancelledError:
                raise
            except OtherwiseError:
                self._unusable.add(id)
                continue
            facts = facts_of_explanation(look, {region.label: region.effect for region in explanation.regions})
            catalogue.put(Entry(id, explanation.image_id, facts))

    def _gather_annotations(self, catalogue: Catalogue) -> None:
        for note in self._current(None):
            if note.kind != "name" or note.region is None or catalogue.get(note.id) or note.id in self._unusable:
                continue
            try:
                catalogue.put(Entry(note.id, note.image, facts_of_region(*self._look_of(note))))
            except CancelledError:
                raise
            except OtherwiseError:
                # Its image is no longer there, or other models explained it: what was said counts as words only.
                self._unusable.add(note.id)

    def _look_of(self, note: Annotation) -> tuple:
        assert note.region is not None
        try:
            look = self.look(f"explanation {note.explanation}", lambda: self.explanation(note.explanation), None)
        except NotFoundError:
            look = self.look(f"image {note.image}", lambda: self.images.read(note.image), note.slice_index)
        return look, look.place(note.region)

    def holding(self) -> list[Annotation]:
        """What people said and nobody took back, the oldest first, up to the version of the names in use."""
        return self._current(self.versions.chosen)

    def _current(self, until: int | None) -> list[Annotation]:
        """What holds, or held once the annotation of a number had been recorded."""
        notes = [each.annotation for each in self._recorded if until is None or each.number <= until]
        withdrawn = {note.withdraws for note in notes if note.kind == "withdraw"}
        return [note for note in notes if note.kind != "withdraw" and note.id not in withdrawn]

    def _learn(self, catalogue: Catalogue, table: UnitTable) -> None:
        head = self._recorded[-1].number if self._recorded else 0
        now = (head, catalogue.changes, catalogue.version, self.versions.chosen)
        if now == self._learned:
            return
        self.doing = "Learning names"
        entries = {entry.source: entry for entry in catalogue.all()}
        notes = {each.annotation.id for each in self._recorded}
        explained = [entry for source, entry in entries.items() if source not in notes]

        def learned(until: int | None) -> Taught:
            return learn(self._current(until), explained, entries, table, self.vocabulary, str(until or head))

        latest = learned(None)
        version = self._describe(head, latest)
        active = self.versions.get(self.versions.chosen)
        before = active or next((other for other in self.versions.all() if other.version < head), None)
        self.versions.add(version)
        if self.versions.chosen is None and before and _worse(version, before):
            reason = f"Held-out accuracy fell from {before.accuracy:.2f} to {version.accuracy:.2f}."
            logger.warning("Version %d of the names is kept, but not used: %s", head, reason)
            self.versions.choose(before.version, reason)
        elif (
            self.versions.chosen is not None
            and self.versions.reason.startswith("Held-out")
            and not (active and _worse(version, active))
        ):
            self.versions.choose(None)
        chosen = self.versions.chosen
        self.taught = latest if chosen in (None, head) else learned(chosen)
        self._learned = (head, catalogue.changes, catalogue.version, chosen)

    def _describe(self, head: int, taught: Taught) -> Version:
        before = next((other for other in self.versions.all() if other.version < head), None)
        terms = tuple(dict.fromkeys(term.meaning for term in taught.model.terms))
        return Version(
            version=head,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            labels=taught.labels,
            named_share=round(taught.named_share(), 4),
            accuracy=taught.accuracy(),
            terms=terms,
            changed=_changed(terms, before.terms if before else (), taught.labels - (before.labels if before else 0)),
        )


def _concept(name: Name) -> dict[str, object]:
    term, confidence = name.term, round(name.confidence, 4)
    return {"name": term.meaning, "scheme": term.scheme, "code": term.code, "confidence": confidence}


def _reader(host: Host, layer: str) -> UnitReader | None:
    agent = host.explainer.agent
    if layer:
        return LayerUnits(host.classifier, layer)
    return EncoderUnits(agent) if isinstance(agent, Agent) else None


class NotYetError(OtherwiseError):
    """Something is still being made."""

    code = "not-yet"
    status = 503


def _worse(version: Version, than: Version) -> bool:
    return version.accuracy is not None and than.accuracy is not None and version.accuracy < than.accuracy - WORSE


def _changed(terms: Sequence[str], before: Sequence[str], labels: int) -> str:
    new, gone = [t for t in terms if t not in before], [t for t in before if t not in terms]
    count = f"{labels:+d} label{'' if abs(labels) == 1 else 's'}" if labels else "labels as before"
    parts = [f"new: {', '.join(new)}" if new else "", f"gone: {', '.join(gone)}" if gone else ""]
    return "; ".join(part for part in (count, *parts) if part) + "."
