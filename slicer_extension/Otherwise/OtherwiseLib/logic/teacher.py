"""Teaching without its face: name regions, ask which units answer, be asked, and follow what the server learns.

Gestures go through ``Outbox``; questions about the server run beside explanations, each kind on a job of its own. Only
bringing a question's explanation into the scene is work of ``Logic``, since it takes its time and shows progress.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any, Callable

from ..background.job import Cancel, Report, Timer
from ..background.queries import Queries
from ..background.signal import Signal
from ..client.errors import ServerError
from ..client.jobs import fetch
from ..client.teaching import TeachingClient
from ..mrml import explanations, region_names
from .logic import Logic
from .outbox import Outbox
from .vocabulary import Entry, in_order

AUTHOR = "Otherwise/author"
TICK_MILLISECONDS = 1000
"""Between two questions how far the server is, while it learns."""
CALM = 15
"""Ticks between two such questions while it does not."""
SOON = 10
"""Ticks for which it is looked at closely after anything was changed."""
PATIENCE = 120
"""Ticks for which a new version is waited for after something was said."""
PICTURES = 4
"""Example patches of a unit that are shown."""
MOST_SKIPPED = 50


class Teacher:
    """What the server has been taught, and what somebody says to it.

    Signals: ``changed()`` when something about the state is new; ``saved(answer)``, ``refused(error)`` and
    ``stuck(error)`` of the outbox; ``answered(answer)`` to a query; ``pictured(unit, pictures)``, each a PNG as bytes;
    ``mapped(picture)``; ``asked(question)``; ``renamed()`` when explanations of the scene have other names;
    ``failed(error)``.

    Args:
        logic: Knows the server and the scene.
        new_timer: Makes timers of the main thread.
        new_client: Makes the client of the routes for teaching.
    """

    def __init__(
        self, logic: Logic, new_timer: Callable[[], Timer], new_client: Callable[[Any], TeachingClient] = TeachingClient
    ) -> None:
        self.logic = logic
        self.outbox = Outbox(new_timer, logic.settings)
        self.entries: list[Entry] = []
        self.concepts: dict | None = None
        self.history: list[dict] = []
        self.teachable, self.reachable = True, True
        self.question: dict | None = None
        self.changed, self.answered, self.pictured, self.mapped = Signal(), Signal(), Signal(), Signal()
        self.asked, self.renamed, self.failed = Signal(), Signal(), Signal()
        self.saved, self.refused, self.stuck = Signal(), self.outbox.refused, self.outbox.stuck
        self._new_client = new_client
        self._teaching: TeachingClient | None = None
        self._of: Any = None
        self._asking = Queries(new_timer, self.failed)
        self._clock = new_timer()
        self._ticks = self._wanted = self._since = 0
        self._ours: dict[str, dict] = {}
        self._skipped: list[tuple] = []
        self.outbox.changed.connect(self.changed.emit)
        self.outbox.saved.connect(self._saved)
        logic.connected.connect(self.begin)
        logic.explained.connect(self._explained)

    # -- what there is -------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a server that can be taught."""
        return self._teaching is not None and self.logic.client is self._of and self.teachable

    @property
    def version(self) -> str:
        """Of the names in use; empty: none is."""
        version = (self.concepts or {}).get("version")
        return "" if version is None else str(version)

    @property
    def author(self) -> str:
        """How the user is called in what is recorded, where nobody has to log in; empty: the server decides."""
        return self.logic.settings.get(AUTHOR, "")

    @author.setter
    def author(self, name: str) -> None:
        self.logic.settings.set(AUTHOR, name.strip())

    @property
    def own(self) -> list[dict]:
        """What the user said and has not taken back, the oldest first."""
        withdrawn = {note["id"] for note in self.history if note.get("withdrawn")}
        known = {note["id"]: note for note in self.history if self.author and note.get("author") == self.author}
        said = {**known, **self._ours}
        return [note for id, note in said.items() if note["kind"] != "withdraw" and id not in withdrawn]

    @property
    def unsaved(self) -> int:
        """How many gestures wait to be saved by this server."""
        return sum(self._client is not None and item.address == self._client.address for item in self.outbox.unsaved)

    # -- the server ----------------------------------------------------------------------------------------------

    def begin(self, about: dict | None = None) -> None:
        """A server has been connected: ask what it was taught."""
        self._stop()
        self._of = self.logic.client
        self._teaching = client = self._new_client(self._of)
        self.entries, self.concepts, self.history = [], None, []
        self.teachable, self.reachable = True, True
        self.question, self._ours, self._skipped = None, {}, []
        self._ticks = self._wanted = 0

        def came(terms: list) -> None:
            self.entries = in_order(terms)
            self.changed.emit()
            self._watch()
            self._read_history()
            self.outbox.send(client)
            self._clock.start(TICK_MILLISECONDS, self._tick)

        self._asking.ask("vocabulary", client.vocabulary, came, self._unteachable)
        self.changed.emit()

    def close(self) -> None:
        """Stop everything and tell nobody."""
        self._stop()
        self.outbox.close()
        self.logic.connected.disconnect(self.begin)
        self.logic.explained.disconnect(self._explained)

    # -- gestures ------------------------------------------------------------------------------------------------

    def name(self, subject: dict, term: dict, certain: bool, comment: str = "") -> None:
        """Say what a region is.

        Args:
            subject: ``{explanation, region: {label}}``, or ``explanation`` or ``image`` with a drawn region.
            term: ``{scheme, code, meaning}`` or ``{meaning}``.
            certain: Whether the user is sure.
            comment: A remark.
        """
        self._say({"kind": "name", **subject, "term": term, "certain": certain, "comment": comment})

    def disagree(self, explanation: str, comment: str = "") -> None:
        """Say that an explanation is wrong."""
        self._say({"kind": "disagree", "explanation": explanation, "comment": comment})

    def undo(self) -> None:
        """Take back the last thing that the user said; again: the one before."""
        own = self.own
        if own:
            self._say({"kind": "withdraw", "withdraws": own[-1]["id"]})

    def retry(self) -> None:
        """Send again what could not be saved."""
        if self._client is not None:
            self.outbox.send(self._client)

    def query(self, subject: dict, threshold: float) -> None:
        """Ask which units answer to a region; ``answered(answer)`` follows."""
        client = self._client
        if client is not None:
            self._asking.ask("query", lambda: client.query(subject, threshold), self.answered.emit)

    def picture(self, unit: str) -> None:
        """Ask for what excites a unit most; ``pictured(unit, pictures)`` follows."""
        client = self._client

        def work() -> list[bytes]:
            with tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
                return [path.read_bytes() for path in client.patches(unit, PICTURES, Path(folder))]

        if client is not None:
            self._asking.ask("pictures", work, lambda pictures: self.pictured.emit(unit, pictures))

    def map_units(self, marked: list[str]) -> None:
        """Ask for the map of all units, some of them marked; ``mapped(picture)`` follows."""
        client = self._client

        def work() -> bytes:
            with tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
                return client.unit_map(marked, Path(folder)).read_bytes()

        if client is not None:
            self._asking.ask("map", work, self.mapped.emit)

    def activate(self, version: int | str) -> None:
        """Use another version of the names."""
        client = self._client
        if client is not None:
            self._asking.ask("activate", lambda: client.activate(version), lambda nothing: self._expect(self._wanted))

    def ask_next(self, strategy: str) -> None:
        """Be asked: the question's explanation comes into the scene, and ``asked(question)`` follows.

        A question that was left unanswered is not asked again before the others.
        """
        client, there = self._client, {shown.id for shown in explanations.all_shown(self.logic.scene)}
        of = self.logic.connected_client()
        if client is None or of is None:
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
            return question, fetch(of, str(question["explanation"]), Path(folder.name))

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

        self.logic.run(work, done, folder.cleanup, self.failed.emit)

    def read_names(self) -> None:
        """Ask what the regions of the scene's explanations are called by now."""
        client = self._client
        known = {shown.id: region_names.names_in(shown.content) for shown in explanations.all_shown(self.logic.scene)}
        if client is None or not known:
            return

        def work() -> dict:
            found = {}
            for id, names in known.items():
                # Explanations of another server are none of this one's.
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

        self._asking.ask("names", work, came, lambda error: None)

    # -- how it goes on ------------------------------------------------------------------------------------------

    @property
    def _client(self) -> TeachingClient | None:
        return self._teaching if self.connected else None

    def _say(self, said: dict) -> None:
        if self._client is None:
            return
        if self.author:
            said["author"] = self.author
        self.outbox.put(self._client, {key: value for key, value in said.items() if value not in ("", None)})

    def _saved(self, answer: dict, said: dict) -> None:
        note, question = answer["annotation"], self.question
        region = {"label": question["label"]} if question is not None else None
        if question is not None and (said.get("explanation"), said.get("region")) == (question["explanation"], region):
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
        """Look often for a while, since another version is to come."""
        self._wanted, self._since = max(self._wanted, number), self._ticks
        self._watch()

    def _tick(self) -> None:
        self._ticks += 1
        newest = max([int(v["version"]) for v in (self.concepts or {}).get("versions", [])], default=0)
        passed = self._ticks - self._since
        waiting = passed < SOON or (newest < self._wanted and passed < PATIENCE)
        learning = (self.concepts or {}).get("state") == "learning"
        if (waiting or learning or self._ticks % CALM == 0) and not self._asking.is_open("watch"):
            self._watch()

    def _watch(self) -> None:
        client = self._client
        if client is not None:
            self._asking.ask("watch", client.concepts, self._learned, self._lost)

    def _lost(self, error: BaseException) -> None:
        # What was known stays, and it is asked again.
        self.reachable = False
        self.changed.emit()

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
            self._asking.ask("history", self._client.annotations, came, lambda error: None)

    def _explained(self, shown: explanations.ShownExplanation) -> None:
        # Its text has the newest names, the segments in its file may have older ones.
        region_names.rename(shown, shown.content)

    def _unteachable(self, error: BaseException) -> None:
        self.teachable = False
        if getattr(error, "status", 0) != 404:
            self.failed.emit(error)
        self.changed.emit()

    def _stop(self) -> None:
        self._clock.stop()
        self._asking.stop()


def _place(question: dict) -> tuple:
    return question["explanation"], question["label"]
