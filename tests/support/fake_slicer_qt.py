"""Stand-ins for what only Slicer has: ``qt`` and ``ctk`` on PySide6, ``slicer.i18n`` and the scripted module classes.

It is not PythonQt, but as strict where that is known: properties are read as attributes, unknown attributes raise,
widgets offer nothing of a scene that nobody gave them, and connected timers stay alive. ``test_package.py`` looks for
the other differences that are known.
"""

from __future__ import annotations

import os
import sys
import types
import typing
from pathlib import Path
from typing import Any

MODULE = Path(__file__).parents[2] / "slicer_extension" / "Otherwise"
UI = MODULE / "Resources" / "UI" / "Otherwise.ui"
TRUE_PROPERTY = 2


def install() -> Any:
    """Make ``import qt`` and ``from slicer.i18n import tr`` work; the application is returned."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6 import QtCore, QtGui, QtWidgets
    from shibokensupport import feature

    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    # PySide6 reads the source of every module that is loaded; PyTorch's make-believe ones do not bear it.
    strange = {name: module for name, module in sys.modules.items() if type(module) is not types.ModuleType}
    for name in strange:
        del sys.modules[name]
    try:
        for name in ("support.strict_attributes", *modules_with_widgets()):
            feature.set_selection(TRUE_PROPERTY, name)
    finally:
        sys.modules.update(strange)
    from support.fake_timer import FakeTimer
    from support.strict_widgets import StrictLoader

    qt = types.ModuleType("qt")
    for module in (QtCore, QtGui, QtWidgets):
        for name in dir(module):
            if name.startswith("Q"):
                setattr(qt, name, getattr(module, name))
    qt.QTimer = FakeTimer  # type: ignore[attr-defined]
    qt.QUiLoader = StrictLoader  # type: ignore[attr-defined]
    _add_module("qt", qt.__dict__)
    _add_module("slicer.i18n", {"tr": lambda text: text, "translate": lambda context, text: text})
    _add_module("slicer.parameterNodeWrapper", {"parameterNodeWrapper": parameter_node_wrapper})
    return application


def modules_with_widgets() -> list[str]:
    """Modules of the extension that touch widgets, by name."""
    return [f"OtherwiseLib.ui.{path.stem}" for path in sorted((MODULE / "OtherwiseLib" / "ui").glob("*.py"))]


def _add_module(name: str, content: dict[str, Any]) -> None:
    module = types.ModuleType(name)
    module.__dict__.update({key: value for key, value in content.items() if not key.startswith("__")})
    sys.modules[name] = module


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


def load_ui(scene: Any = None) -> tuple[Any, types.SimpleNamespace]:
    """Load the real .ui file, and give it a scene as the module does; the widget, and its children by name."""
    from support.strict_widgets import load_file

    widget = load_file(UI)
    if scene is not None:
        widget.setMRMLScene(scene)
    return widget, children_by_name(widget)


def children_by_name(widget: Any) -> types.SimpleNamespace:
    """Every widget within another one, by its name: ``slicer.util.childWidgetVariables``."""
    from PySide6 import QtWidgets

    return types.SimpleNamespace(
        **{child.objectName(): child for child in widget.findChildren(QtWidgets.QWidget) if child.objectName()}
    )
