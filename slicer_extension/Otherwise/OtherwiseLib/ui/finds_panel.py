"""The part of the panel for classifiers of patches: the finds of a large image, and the chosen one."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from ..logic.logic import Logic
from ..logic.source import ImageSelection
from ..mrml import find_box, layouts
from . import texts
from .connections import Connections

PICTURE = 96
"""Edge of a find's picture in pixels."""


class FindsPanel:
    """Lists finds with their pictures; a click goes there and shows the box.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        logic: Runs the search.
    """

    def __init__(self, ui: Any, logic: Logic) -> None:
        self.ui = ui
        self._connections = Connections()
        self.logic = logic
        self._finds: list = []
        self._source = ImageSelection()
        self._connections.add(ui.findTable.itemSelectionChanged, self.on_selected)
        self.offer()

    def close(self) -> None:
        """Disconnect everything."""
        self._connections.close()

    @property
    def chosen(self) -> int:
        """Rank of the chosen find; 0: none."""
        row = self._row()
        return int(self._finds[row].rank) if row >= 0 else 0

    def offer(self) -> None:
        """Show button and list, if the hosted classifier looks at patches."""
        for widget in (self.ui.findButton, self.ui.findTable):
            widget.visible = bool(self.logic.wanted)

    def find(self, source: ImageSelection) -> None:
        """Search an image for finds."""
        self.clear()
        self._source = source
        self.logic.find(source)

    def found(self, found: list) -> None:
        """List the finds."""
        self._finds = list(found)
        table = self.ui.findTable
        table.rowCount = len(found)
        for row, find in enumerate(found):
            picture = qt.QLabel()
            loaded = qt.QPixmap(str(find.picture))
            picture.pixmap = loaded.scaled(PICTURE, PICTURE, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)
            table.setItem(row, 0, qt.QTableWidgetItem(str(find.rank)))
            table.setCellWidget(row, 1, picture)
            table.setItem(row, 2, qt.QTableWidgetItem(texts.find_text(find, _)))
            table.setRowHeight(row, PICTURE + 4)
        table.setColumnWidth(0, 28)
        table.setColumnWidth(1, PICTURE + 8)

    def clear(self) -> None:
        """Empty the list, and remove the box: another image or another server was chosen."""
        self._finds = []
        self.ui.findTable.rowCount = 0
        self._unmark()

    def leave(self) -> None:
        """Deselect the chosen find; the list stays."""
        self.ui.findTable.clearSelection()

    def on_selected(self, *_unused: object) -> None:
        """Move the views and the box to the find that was clicked."""
        row = self._row()
        if row < 0:
            self._unmark()
            return
        volume = self._source.volume
        if volume is not None and not self.logic.scene.IsNodePresent(volume):
            volume = None
        find_box.mark(self.logic.scene, self._finds[row], volume)
        layouts.jump_to(self.logic.scene, find_box.place_in_world(self._finds[row], volume))

    def _unmark(self) -> None:
        # A scene that is closing removes its nodes itself.
        if not self.logic.scene.IsClosing():
            find_box.unmark(self.logic.scene)

    def _row(self) -> int:
        rows = [index.row() for index in self.ui.findTable.selectionModel().selectedRows()]
        return rows[0] if rows and rows[0] < len(self._finds) else -1
