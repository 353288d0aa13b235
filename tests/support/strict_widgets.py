"""Load a .ui file as strictly as Slicer does: a widget has the properties of its class and no others.

Under PythonQt, setting an attribute that a class lacks raises; PySide6 would keep it in silence. The stand-ins for the
widgets of CTK and Slicer declare the properties, slots and signals of the real classes that the extension uses.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from support.strict_attributes import Strict


class InScene:
    """The part of every widget of Slicer that takes a scene."""

    SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)",)
    SLOTS = ("setMRMLScene(vtkMRMLScene*)",)

    def mrmlScene(self) -> Any:  # noqa: N802 - Slicer's name
        return getattr(self, "_scene", None)

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        if scene is not self.mrmlScene():
            self._scene = scene
            self._scene_given(scene)
            self.mrmlSceneChanged.emit(scene)  # type: ignore[attr-defined]

    def _scene_given(self, scene: Any) -> None:
        pass


class qMRMLWidget(Strict, InScene, QtWidgets.QWidget):  # noqa: N801
    """The root of a module's widgets."""

    mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815


class ctkCollapsibleButton(Strict, QtWidgets.QGroupBox):  # noqa: N801
    """A section that can be collapsed; its content takes no room then."""

    contentsCollapsed = QtCore.Signal(bool)  # noqa: N815

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = False

    def _is_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        self._collapsed = bool(collapsed)
        self.setMaximumHeight(24 if self._collapsed else 16_777_215)
        self.contentsCollapsed.emit(self._collapsed)

    def sizeHint(self) -> Any:  # noqa: N802
        """As Qt's; a folded section is as high as its title."""
        hint = super().sizeHint()
        return QtCore.QSize(hint.width(), 24) if self._collapsed else hint

    minimumSizeHint = sizeHint  # noqa: N815
    text = QtCore.Property(str, QtWidgets.QGroupBox.title, QtWidgets.QGroupBox.setTitle)
    collapsed = QtCore.Property(bool, _is_collapsed, _set_collapsed)


class FilterModel(Strict):
    """The filter of a selector."""

    _ids: tuple[str, ...] = ()

    def __init__(self, changed: Any) -> None:
        self._changed = changed

    def _put(self, ids: Any) -> None:
        self._ids = tuple(ids)
        self._changed()

    hiddenNodeIDs = property(lambda self: list(self._ids), _put)  # noqa: N815 - Slicer's name


class qMRMLNodeComboBox(Strict, InScene, QtWidgets.QWidget):  # noqa: N801
    """A selector of the nodes of its scene; without a scene it has none to offer."""

    mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    currentNodeChanged = QtCore.Signal(object)  # noqa: N815

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QComboBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._nodes: list[Any] = []
        self._types: list[str] = []
        self._filter = FilterModel(lambda: self._list())
        self._none, self._none_text = True, "None"
        self._tags: list[tuple[Any, int]] = []
        self._shown = None
        self._box.currentIndexChanged.connect(self._chosen)

    def currentNode(self) -> Any:  # noqa: N802
        index = self._box.currentIndex()
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def setCurrentNode(self, node: Any) -> None:  # noqa: N802
        """Choose a node; one that is not offered, as Slicer does: none."""
        self._list()
        self._box.setCurrentIndex(self._nodes.index(node) if node in self._nodes else 0)
        self._chosen()

    def nodes(self) -> list[Any]:
        """Every node that is offered."""
        self._list()
        return [node for node in self._nodes if node is not None]

    def sortFilterProxyModel(self) -> FilterModel:  # noqa: N802
        """What decides which nodes are offered."""
        return self._filter

    def _scene_given(self, scene: Any) -> None:
        for watched, tag in self._tags:
            watched.RemoveObserver(tag)
        self._tags = []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
            self._tags = [(scene, scene.AddObserver(event, self._scene_changed)) for event in events]
        self._list()

    def _scene_changed(self, *_unused: Any) -> None:
        scene = self.mrmlScene()
        if scene is not None and (not scene.IsBatchProcessing() or scene.IsClosing()):
            self._list()

    def _list(self) -> None:
        """Offer what the scene holds by now."""
        chosen, scene = self.currentNode(), self.mrmlScene()
        found = [None] if self._none else []
        for number in range(scene.GetNumberOfNodes() if scene is not None else 0):
            node = scene.GetNthNode(number)
            kind = next((kind for kind in self._types if node.IsA(kind)), "")
            subclass = self._types and node.GetClassName() not in self._types and not self._children
            hidden = node.GetHideFromEditors() or node.GetID() in self._filter.hiddenNodeIDs
            if kind and not subclass and not hidden:
                found.append(node)
        if found == self._nodes and self._box.count() == len(found):
            return
        self._box.blockSignals(True)
        self._box.clear()
        self._nodes = found
        for node in found:
            self._box.addItem(self._none_text if node is None else node.GetName())
        self._box.setCurrentIndex(found.index(chosen) if chosen in found else 0)
        self._box.blockSignals(False)
        self._chosen()

    def _chosen(self, *_unused: Any) -> None:
        node = self.currentNode()
        if node is not self._shown:
            self._shown = node
            self.currentNodeChanged.emit(node)

    def _set(name: str) -> Any:  # noqa: N805 - makes accessors of the class
        def get(self: Any) -> Any:
            return getattr(self, name)

        def put(self: Any, value: Any) -> None:
            setattr(self, name, list(value) if isinstance(value, (list, tuple)) else value)
            self._list()

        return get, put

    _add, _remove, _children, _rename = False, False, True, False
    nodeTypes = QtCore.Property("QStringList", *_set("_types"))  # noqa: N815
    noneEnabled = QtCore.Property(bool, *_set("_none"))  # noqa: N815
    noneDisplay = QtCore.Property(str, *_set("_none_text"))  # noqa: N815
    addEnabled = QtCore.Property(bool, *_set("_add"))  # noqa: N815
    removeEnabled = QtCore.Property(bool, *_set("_remove"))  # noqa: N815
    renameEnabled = QtCore.Property(bool, *_set("_rename"))  # noqa: N815
    showChildNodeTypes = QtCore.Property(bool, *_set("_children"))  # noqa: N815
    del _set


