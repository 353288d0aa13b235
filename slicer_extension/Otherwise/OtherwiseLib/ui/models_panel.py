"""The Models section of the panel: versions of the models, and training. Nothing is computed here."""

from __future__ import annotations

from typing import Any, Callable

import qt
from slicer.i18n import tr as _

from ..client.address import host_of
from ..logic.models import Models, Outcome
from . import models_texts, texts
from .connections import Connections

BAR = 1000


class ModelsPanel:
    """The widgets for versions of the models at work.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        models: Does the work.
        confirm: Asks a question with yes and no.
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
        self._tell("")
        self.update()

    def close(self) -> None:
        """Stop, and hear of nothing any more."""
        self._connections.close()
        self.models.close()

    # -- what happens when something is pressed ------------------------------------------------------------------

    def on_activate(self, *_unused: object) -> None:
        """Use the selected version, for everybody."""
        version = self._selected()
        if version is None:
            return
        question = _("Use {agent}, version {id}, from now on? It changes the server {host} for everybody who uses it.")
        told = question.format(
            agent=models_texts.agent(version), id=models_texts.short(version["id"]), host=self._host()
        )
        if self._confirm(told):
            self._tell("")
            self.models.activate(version["id"])

    def on_roll_back(self, *_unused: object) -> None:
        """Use what was in use before, for everybody."""
        question = _("Use the models that were in use before? It changes the server {host} for everybody who uses it.")
        if self._confirm(question.format(host=self._host())):
            self._tell("")
            self.models.roll_back()

    def on_train(self, *_unused: object) -> None:
        """Train the agent on the images of the studies."""
        self._tell("")
        self.models.train(int(self.ui.minutesSpin.value))

    def on_stop(self, *_unused: object) -> None:
        """Stop the training."""
        if self._confirm(_("Stop the training? What it has learned so far is lost.")):
            self._tell("")
            self.models.stop_training()

    # -- what the models tell ------------------------------------------------------------------------------------

    def connected(self, about: dict) -> None:
        """What was told was about another server."""
        self._tell("")

    def chosen(self) -> None:
        """A choice was taken."""
        self._tell(models_texts.chosen(self.models, _))

    def ended(self, outcome: Outcome) -> None:
        """A training has ended."""
        self._tell(models_texts.outcome(outcome, self.models, _))

    def switched(self, about: dict) -> None:
        """Other models are in use."""
        self.ui.serverLabel.text = texts.hosted(about, _)

    def failed(self, error: BaseException) -> None:
        """Something did not work."""
        self._tell(texts.trouble(error, _))
        self.update()

    # -- what the widgets show -----------------------------------------------------------------------------------

    def update(self, *_unused: object) -> None:
        """Show what there is, and enable what can be done now."""
        ui, models = self.ui, self.models
        ui.modelsStateLabel.text = self._offline() or models_texts.state(models, _)
        self._fill()
        running = models.connected and models.running
        told = models_texts.training(models, _) if models.connected else ""
        ui.trainingLabel.text = told
        ui.trainingLabel.toolTip = "\n".join((models.training or {}).get("details", [])) if running else ""
        ui.trainingLabel.visible = bool(told)
        ui.trainingBar.visible = running
        fraction = models.fraction
        # A bar that ends where it begins says that it goes on, not how far it is.
        ui.trainingBar.maximum = 0 if fraction is None else BAR
        ui.trainingBar.value = 0 if fraction is None else round(BAR * fraction)
        self.allow()

    def allow(self, *_unused: object) -> None:
        """Enable what can be done; what cannot says why."""
        models, chosen = self.models, self._selected()
        asking = _("The server is being asked.") if models.changing or models.told is None else ""
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
        """Show the versions; the selected one stays so."""
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
        return _("This server tells nothing of its models. Update it, or test the connection again.")

    def _host(self) -> str:
        return host_of(self.models.logic.address)

    def _tell(self, text: str) -> None:
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
