"""Fakes of modules that only Slicer has: ``qt`` and ``ctk`` on PySide6, ``slicer.i18n``, scripted module classes.

It is not PythonQt, but as strict where that is known: properties are read as attributes, unknown attributes raise,
widgets offer nothing of a scene that nobody gave them, and connected timers stay alive. ``test_package.py`` looks for
the other differences that are known.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import types
import typing
from pathlib import Path
from typing import Any

MODULE = Path(__file__).parents[2] / "slicer_extension" / "Otherwise"
UI = MODULE / "Resources" / "UI" / "Otherwise.ui"
METHODS, TRUE_PROPERTY = 0, 2
"""How PySide6 reads properties in a module: as methods, its default, or as attributes."""


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
        feature.set_selection(METHODS, "support.teach_section")  # else it follows whichever module ran before
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
    _add_module(
        "slicer.parameterNodeWrapper", {"parameterNodeWrapper": parameter_node_wrapper, "WithinRange": WithinRange}
    )
    return application


def modules_with_widgets() -> list[str]:
    """Modules of the extension that touch widgets, by name."""
    return [f"OtherwiseLib.ui.{path.stem}" for path in sorted((MODULE / "OtherwiseLib" / "ui").glob("*.py"))]


def _add_module(name: str, content: dict[str, Any]) -> None:
    module = types.ModuleType(name)
    module.__dict__.update({key: value for key, value in content.items() if not key.startswith("__")})
    sys.modules[name] = module


@dataclasses.dataclass(frozen=True)
class WithinRange:
    """The range of a number, as an annotation of its type."""

    minimum: float
    maximum: float


def parameter_node_wrapper(wrapped: type) -> type:
    """Typed attributes that live in a ``vtkMRMLScriptedModuleNode``: nodes as references, the rest as text."""
    import slicer

    ranges: dict[str, WithinRange] = {}

    def connect_parameters_to_gui(self: Any, mapping: dict[str, Any]) -> int:
        """Bind numbers to spin boxes and truth to check boxes, both ways, as Slicer does: value and range first."""

        def show(*_unused: object) -> None:
            for name, box in mapping.items():
                setter = box.setChecked if is_check(box) else box.setValue
                setter(getattr(self, name))

        slots = {}
        for name, box in mapping.items():
            if name in ranges:
                box.setRange(ranges[name].minimum, ranges[name].maximum)
            slots[name] = functools.partial(setattr, self, name)
        show()
        for name, box in mapping.items():
            changed(box).connect(slots[name])
        tag = self.node.AddObserver("ModifiedEvent", show)
        self.bound = {**getattr(self, "bound", {}), tag: (mapping, slots)}
        return int(tag)

    def disconnect_gui(self: Any, tag: int) -> None:
        mapping, slots = self.bound.pop(tag)
        self.node.RemoveObserver(tag)
        for name, box in mapping.items():
            changed(box).disconnect(slots[name])

    def kept(name: str, kind: type) -> property:
        if issubclass(kind, slicer.vtkMRMLNode):
            return property(
                lambda self: self.node.GetNodeReference(name),
                lambda self, value: self.node.SetNodeReferenceID(name, value.GetID() if value is not None else None),
            )
        if kind is bool:
            return property(
                lambda self: self.node.GetParameter(name) == "True",
                lambda self, value: self.node.SetParameter(name, str(bool(value))),
            )
        return property(
            lambda self: kind(self.node.GetParameter(name) or kind()),
            lambda self, value: self.node.SetParameter(name, str(value)),
        )

    for name, hint in typing.get_type_hints(wrapped, include_extras=True).items():
        kind, *annotations = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        for each in annotations:
            if isinstance(each, WithinRange):
                ranges[name] = each
        setattr(wrapped, name, kept(name, kind))
    wrapped.connectParametersToGui = connect_parameters_to_gui  # type: ignore[attr-defined]
    wrapped.disconnectGui = disconnect_gui  # type: ignore[attr-defined]
    wrapped.__init__ = lambda self, node: setattr(self, "node", node)  # type: ignore[misc]
    return wrapped


def is_check(box: Any) -> bool:
    """Return whether a widget is a check box."""
    return hasattr(box, "setChecked")


def changed(box: Any) -> Any:
    """Return the signal that a person changed the value of a widget."""
    return box.toggled if is_check(box) else box.valueChanged


def load_ui(scene: Any = None) -> tuple[Any, types.SimpleNamespace]:
    """Load the real .ui file, and give it a scene as the module does; the widget, and its children by name."""
    from support.strict_widgets import load_file

    widget = load_file(UI)
    if scene is not None:
        widget.setMRMLScene(scene)
    return widget, children_by_name(widget)


def fill_with_long_texts(widget: Any) -> None:
    """Give every label that wraps its words two long lines, as with two warnings; titles of fields stay."""
    from PySide6 import QtWidgets

    for label in widget.findChildren(QtWidgets.QLabel):
        title = label.objectName().startswith("label")
        if label.wordWrap() and not title:
            line = f"{label.text()} Grain moves the classifier: a little white noise makes it say something else."
            label.setText(f"{line}\n{line}")


def children_by_name(widget: Any) -> types.SimpleNamespace:
    """Every widget within another one, by its name: ``slicer.util.childWidgetVariables``."""
    from PySide6 import QtWidgets

    return types.SimpleNamespace(
        **{child.objectName(): child for child in widget.findChildren(QtWidgets.QWidget) if child.objectName()}
    )
