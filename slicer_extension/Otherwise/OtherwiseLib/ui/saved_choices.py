"""The choices of image, slice, region and target, saved in the scene."""

from __future__ import annotations

from typing import Any, Callable

from ..logic.logic import Logic

NEAREST = ""
"""Target: another class, the nearest."""


class SavedChoices:
    """Copies the choices of the panel to the parameters of the scene, and back.

    Attributes:
        restoring: Whether widgets are set from the scene now, so that their signals are not choices of the user.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        logic: Holds the scene.
        parameters: Returns the ``Parameters`` of the present scene.
    """

    def __init__(self, ui: Any, logic: Logic, parameters: Callable[[], Any]) -> None:
        self.restoring = False
        self._ui, self._logic, self._parameters = ui, logic, parameters
        self._bound: Any = None

    @property
    def target(self) -> str:
        """Return the class to flip to, or the target value as text; empty: the usual one."""
        # Without a server the list is empty, and the saved choice counts.
        if self._ui.targetBox.count == 0:
            return str(self._parameters().target)
        text = str(self._ui.targetBox.currentText)  # of a value it can be typed
        return NEAREST if text == self._ui.targetBox.itemText(0) else text.strip()

    def save(self) -> None:
        """Save the choices, unless they are being restored or the scene is closed or loaded."""
        scene = self._logic.scene
        if self.restoring or scene.IsClosing() or scene.IsImporting():
            return
        saved, ui = self._parameters(), self._ui
        saved.volume, saved.region = ui.volumeSelector.currentNode(), ui.roiSelector.currentNode()
        saved.sliceIndex, saved.study, saved.target = int(ui.sliceSpin.value), ui.studyBox.currentText, self.target

    def restore(self) -> None:
        """Restore the choices as far as their nodes and items exist."""
        saved, ui = self._parameters(), self._ui
        # Setting a widget saves the others, so all values are read first.
        volume, region, study = saved.volume, saved.region, saved.study
        slice_index, target = saved.sliceIndex, saved.target
        self.restoring = True
        ui.volumeSelector.setCurrentNode(volume)
        ui.roiSelector.setCurrentNode(region)
        if volume is not None:
            ui.sliceSpin.value = slice_index
        ui.studyBox.currentIndex = max(0, ui.studyBox.findText(study))
        ui.targetBox.currentIndex = max(0, ui.targetBox.findText(target)) if target else 0
        if ui.targetBox.editable:  # a typed target is no item
            ui.targetBox.setEditText(target or ui.targetBox.itemText(0))
        self.restoring = False

    def fill(self, box: Any, items: list) -> None:
        """Fill a combo box, and restore the choices."""
        self.restoring = True
        box.clear()
        for item in items:
            box.addItem(item)
        self.restore()

    def bind(self) -> None:
        """Bind widgets to the parameter node of the present scene.

        Other widgets are not bound: Slicer's binding needs fixed choices for a box, gives a number its own range, and
        also writes while a scene is closed or loaded.
        """
        self.unbind()
        saved = self._parameters()
        widgets = {"noise": self._ui.noiseSpin, "shapeOnly": self._ui.shapeOnlyCheck}
        self._bound = saved, saved.connectParametersToGui(widgets)

    def unbind(self) -> None:
        """Unbind the widgets from the parameter node."""
        bound, self._bound = self._bound, None
        if bound is not None:
            saved, tag = bound
            saved.disconnectGui(tag)
