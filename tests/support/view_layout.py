"""The views of a layout, as Slicer makes them: nodes by Slicer's own layout logic, sizes by Qt's splitters."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any


class LayoutManager:
    """A fake layout manager that makes the nodes of the views of each chosen layout.

    Args:
        scene: Gets a layout node if it has none.
    """

    def __init__(self, scene: Any) -> None:
        import slicer

        self.logic = slicer.vtkMRMLLayoutLogic()
        self.logic.SetMRMLScene(scene)
        self._scene, self._node = scene, scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        self._tag = self._node.AddObserver("ModifiedEvent", self._arranged)

    def close(self) -> None:
        """Let go of the scene."""
        self._node.RemoveObserver(self._tag)
        self.logic.SetMRMLScene(None)

    def _arranged(self, *_unused: object) -> None:
        """Mark the views that the layout shows; Slicer's view factory does it as it shows them."""
        shown = self.logic.GetViewNodes()
        for number in range(self._scene.GetNumberOfNodesByClass("vtkMRMLAbstractViewNode")):
            node = self._scene.GetNthNodeByClass(number, "vtkMRMLAbstractViewNode")
            node.SetMappedInLayout(bool(shown.IsItemPresent(node)))


def sizes(application: Any, description: str, width: int, height: int) -> dict[str, tuple[int, int]]:
    """Lay out a description with Qt's splitters, and return width and height of each view by its tag.

    As in Slicer, an item with ``splitSize`` gets that share, and without it as much as its widget likes: a slice view
    little, a chart all that there is.
    """
    from PySide6 import QtCore, QtWidgets

    made: dict[str, Any] = {}

    class View(QtWidgets.QWidget):
        """A view with a preferred size."""

        def __init__(self, like: int) -> None:
            super().__init__()
            self._like = like

        def sizeHint(self) -> Any:  # noqa: N802 - Qt's name
            return QtCore.QSize(self._like, self._like)

    def build(element: Any) -> Any:
        if element.tag == "view":
            made[element.get("singletontag")] = View(900 if "Plot" in element.get("class") else 70)
            return made[element.get("singletontag")]
        across = element.get("type") == "horizontal"
        splitter = QtWidgets.QSplitter(QtCore.Qt.Orientation.Horizontal if across else QtCore.Qt.Orientation.Vertical)
        shares = [item.get("splitSize") for item in element]
        for item in element:
            splitter.addWidget(build(item[0]))
        if all(shares):
            splitter.setSizes([int(share) for share in shares])
        return splitter

    root = build(ElementTree.fromstring(description))
    root.resize(width, height)
    root.show()
    application.processEvents()
    found = {name: (view.width(), view.height()) for name, view in made.items()}
    root.close()
    root.deleteLater()
    return found
