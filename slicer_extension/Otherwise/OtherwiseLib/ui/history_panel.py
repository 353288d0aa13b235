"""The part of the Teach section with the annotations so far, and the versions of the names."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ..logic.teacher import Teacher
from . import teaching_texts
from .connections import Connections

MOST_ROWS = 200
"""Most rows of the history; the newest are shown."""


class HistoryPanel:
    """Lists annotations and versions, and activates a version.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        teacher: Holds both.
    """

    def __init__(self, ui: Any, teacher: Teacher) -> None:
        self.ui = ui
        self._connections = Connections()
        self.teacher = teacher
        self._history: list = []
        self._versions: list = []
        self._connections.add(ui.versionTable.itemSelectionChanged, self.allow)
        self._connections.add(ui.activateButton.clicked, self.on_activate)
        self._connections.add(ui.latestButton.clicked, lambda *_unused: teacher.activate("latest"))

    def close(self) -> None:
        """Disconnect everything."""
        self._connections.close()

    def update(self) -> None:
        """Show the present history and versions."""
        notes = [note for note in reversed(self.teacher.history) if note["kind"] != "withdraw"][:MOST_ROWS]
        rows = [teaching_texts.history_row(note, _) for note in notes]
        if rows != self._history:
            self._history = rows
            _fill(self.ui.historyTable, rows)
        versions = (self.teacher.concepts or {}).get("versions", [])
        shown = [teaching_texts.version_row(version, self.teacher.version, _) for version in versions]
        if shown != self._versions:
            self._versions = shown
            _fill(self.ui.versionTable, shown)
        self.allow()

    def on_activate(self, *_unused: object) -> None:
        """Use the selected version."""
        version = self._selected()
        if version is not None:
            self.teacher.activate(version)

    def allow(self, *_unused: object) -> None:
        """Enable the buttons that work now; the tool tips of the others say why not."""
        offline = "" if self.teacher.connected else _("Connect to a server first.")
        chosen = self._selected()
        why = "" if chosen is not None else _("Select a version first.")
        if chosen is not None and str(chosen) == self.teacher.version:
            why = _("This version is in use.")
        following = (self.teacher.concepts or {}).get("active") is not False
        latest = _("The latest version is in use, and newer ones will be.") if following else ""
        for button, reason, tip in (
            (self.ui.activateButton, offline or why, _("Use this version of the names from now on")),
            (self.ui.latestButton, offline or latest, _("Use the latest version again, and newer ones as they come")),
        ):
            button.enabled = not reason
            button.toolTip = reason or tip

    def _selected(self) -> int | None:
        versions = (self.teacher.concepts or {}).get("versions", [])
        rows = [index.row() for index in self.ui.versionTable.selectionModel().selectedRows()]
        return int(versions[rows[0]]["version"]) if rows and rows[0] < len(versions) else None


def _fill(table: Any, rows: list) -> None:
    table.rowCount = len(rows)
    for row, cells in enumerate(rows):
        for column, text in enumerate(cells):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(row, column, item)
    table.resizeColumnsToContents()
