"""A thin stand-in for what only Slicer has: ``qt`` and ``ctk`` on PySide6, and ``slicer.i18n``.

It is not PythonQt. Properties are read as attributes, as there, but signals, enumerations and ownership may differ;
``test_package.py`` looks for the differences that are known.
"""

from __future__ import annotations

import os
import sys
import types
import typing
from pathlib import Path
from typing import Any

UI = Path(__file__).parents[1] / "slicer_extension" / "Otherwise" / "Resources" / "UI" / "Otherwise.ui"
TRUE_PROPERTY = 2
FACES = ("panel", "finder", "viewer", "slicer_parts", "teach_panel", "units_panel", "history_panel", "models_panel")
"""Modules that know Qt."""


def install() -> Any:
    """Make ``import qt`` and ``from slicer.i18n import tr`` work; the application is returned."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6 import QtCore, QtGui, QtWidgets
    from shibokensupport import feature

    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    qt = types.ModuleType("qt")
    for module in (QtCore, QtGui, QtWidgets):
        for name in dir(module):
            if name.startswith("Q"):
                setattr(qt, name, getattr(module, name))
    sys.modules["qt"] = qt
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text  # type: ignore[attr-defined]
    i18n.translate = lambda context, text: text  # type: ignore[attr-defined]
    sys.modules["slicer.i18n"] = i18n
    wrapping = types.ModuleType("slicer.parameterNodeWrapper")
    wrapping.parameterNodeWrapper = parameter_node_wrapper  # type: ignore[attr-defined]
    sys.modules["slicer.parameterNodeWrapper"] = wrapping
    # PySide6 reads the source of every module that is loaded; PyTorch's make-believe ones do not bear it.
    strange = {name: module for name, module in sys.modules.items() if type(module) is not types.ModuleType}
    for name in strange:
        del sys.modules[name]
    try:
        for name in FACES:
            feature.set_selection(TRUE_PROPERTY, f"OtherwiseLib.{name}")
    finally:
        sys.modules.update(strange)
    return application


def parameter_node_wrapper(wrapped: type) -> type:
    """Typed attributes that live in a ``vtkMRMLScriptedModuleNode``: nodes as references, the rest as text."""
    import slicer

    def kept(name: str, kind: type) -> property:
        if issubclass(kind, slicer.vtkMRMLNode):
            return property(
                lambda self: self.node.GetNodeReference(name),
                lambda self, value: self.node.SetNodeReferenceID(name, value.GetID() if value is not None else None),
            )
        return property(
            lambda self: kind(self.node.GetParameter(name) or kind()),
            lambda self, value: self.node.SetParameter(name, str(value)),
        )

    for name, kind in typing.get_type_hints(wrapped).items():
        setattr(wrapped, name, kept(name, kind))
    wrapped.__init__ = lambda self, node: setattr(self, "node", node)  # type: ignore[misc]
    return wrapped


def load_ui() -> tuple[Any, types.SimpleNamespace]:
    """Load the real .ui file; the widget, and its children by name."""
    from PySide6 import QtCore, QtUiTools, QtWidgets

    class ctkCollapsibleButton(QtWidgets.QGroupBox):  # noqa: N801
        """Open or closed; here always drawn open."""

        def __init__(self, parent: Any = None) -> None:
            super().__init__(parent)
            self.collapsed = False

        text = QtCore.Property(str, QtWidgets.QGroupBox.title, QtWidgets.QGroupBox.setTitle)

    class qMRMLNodeComboBox(QtWidgets.QComboBox):  # noqa: N801
        """Chooses a node of a scene."""

        currentNodeChanged = QtCore.Signal(object)  # noqa: N815

        def __init__(self, parent: Any = None) -> None:
            super().__init__(parent)
            self._nodes: list[Any] = [None]
            self.addItem("None")
            self.currentIndexChanged.connect(lambda index: self.currentNodeChanged.emit(self.currentNode()))

        def currentNode(self) -> Any:  # noqa: N802
            return self._nodes[max(0, self.currentIndex())]

        def setCurrentNode(self, node: Any) -> None:  # noqa: N802
            gone = [n for n, known in enumerate(self._nodes) if known is not None and known.GetScene() is None]
            for index in reversed(gone):
                del self._nodes[index]
                self.removeItem(index)
            if node not in self._nodes:
                self._nodes.append(node)
                self.addItem(node.GetName())
            self.setCurrentIndex(self._nodes.index(node))

    loader = QtUiTools.QUiLoader()
    for stand_in in (ctkCollapsibleButton, qMRMLNodeComboBox):
        loader.registerCustomWidget(stand_in)
    file = QtCore.QFile(str(UI))
    file.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    widget = loader.load(file)
    assert widget is not None, loader.errorString()
    children = {child.objectName(): child for child in widget.findChildren(QtWidgets.QWidget) if child.objectName()}
    return widget, types.SimpleNamespace(**children)
