"""Open the module's file as Slicer does, with fakes of Slicer's scripted module classes and application."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support import fake_slicer_qt
from support.script_file import load_script

PATH = fake_slicer_qt.MODULE / "Otherwise.py"


class ScriptedLoadableModule:
    """A fake of Slicer's class that describes a module before it is opened."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent


class ScriptedLoadableModuleWidget:
    """A fake of Slicer's class that opens a module: it has a layout for widgets and knows its files."""

    def __init__(self, parent: Any = None) -> None:
        from PySide6 import QtWidgets

        self.parent = parent if parent is not None else QtWidgets.QWidget()
        self.layout = QtWidgets.QVBoxLayout(self.parent)

    def setup(self) -> None:
        """Slicer's own Reload and Test section would go here."""

    def resourcePath(self, name: str) -> str:  # noqa: N802 - Slicer's name
        """Where a file of the module's resources is."""
        return str(PATH.parent / "Resources" / name)


class ScriptedLoadableModuleLogic:
    """A fake of the part of a module that scripts use."""

    def getParameterNode(self) -> Any:  # noqa: N802 - Slicer's name
        """The module's one parameter node of the scene."""
        import slicer

        scene = slicer.mrmlScene
        node = scene.GetSingletonNode("Otherwise", "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag("Otherwise")
            node = scene.AddNode(node)
        return node


class ScriptedLoadableModuleTest:
    """A fake of Slicer's class that runs a module's self test."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def delayDisplay(self, message: str) -> None:  # noqa: N802 - Slicer's name
        """Slicer shows the message for a moment."""
        self.messages.append(message)


@contextmanager
def opened(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Load ``Otherwise.py`` in an application that has a scene; the module is given."""
    import slicer

    fake_slicer_qt.install()
    classes = (
        ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest,
    )  # fmt: skip
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    for kind in classes:
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "slicer.ScriptedLoadableModule", module)
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    sequences = types.SimpleNamespace(logic=lambda: logic)
    started: list[Callable[[], None]] = []
    application = types.SimpleNamespace(connect=lambda signal, slot: started.append(slot), started=started)
    for name, value in (
        ("mrmlScene", scene), ("app", application), ("modules", types.SimpleNamespace(sequences=sequences)),
    ):  # fmt: skip
        monkeypatch.setattr(slicer, name, value, raising=False)
    monkeypatch.setattr(slicer.util, "childWidgetVariables", fake_slicer_qt.children_by_name)
    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: dict(os.environ))
    yield load_script(PATH)
    logic.SetMRMLScene(None)