STAND_INS = {kind.__name__: kind for kind in (qMRMLWidget, ctkCollapsibleButton, qMRMLNodeComboBox)}


def strict_class(name: str) -> type:
    """A class of Qt or a stand-in by name, which refuses unknown attributes."""
    if name not in STAND_INS:
        STAND_INS[name] = type(name, (Strict, getattr(QtWidgets, name)), {"__module__": __name__})
    return STAND_INS[name]


class StrictLoader(QtUiTools.QUiLoader):
    """A loader of .ui files that raises where Slicer would ignore something or fail."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._made: list[Any] = []

    def createWidget(self, kind: str, parent: Any = None, name: str = "") -> Any:  # noqa: N802
        widget = strict_class(kind)(parent)
        widget.setObjectName(name)
        self._made.append(widget)
        return widget

    def load(self, file: Any) -> Any:
        """Load an open file.

        Raises:
            ValueError: for a class that is not declared, a property that a class lacks, or a connection that fails.
        """
        tree = ElementTree.fromstring(bytes(file.readAll()))
        declared = {element.text for element in tree.iterfind("customwidgets/customwidget/class")}
        for element in tree.iter("widget"):
            kind = element.get("class")
            if not hasattr(QtWidgets, kind) and kind not in declared:
                raise ValueError(f"{kind} is not among the custom widgets")
        connections = tree.find("connections")
        wanted = list(connections) if connections is not None else []
        for connection in wanted:
            connections.remove(connection)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        root = super().load(buffer)
        if root is None:
            raise ValueError(self.errorString())
        named = {root.objectName(): root, **{w.objectName(): w for w in root.findChildren(QtWidgets.QWidget)}}
        for element in tree.iter("widget"):
            meta = named[element.get("name")].metaObject()
            for inner in element.iterfind("property"):
                if meta.indexOfProperty(inner.get("name")) < 0:
                    raise ValueError(f"{element.get('name')} ({element.get('class')}) has no {inner.get('name')}")
        for connection in wanted:
            _connect(named, *(connection.findtext(part) for part in ("sender", "signal", "receiver", "slot")))
        return root


def load_file(path: Path) -> Any:
    """Load a .ui file by its path."""
    file = QtCore.QFile(str(path))
    file.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    loader = StrictLoader()
    widget = loader.load(file)
    widget._loader = loader
    return widget


def _connect(named: dict[str, Any], sender: str, signal: str, receiver: str, slot: str) -> None:
    source, target = named[sender], named[receiver]
    if signal not in getattr(source, "SIGNALS", ()) or slot not in getattr(target, "SLOTS", ()):
        raise ValueError(f"No such connection: {sender}.{signal} to {receiver}.{slot}")
    getattr(source, signal.split("(")[0]).connect(getattr(target, slot.split("(")[0]))
