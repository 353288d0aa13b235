"""Teaching without a panel: name regions, ask which units respond, answer questions, and follow what the server learns.

Annotations go through ``Outbox``. Questions run beside explanations, each kind on a job of its own; only bringing a
question's explanation into the scene is a job of ``Logic``, since it takes time and shows progress.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any, Callable

from ..background.job import Cancel, Report, Timer
from ..background.signal import Signal
from ..client.errors import ServerError
from ..client.jobs import fetch
from ..client.teaching import TeachingClient
from ..files import nrrd
from ..files.nrrd import Voxels
from ..mrml import explanations, region_names
from .logic import Logic
from .outbox import Outbox
from .vocabulary import VocabularyEntry, in_order
from .watched_service import WatchedService

AUTHOR = "Otherwise/author"
TICK_MILLISECONDS = 1000
"""Between two questions for the state, while the server learns."""
IDLE_TICKS = 15
"""Ticks between two such questions at other times."""
WATCHFUL_TICKS = 10
"""Ticks for which every tick asks after a change."""
MOST_WAITING_TICKS = 120
"""Ticks to wait for a new version after an annotation."""
PICTURES = 4
"""Example patches of a unit that are shown."""
MOST_SKIPPED = 50


class Teacher(WatchedService):
    """What the server has been taught, and what the user teaches it.

    Signals: those of ``WatchedService``; ``saved(answer)``, ``refused(error)`` and ``stuck(error)`` of the outbox;
    ``answered(answer)`` to a query; ``pictured(unit, pictures)``, each a PNG as bytes; ``mapped(picture)``;
    ``outlined(unit, picture)``; ``located(unit, explanation, mask)``; ``asked(question)``; ``renamed()`` when
    explanations of the scene have other names.

    Args:
        logic: Knows the server and the scene.
        new_timer: Makes timers of the main thread.
        new_client: Makes the client of the routes for teaching.

    Attributes:
        outbox: Holds annotations that are not saved yet.
        entries: The vocabulary.
        concepts: What the server has learned, as it describes it; None: not known yet.
        history: Every annotation, the oldest first.
        question: The question that the user was asked and has not answered; None: there is none.
    """

    def __init__(
        self, logic: Logic, new_timer: Callable[[], Timer], new_client: Callable[[Any], TeachingClient] = TeachingClient
    ) -> None:
        super().__init__(logic, new_timer, new_client, TICK_MILLISECONDS)
        self.outbox = Outbox(new_timer, logic.settings)
        self.answered, self.pictured, self.mapped, self.outlined = Signal(), Signal(), Signal(), Signal()
        self.located = Signal()
        self.asked, self.renamed = Signal(), Signal()
        self.saved, self.refused, self.stuck = Signal(), self.outbox.refused, self.outbox.stuck
        self._reset()
        self.outbox.changed.connect(self.changed.emit)
        self.outbox.saved.connect(self._saved)
        logic.explained.connect(self._explained)

    # -- what there is -------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """Version of the names in use; empty: none is."""
        version = (self.concepts or {}).get("version")
        return "" if version is None else str(version)

    @property
    def author(self) -> str:
        """The user's name in annotations, where the server has no login; empty: the server decides."""
        return self.logic.settings.get(AUTHOR, "")

    @author.setter
    def author(self, name: str) -> None:
        self.logic.settings.set(AUTHOR, name.strip())

    @property
    def own(self) -> list[dict]:
        """The user's annotations that are not withdrawn, the oldest first."""
        withdrawn = {note["id"] for note in self.history if note.get("withdrawn")}
        known = {note["id"]: note for note in self.history if self.author and note.get("author") == self.author}
        every = {**known, **self._ours}
        return [note for id, note in every.items() if note["kind"] != "withdraw" and id not in withdrawn]

    @property
    def unsaved(self) -> int:
        """Number of annotations that this server has not saved yet."""
        return sum(self._client is not None and item.address == self._client.address for item in self.outbox.unsaved)

    def close(self) -> None:
        """Stop everything without a signal."""
        super().close()
        self.outbox.close()
        self.logic.explained.disconnect(self._explained)

    # -- gestures ------------------------------------------------------------------------------------------------

    def name(self, subject: dict, term: dict, certain: bool, comment: str = "") -> None:
        """Name a region.

        Args:
            subject: ``{explanation, region: {label}}``, or ``explanation`` or ``image`` with a drawn region.
            term: ``{scheme, code, meaning}`` or ``{meaning}``.
            certain: Whether the user is sure.
            comment: A remark.
        """
        self._annotate({"kind": "name", **subject, "term": term, "certain": certain, "comment": comment})

    def deny(self, subject: dict, term: dict, comment: str = "") -> None:
        """Record that a region does not show a term; see ``name``."""
        self._annotate({"kind": "not-this", **subject, "term": term, "comment": comment})

    def cannot_tell(self, subject: dict, comment: str = "") -> None:
        """Record that the user cannot tell what a region shows; see ``name``."""
        self._annotate({"kind": "cannot-tell", **subject, "comment": comment})

    def disagree(self, explanation: str, comment: str = "") -> None:
        """Record that an explanation is wrong."""
        self._annotate({"kind": "disagree", "explanation": explanation, "comment": comment})

    def undo(self) -> None:
        """Withdraw the user's last annotation; the next call withdraws the one before."""
        own = self.own
        if own:
            self._annotate({"kind": "withdraw", "withdraws": own[-1]["id"]})

    def retry(self) -> None:
        """Resend the annotations that could not be saved."""
        if self._client is not None:
            self.outbox.send(self._client)

    def query(self, subject: dict, threshold: float | None) -> None:
        """Ask which units respond to a region; ``answered(answer)`` follows. See ``TeachingClient.query``."""
        client = self._client
        if client is not None:
            self._queries.ask("query", lambda: client.query(subject, threshold), self.answered.emit)

    def picture(self, unit: str) -> None:
        """Get the patches that excite a unit most; ``pictured(unit, pictures)`` follows."""
        client = self._client

        def work() -> list[bytes]:
            with tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
                return [path.read_bytes() for path in client.patches(unit, PICTURES, Path(folder))]

        if client is not None:
            self._queries.ask("pictures", work, lambda pictures: self.pictured.emit(unit, pictures))

    def outline(self, unit: str, explanation: str, label: int) -> None:
        """Get a region's image with what a unit answers to outlined; ``outlined(unit, picture)`` follows."""
        client = self._client

        def work() -> bytes:
            with tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
                return client.contour(unit, explanation, label, Path(folder)).read_bytes()

        if client is not None:
            self._queries.ask("contour", work, lambda picture: self.outlined.emit(unit, picture))

    def locate(self, unit: str, explanation: str, label: int) -> None:
        """Get where in the image of a region a unit responds; ``located(unit, explanation, mask)`` follows.

        The mask is ``Voxels`` on the image's grid.
        """
        client = self._client

        def work() -> Voxels:
            with tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
                return nrrd.read(client.mask(unit, explanation, label, Path(folder)))

        if client is not None:
            self._queries.ask("mask", work, lambda mask: self.located.emit(unit, explanation, mask))

    def forget_place(self) -> None:
        """Drop the question where a unit responds, if its answer has not come yet."""
        self._queries.forget("mask")

    def map_units(self, marked: list[str]) -> None:
        """Get the map of all units, some of them marked; ``mapped(picture)`` follows."""
        client = self._client

        def work() -> bytes:
            with tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
                return client.unit_map(marked, Path(folder)).read_bytes()

        if client is not None:
            self._queries.ask("map", work, self.mapped.emit)

    def activate(self, version: int | str) -> None:
        """Use another version of the names."""
        client = self._client
        if client is not None:
            self._queries.ask("activate", lambda: client.activate(version), lambda nothing: self._expect(self._awaited))

    def ask_next(self, strategy: str) -> None:
        """Get the next question and show its explanation; ``asked(question)`` follows.

        A question that was left unanswered comes again only after the others.

        Args:
            strategy: How the server chooses, one of those that ``concepts`` lists.
        """
        client, there = self._client, {shown.id for shown in explanations.all_shown(self.logic.scene)}
        server = self.logic.connected_client()
        if client is None or server is None:
            return
        folder = tempfile.TemporaryDirectory(prefix="otherwise-")
        skipped = list(self._skipped)

        def work(report: Report, cancel: Cancel) -> tuple:
            report("question", 0.1)
            found = client.questions(strategy, min(len(skipped), MOST_SKIPPED) + 1)
            if not found:
                raise ServerError("refused", "There is nothing left to ask.", "Explain more images.")
            question = next((q for q in found if _place(q) not in skipped), found[0])
            cancel.check()
            if question["explanation"] in there:
                return question, None
            report("download", 0.3)
            return question, fetch(server, str(question["explanation"]), Path(folder.name))

        def done(result: tuple) -> None:
            question, read = result
            if _place(question) in self._skipped:
                self._skipped = []
            self._skipped.append(_place(question))
            self.question = question
            if read is not None:
                self.logic.explained.emit(self.logic.show(read))
            self.asked.emit(question)
            self.changed.emit()

        self.logic.jobs.run(work, done, folder.cleanup, self.failed.emit)

    def read_names(self) -> None:
        """Update the names of the regions of the scene's explanations."""
        client = self._client
        known = {shown.id: region_names.names_in(shown.content) for shown in explanations.all_shown(self.logic.scene)}
        if client is None or not known:
            return

        def work() -> dict:
            found = {}
            for id, names in known.items():
                # This server does not know the explanations of another one.
                with contextlib.suppress(ServerError), tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
                    content = client.explanation(id)
                    if region_names.names_in(content) != names:
                        found[id] = content, client.report(id, Path(folder))
            return found

        def came(found: dict) -> None:
            for shown in explanations.all_shown(self.logic.scene):
                if shown.id in found:
                    region_names.rename(shown, *found[shown.id])
            if found:
                self.renamed.emit()

        self._queries.ask("names", work, came, lambda error: None)

    # -- how it goes on ------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self.entries: list[VocabularyEntry] = []
        self.concepts: dict | None = None
        self.history: list[dict] = []
        self.question: dict | None = None
        self._ours: dict[str, dict] = {}
        self._skipped: list[tuple] = []
        self._awaited = self._since = 0

    def _first_question(self, service: TeachingClient) -> list[dict]:
        return service.vocabulary()

    def _begun(self, answer: list[dict]) -> None:
        self.entries = in_order(answer)
        self.changed.emit()
        self._watch()
        self._read_history()
        self.outbox.send(self._service)

    def _annotate(self, annotation: dict) -> None:
        if self._client is None:
            return
        if self.author:
            annotation["author"] = self.author
        self.outbox.put(self._client, {key: value for key, value in annotation.items() if value not in ("", None)})

    def _saved(self, answer: dict, sent: dict) -> None:
        note, question = answer["annotation"], self.question
        region = {"label": question["label"]} if question is not None else None
        if question is not None and (sent.get("explanation"), sent.get("region")) == (question["explanation"], region):
            self.question = None
        if note.get("kind") == "withdraw":
            self._ours.pop(note.get("withdraws", ""), None)
            for other in self.history:
                if other["id"] == note.get("withdraws"):
                    other["withdrawn"] = True
        else:
            self._ours[note["id"]] = note
        self._expect(answer["number"])
        self._read_history()
        self.changed.emit()
        self.saved.emit(answer)

    def _expect(self, number: int) -> None:
        """Ask at every tick for a while, since a new version is to come."""
        self._awaited, self._since = max(self._awaited, number), self._ticks
        self._watch()

    def _tick(self) -> None:
        self._ticks += 1
        newest = max([int(v["version"]) for v in (self.concepts or {}).get("versions", [])], default=0)
        passed = self._ticks - self._since
        waiting = passed < WATCHFUL_TICKS or (newest < self._awaited and passed < MOST_WAITING_TICKS)
        learning = (self.concepts or {}).get("state") == "learning"
        if (waiting or learning or self._ticks % IDLE_TICKS == 0) and not self._queries.is_open("watch"):
            self._watch()

    def _watch(self) -> None:
        client = self._client
        if client is not None:
            self._queries.ask("watch", client.concepts, self._learned, self._lost)

    def _learned(self, concepts: dict) -> None:
        before, self.concepts, self.reachable = self.concepts, concepts, True
        self.changed.emit()
        if before is None or before.get("version") != concepts.get("version"):
            self.read_names()
        if before is not None and before.get("labels") != concepts.get("labels"):
            self._read_history()

    def _read_history(self) -> None:
        def came(notes: list) -> None:
            self.history = notes
            self.changed.emit()

        if self._client is not None:
            self._queries.ask("history", self._client.annotations, came, lambda error: None)

    def _explained(self, shown: explanations.ShownExplanation) -> None:
        # The text has the newest names; the segments in the file may have older ones.
        region_names.rename(shown, shown.content)


def _place(question: dict) -> tuple:
    return question["explanation"], question["label"]
