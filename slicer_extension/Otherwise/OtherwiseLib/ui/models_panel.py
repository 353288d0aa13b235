"""The Models section of the panel, versions of the models and training: widgets only."""

from __future__ import annotations

from typing import Any, Callable

import qt
from slicer.i18n import tr as _

from ..client.address import host_of
from ..logic.models import Models, TrainingOutcome
from . import models_texts, texts
from .connections import Connections

BAR = 1000


class ModelsPanel:
    """Connects the widgets of the Models section with ``Models``.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        models: Does the work.
        confirm: Asks a yes-no question.
    """

    def __init__(self, ui: Any, models: Models, confirm: Callable[[str], bool]) -> None:
        self.ui = ui
        self._connections = Connections()
        self.models = models
        self._confirm = confirm
        self._rows: list = []
        for signal, slot in self._slots():
            self._connections.add(signal, slot)
        self._connections.add(ui.modelTable.itemSelectionChanged, self.allow)
        self._connections.add(ui.useModelButton.clicked, self.on_activate)
        self._connections.add(ui.rollBackButton.clicked, self.on_roll_back)
        self._connections.add(ui.trainButton.clicked, self.on_train)
        self._connections.add(ui.stopTrainingButton.clicked, self.on_stop)
        self._show_message("")
        self.update()

    def close(self) -> None:
        """Stop and disconnect everything."""
        self._connections.close()
        self.models.close()

    # -- what happens when something is pressed ------------------------------------------------------------------

    def on_activate(self, *_unused: object) -> None:
        """Activate the selected version, for all users."""
        version = self._selected()
        if version is None:
            return
        question = _("Use {agent}, version {id}, from now on? It changes the server {host} for everybody who uses it.")
        text = question.format(
            agent=models_texts.agent(version), id=models_texts.short(version["id"]), host=self._host()
        )
        if self._confirm(text):
            self._show_message("")
            self.models.activate(version["id"])

    def on_roll_back(self, *_unused: object) -> None:
        """Activate the version before, for all users."""
        question = _("Use the models that were in use before? It changes the server {host} for everybody who uses it.")
        if self._confirm(question.format(host=self._host())):
            self._show_message("")
            self.models.roll_back()

    def on_train(self, *_unused: object) -> None:
        """Train the agent on the images of the studies."""
        self._show_message("")
        self.models.train(int(self.ui.minutesSpin.value))

    def on_stop(self, *_unused: object) -> None:
        """Stop the training."""
        if self._confirm(_("Stop the training? What it has learned so far is lost.")):
            self._show_message("")
            self.models.stop_training()

    # -- what the models emit ------------------------------------------------------------------------------------

    def connected(self, about: dict) -> None:
        """Clear the message, which was about another server."""
        self._show_message("")

    def chosen(self) -> None:
        """Show that the server took the choice."""
        self._show_message(models_texts.chosen(self.models, _))

    def ended(self, outcome: TrainingOutcome) -> None:
        """Show how a training ended."""
        self._show_message(models_texts.outcome(outcome, self.models, _))

    def switched(self, about: dict) -> None:
        """Show the models that are in use now."""
        self.ui.serverLabel.text = texts.hosted(about, _)

    def failed(self, error: BaseException) -> None:
        """Show an error."""
        self._show_message(texts.trouble(error, _))
        self.update()

    # -- what the widgets show -----------------------------------------------------------------------------------

    def update(self, *_unused: object) -> None:
        """Show the present state, and enable the buttons that work now."""
        ui, models = self.ui, self.models
        ui.modelsStateLabel.text = self._offline() or models_texts.state(models, _)
        self._fill()
        running = models.connected and models.running
        text = models_texts.training(models, _) if models.connected else ""
        ui.trainingLabel.text = text
        ui.trainingLabel.toolTip = "\n".join((models.training or {}).get("details", [])) if running else ""
        ui.trainingLabel.visible = bool(text)
        ui.trainingBar.visible = running
        fraction = models.fraction
        # With a maximum of 0 the bar shows activity, not progress.
        ui.trainingBar.maximum = 0 if fraction is None else BAR
        ui.trainingBar.value = 0 if fraction is None else round(BAR * fraction)
        self.allow()

    def allow(self, *_unused: object) -> None:
        """Enable the buttons that work now; the tool tips of the others say why not."""
        models, chosen = self.models, self._selected()
        asking = _("The server is being asked.") if models.changing or models.listing is None else ""
        offline = self._offline() or asking
        version = "" if chosen is not None else _("Select a version first.")
        if chosen is not None and chosen.get("in_use") and chosen["id"] == models.active:
            version = _("This version is in use.")
        runs = _("A training runs already.") if models.running else ""
        none = "" if models.stoppable else _("No training runs that could be stopped.")
        train = _("Go on training the agent on the images of the studies; what comes of it is used if it is no worse")
        ui = self.ui
        ui.modelNote.text = str((chosen or {}).get("note", ""))
        ui.modelNote.visible = bool(ui.modelNote.text)
        ui.minutesSpin.enabled = not models.running
        for button, why, tip in (
            (ui.useModelButton, offline or version, _("Use this version from now on, for everybody")),
            (ui.rollBackButton, offline, _("Use what was in use before, for everybody")),
            (ui.trainButton, offline or runs, train),
            (ui.stopTrainingButton, offline or none, _("Stop the training; what it has learned so far is lost")),
        ):
            button.enabled = not why
            button.toolTip = why or tip

    def _fill(self) -> None:
        """List the versions; the selection stays."""
        versions, table = self.models.versions, self.ui.modelTable
        rows = [(version["id"], models_texts.row(version, _), models_texts.tip(version, _)) for version in versions]
        if rows == self._rows:
            return
        before = self._selected_id()
        self._rows = rows
        table.clearSelection()
        table.rowCount = len(rows)
        for number, (_id, cells, tip) in enumerate(rows):
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(tip)
                table.setItem(number, column, item)
        table.resizeColumnsToContents()
        ids = [id for id, cells, tip in rows]
        if before in ids:
            table.selectRow(ids.index(before))

    def _selected_id(self) -> str:
        rows = [index.row() for index in self.ui.modelTable.selectionModel().selectedRows()]
        return str(self._rows[rows[0]][0]) if rows and rows[0] < len(self._rows) else ""

    def _selected(self) -> dict | None:
        id = self._selected_id()
        return next((version for version in self.models.versions if version["id"] == id), None)

    def _offline(self) -> str:
        if self.models.connected:
            return ""
        if self.models.logic.client is None:
            return _("Not connected. Connect to a server first.")
        return _("This server has no versions of its models. Update it, or connect again.")

    def _host(self) -> str:
        return host_of(self.models.logic.address)

    def _show_message(self, text: str) -> None:
        self.ui.modelsMessage.text = text
        self.ui.modelsMessage.visible = bool(text)

    def _slots(self) -> list:
        models = self.models
        return [
            (models.changed, self.update),
            (models.chosen, self.chosen),
            (models.ended, self.ended),
            (models.switched, self.switched),
            (models.failed, self.failed),
            (models.logic.connected, self.connected),
            (models.logic.failed, self.update),
        ]
