"""The Teach section of the panel, names, questions and the state of teaching: widgets only."""

from __future__ import annotations

from typing import Any, Callable

import qt
from slicer.i18n import tr as _

from ..logic.teacher import Teacher
from ..logic.vocabulary import term_for
from . import teaching_texts, texts
from .connections import Connections
from .explanation_panel import ExplanationPanel
from .history_panel import HistoryPanel
from .region_choice import RegionChoice
from .units_panel import UnitsPanel

LONGEST_WORDS = 64
"""Most characters of a name in the user's own words."""


class TeachingPanel:
    """Connects the widgets of the Teach section with ``Teacher``.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        teacher: Does the work.
        viewer: Holds the explanation that is shown, and the selected region.
        draw: Opens the Segment Editor with a segmentation and the volume to draw on.
    """

    def __init__(self, ui: Any, teacher: Teacher, viewer: ExplanationPanel, draw: Callable[[Any, Any], None]) -> None:
        self.ui = ui
        self._connections = Connections()
        self.teacher = teacher
        self.viewer = viewer
        self.region = RegionChoice(ui, viewer, lambda: teacher.logic.scene, draw, self.update, self._show_message)
        self.units = UnitsPanel(ui, teacher, self.region.subject)
        self.history = HistoryPanel(ui, teacher)
        self._entries: list = []
        self._strategies: list = []
        ui.authorEdit.text = teacher.author
        ui.termBox.lineEdit().maxLength = LONGEST_WORDS
        ui.termBox.lineEdit().placeholderText = _("Choose a term, or type words of your own")
        completer = ui.termBox.completer()
        completer.filterMode = qt.Qt.MatchContains
        completer.completionMode = qt.QCompleter.PopupCompletion
        self._connect()
        self._show_message("")
        self.update()

    def close(self) -> None:
        """Stop and disconnect everything."""
        self._connections.close()
        self.region.close()
        self.units.close()
        self.history.close()
        self.teacher.close()

    def scene_changed(self) -> None:
        """Show the present scene, after one was closed or loaded."""
        self.region.on_segmentation()
        self.teacher.read_names()
        self.update()

    # -- what happens when something is pressed ------------------------------------------------------------------

    def on_name(self, *_unused: object) -> None:
        """Name the region."""
        subject, term = self.region.subject(), self._term()
        if subject is not None and term is not None:
            self._show_message("")
            self.teacher.name(subject, term, bool(self.ui.sureCheck.checked), self._remark())

    def on_not_this(self, *_unused: object) -> None:
        """Record that the region does not show the term."""
        subject, term = self.region.subject(), self._term()
        if subject is not None and term is not None:
            self._show_message("")
            self.teacher.deny(subject, term, self._remark())

    def on_cannot_tell(self, *_unused: object) -> None:
        """Record that the user cannot tell what the region shows."""
        subject = self.region.subject()
        if subject is not None:
            self._show_message("")
            self.teacher.cannot_tell(subject, self._remark())

    def on_disagree(self, *_unused: object) -> None:
        """Record that the explanation is wrong."""
        if self.viewer.shown is not None:
            self._show_message("")
            self.teacher.disagree(self.viewer.shown.id, self._remark())

    def on_undo(self, *_unused: object) -> None:
        """Withdraw the last annotation."""
        self._show_message("")
        self.teacher.undo()

    def on_question(self, *_unused: object) -> None:
        """Get the next question."""
        index = self.ui.strategyBox.currentIndex
        self._show_message("")
        self.teacher.ask_next(self._strategies[index] if 0 <= index < len(self._strategies) else "influence")

    def on_there(self, *_unused: object) -> None:
        """Go to the region of the question."""
        question = self.teacher.question
        if question is None:
            return
        if self.viewer.shown is None or self.viewer.shown.id != question["explanation"]:
            self.viewer.refresh(question["explanation"])
        self.ui.segmentationSelector.setCurrentNode(None)
        self.viewer.select(question["label"])

    def on_author(self, *_unused: object) -> None:
        """Remember the user's name."""
        self.teacher.author = self.ui.authorEdit.text
        self.update()

    # -- what the teacher emits ----------------------------------------------------------------------------------

    def saved(self, answer: dict, *_unused: object) -> None:
        """Show that the annotation is saved."""
        self.ui.remarkEdit.text = ""
        self._show_message(teaching_texts.saved(answer, _))

    def failed(self, error: BaseException) -> None:
        """Show an error."""
        self._show_message(texts.trouble(error, _))
        self.update()

    def looked(self) -> None:
        """Show the newly chosen explanation or region."""
        self.units.clear()
        self.update()

    def asked(self, question: dict) -> None:
        """Go to the region of a new question."""
        self.on_there()

    def renamed(self) -> None:
        """Show the new names of the regions."""
        self.viewer.renamed()

    # -- what the widgets show -----------------------------------------------------------------------------------

    def update(self, *_unused: object) -> None:
        """Show the state, and enable the buttons that work now; the tool tips of the others say why not."""
        ui, teacher = self.ui, self.teacher
        offline = "" if teacher.connected else self._offline()
        ui.teachStateLabel.text = offline or teaching_texts.state(teacher.concepts, teacher.reachable, _)
        self._fill_terms()
        self._fill_strategies()
        self._meter()
        self.history.update()
        segmentation = ui.segmentationSelector.currentNode()
        ui.segmentBox.enabled = segmentation is not None
        about = self.region.about()
        ui.subjectLabel.text = about or _("No region is chosen.")
        choose = "" if about else _("Select a region in the table above, or draw one.")
        term = "" if self._term() else _("Choose a term, or type words of your own.")
        unsaved = teacher.unsaved and not teacher.outbox.sending
        sending = _("Something is being saved.") if teacher.outbox.sending else ""
        kept = _("Something is not saved yet. Try again first.") if unsaved else ""
        explained = "" if self.viewer.shown is not None else _("Explain an image first.")
        busy = _("Something is running.") if teacher.logic.busy else ""
        take_back = _("Take back the last thing you said; again: the one before")
        nothing = "" if teacher.own else _("You have said nothing that could be taken back.")
        asked = "" if teacher.question else _("Press Next question first.")
        image = "" if self.region.volume() is not None else _("Explain an image, or choose a volume first.")
        for button, why, tip in (
            (ui.nameButton, offline or choose or term, _("Say what this region is; the server learns from it")),
            (ui.notThisButton, offline or choose or term, _("Say that this region does not show the term")),
            (ui.cannotTellButton, offline or choose, _("Say that you cannot tell what it shows")),
            (ui.disagreeButton, offline or explained, _("Record that this explanation is wrong; a remark helps")),
            (ui.undoButton, offline or sending or kept or nothing, take_back),
            (ui.queryButton, offline or choose, _("Which units answer to this region?")),
            (ui.questionButton, offline or busy, _("Let the server choose the region whose name would help most")),
            (ui.goThereButton, asked, _("Show the region that was asked about")),
            (ui.drawButton, image, _("Draw a region with the Segment Editor")),
        ):  # fmt: skip
            button.enabled = not why
            button.toolTip = why or tip
        self._kept()

    def _offline(self) -> str:
        if self.teacher.logic.client is None:
            return _("Not connected. Connect to a server first.")
        return _("This server cannot be taught. Update it, or connect again.")

    def _kept(self) -> None:
        """Show the annotations that are not saved yet."""
        outbox, mine = self.teacher.outbox, self.teacher.unsaved
        others = len(outbox.unsaved) - mine
        some = bool(outbox.unsaved) and not outbox.sending
        for widget in (self.ui.unsavedLabel, self.ui.retryButton, self.ui.discardButton):
            widget.visible = some
        parts = [_("Not saved yet: {count}.").format(count=mine)] if mine else []
        if others:
            hosts = sorted({item.address for item in outbox.unsaved})
            parts.append(_("Said to another server: {count} ({hosts}).").format(count=others, hosts=", ".join(hosts)))
        self.ui.unsavedLabel.text = " ".join(parts)
        self.ui.retryButton.enabled = bool(mine) and self.teacher.connected
        waits = _("Send it again; the server records nothing twice")
        self.ui.retryButton.toolTip = waits if self.ui.retryButton.enabled else _("Connect to its server first.")

    def _remark(self) -> str:
        return str(self.ui.remarkEdit.text.strip())

    def _term(self) -> dict | None:
        return term_for(self.ui.termBox.currentText, self._entries, self.ui.termBox.currentIndex)

    def _fill_terms(self) -> None:
        if self._entries is self.teacher.entries:
            return
        self._entries, box = self.teacher.entries, self.ui.termBox
        typed = box.currentText
        box.clear()
        for entry in self._entries:
            box.addItem(entry.title)
        box.currentIndex = -1
        box.setEditText(typed)

    def _fill_strategies(self) -> None:
        offered = (self.teacher.concepts or {}).get("strategies", [])
        names = [strategy["name"] for strategy in offered]
        if names == self._strategies:
            return
        self._strategies = names
        self.ui.strategyBox.clear()
        for strategy in offered:
            self.ui.strategyBox.addItem(strategy["title"])
        preferred = next((name for name in ("mixed", "influence") if name in names), None)
        if preferred is not None:
            self.ui.strategyBox.currentIndex = names.index(preferred)

    def _meter(self) -> None:
        concepts, ui = self.teacher.concepts or {}, self.ui
        ui.labelCount.text = str(concepts.get("labels", 0))
        ui.conceptCount.text = str(len(concepts.get("concepts", [])))
        ui.namedBar.value = round(1000 * float(concepts.get("named_share") or 0))
        text = teaching_texts.concept_list(concepts, _)
        ui.namedBar.toolTip = text or _("How much of what decides has a name, over all explanations")
        ui.conceptCount.toolTip = text
        ui.shortcutLabel.text = teaching_texts.shortcuts(concepts, _)
        ui.shortcutLabel.visible = bool(ui.shortcutLabel.text)
        question = self.teacher.question
        ui.reasonLabel.text = str(question["reason"]) if question else ""
        ui.reasonLabel.visible = question is not None

    def _show_message(self, text: str) -> None:
        self.ui.teachMessage.text = text
        self.ui.teachMessage.visible = bool(text)

    def _slots(self) -> list:
        teacher, logic = self.teacher, self.teacher.logic
        return [
            (teacher.changed, self.update),
            (teacher.saved, self.saved),
            (teacher.refused, self.failed),
            (teacher.stuck, self.failed),
            (teacher.failed, self.failed),
            (teacher.asked, self.asked),
            (teacher.renamed, self.renamed),
            (self.viewer.looked, self.looked),
            (logic.busy_changed, self.update),
            (logic.failed, self.update),
        ]

    def _connect(self) -> None:
        for signal, slot in self._slots():
            self._connections.add(signal, slot)
        ui = self.ui
        self._connections.add(ui.nameButton.clicked, self.on_name)
        self._connections.add(ui.notThisButton.clicked, self.on_not_this)
        self._connections.add(ui.cannotTellButton.clicked, self.on_cannot_tell)
        self._connections.add(ui.disagreeButton.clicked, self.on_disagree)
        self._connections.add(ui.undoButton.clicked, self.on_undo)
        self._connections.add(ui.retryButton.clicked, lambda *_unused: self.teacher.retry())
        self._connections.add(ui.discardButton.clicked, lambda *_unused: self.teacher.outbox.discard())
        self._connections.add(ui.questionButton.clicked, self.on_question)
        self._connections.add(ui.goThereButton.clicked, self.on_there)
        self._connections.add(ui.termBox.editTextChanged, self.update)
        self._connections.add(ui.authorEdit.editingFinished, self.on_author)
