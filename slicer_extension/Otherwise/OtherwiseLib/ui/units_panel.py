"""The part of the Teach section that lists the units that respond to a region, with contours and example patches."""

from __future__ import annotations

from typing import Any, Callable

import qt
from slicer.i18n import tr as _

from ..files.nrrd import Voxels
from ..logic.teacher import PICTURES, Teacher
from ..mrml import explanations, unit_outline
from . import teaching_texts
from .connections import Connections

PICTURE = 80
"""Edge of a patch's picture in pixels."""
WIDE = 300
"""Width of the contour's picture and of the map of all units. As large as the server draws them, they would widen the
panel."""


class UnitsPanel:
    """Lists the units that respond; a click outlines where in the image a unit does, and shows example patches.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        teacher: Asks the server.
        subject: Returns the region to ask about.
    """

    def __init__(self, ui: Any, teacher: Teacher, subject: Callable[[], dict | None]) -> None:
        self.ui = ui
        self._connections = Connections()
        self.teacher = teacher
        self._subject = subject
        self._units: list = []
        self._asked: dict = {}
        self._threshold: float | None = None
        self._connections.add(teacher.answered, self.answered)
        self._connections.add(teacher.pictured, self.pictured)
        self._connections.add(teacher.mapped, self.mapped)
        self._connections.add(teacher.outlined, self.outlined)
        self._connections.add(teacher.located, self.located)
        self._connections.add(ui.queryButton.clicked, self.on_query)
        self._connections.add(ui.unitTable.itemSelectionChanged, self.on_unit)
        self.clear()

    def close(self) -> None:
        """Disconnect everything, and take the outline out of the scene."""
        self._connections.close()
        self._remove_outline()

    def on_query(self, *_unused: object) -> None:
        """Ask which units respond."""
        subject = self._subject()
        if subject is not None:
            self.clear()
            self._asked = subject
            self._threshold = float(self.ui.thresholdSpin.value) or None
            self.ui.answerLabel.text = _("Asking …")
            self.ui.answerLabel.visible = True
            self.teacher.query(subject, self._threshold)

    def on_unit(self, *_unused: object) -> None:
        """Get example patches of the selected unit, and where it responds if a decisive region was asked about."""
        unit = self._selected()
        self._pictures([], "")
        self._show_contour(None)
        self._remove_outline()
        if unit:
            self.teacher.picture(unit)
            explanation, label = self._asked.get("explanation"), self._asked.get("region", {}).get("label")
            if explanation and label:
                self.teacher.outline(unit, explanation, label)
                self.teacher.locate(unit, explanation, label)

    def answered(self, answer: dict) -> None:
        """List the units that respond, and select the first one."""
        table = self.ui.unitTable
        self._units = [unit for unit in answer["units"] if self._answers(unit)]
        self.ui.answerLabel.text = teaching_texts.answer(answer, self._threshold, _)
        table.rowCount = len(self._units)
        for row, unit in enumerate(self._units):
            disputed = _("yes") if unit.get("disputed") else ""
            cells = (unit["unit"], f"{unit['overlap']:.2f}", teaching_texts.meaning(unit.get("name"), _), disputed)
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(str(text))
                item.setToolTip(teaching_texts.votes(unit, _))
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        table.visible = bool(self._units)
        if self._units:
            table.selectRow(0)
            self.teacher.map_units([str(unit["unit"]) for unit in self._units])

    def pictured(self, unit: str, pictures: list) -> None:
        """Show example patches of a unit."""
        title = _("What excites {unit} most, the place marked:") if pictures else _("There is no picture of {unit}.")
        self._pictures(pictures, title.format(unit=unit))

    def outlined(self, unit: str, picture: bytes) -> None:
        """Show what the selected unit answers to in the image."""
        if unit == self._selected():
            self._show_contour(picture)

    def located(self, unit: str, explanation: str, mask: Voxels) -> None:
        """Outline in the slice views where the selected unit responds."""
        scene = self.teacher.logic.scene
        shown = next((each for each in explanations.all_shown(scene) if each.id == explanation), None)
        if unit == self._selected() and shown is not None:
            unit_outline.show(scene, shown, unit, mask.voxels, mask.affine)

    def mapped(self, picture: bytes) -> None:
        """Show the map of all units, with those that respond marked."""
        if self._units:
            self.ui.unitMap.pixmap = _loaded(picture).scaledToWidth(WIDE, qt.Qt.SmoothTransformation)
            self.ui.unitMap.visible = True

    def clear(self, *_unused: object) -> None:
        """Empty the list: another region was chosen."""
        self._units = []
        self.ui.unitTable.rowCount = 0
        self.ui.unitTable.visible = False
        self.ui.answerLabel.text = ""
        self.ui.answerLabel.visible = False
        self.ui.unitMap.clear()
        self.ui.unitMap.visible = False
        self._pictures([], "")
        self._show_contour(None)
        self._remove_outline()

    def _remove_outline(self) -> None:
        self.teacher.forget_place()
        unit_outline.remove(self.teacher.logic.scene)

    def _selected(self) -> str:
        """Return the name of the selected unit; empty: none is selected."""
        rows = [index.row() for index in self.ui.unitTable.selectionModel().selectedRows()]
        return str(self._units[rows[0]]["unit"]) if rows and rows[0] < len(self._units) else ""

    def _show_contour(self, picture: bytes | None) -> None:
        label = self.ui.unitContour
        label.visible = picture is not None
        if picture is None:
            label.clear()
        else:
            label.pixmap = _loaded(picture).scaledToWidth(WIDE, qt.Qt.SmoothTransformation)

    def _answers(self, unit: dict) -> bool:
        if self._threshold is None:
            return bool(unit.get("answers"))
        return bool(unit["overlap"] > self._threshold)

    def _pictures(self, pictures: list, title: str) -> None:
        self.ui.patchTitle.text = title
        self.ui.patchTitle.visible = bool(title)
        for number in range(PICTURES):
            label = getattr(self.ui, f"patch{number}")
            label.visible = number < len(pictures)
            label.clear()
            if number < len(pictures):
                label.pixmap = _loaded(pictures[number]).scaled(
                    PICTURE, PICTURE, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation
                )


def _loaded(picture: bytes) -> object:
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(picture))
    return pixmap
