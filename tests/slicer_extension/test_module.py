"""The module file itself: opened, used and closed as Slicer does it, on stand-ins as strict as Slicer."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from support.fake_scripted_module import opened  # noqa: E402
from support.fake_slicer_qt import UI, install  # noqa: E402
from support.view_layout import LayoutManager  # noqa: E402


@pytest.fixture
def module(scene: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with opened(scene, monkeypatch) as loaded:
        yield loaded


def test_the_module_opens_and_its_selectors_offer_what_the_scene_holds(
    module: ModuleType, scene: Any, volume: Any
) -> None:
    widget = module.OtherwiseWidget()
    widget.setup()
    try:
        assert widget.panel.ui.volumeSelector.nodes() == [volume]
        widget.panel.ui.volumeSelector.setCurrentNode(volume)
        assert widget.panel.source().volume is volume
    finally:
        widget.cleanup()


def test_reload_and_test_passes_where_views_are_open(module: ModuleType, scene: Any) -> None:
    manager = LayoutManager(scene)
    try:
        test = module.OtherwiseTest()
        test.runTest()
        assert test.messages == ["Testing", "Passed"]
    finally:
        manager.close()


def test_the_self_test_uses_slicers_own_sequences_module(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second logic on the scene registers the module's nodes again, of which MRML warns."""
    monkeypatch.setattr(slicer, "vtkSlicerSequencesLogic", None)
    module.OtherwiseTest().runTest()


def test_every_selector_of_the_panel_is_given_the_scene_by_the_root(scene: Any) -> None:
    tree = ElementTree.parse(UI)
    selectors = {w.get("name") for w in tree.iter("widget") if (w.get("class") or "").startswith("qMRML")}
    root = tree.find("widget")
    assert root is not None
    assert root.get("class") == "qMRMLWidget"
    connected = {c.findtext("receiver") for c in tree.iterfind("connections/connection")}
    assert connected == selectors - {root.get("name")}


def test_the_stand_ins_refuse_what_slicer_refuses(tmp_path: Any) -> None:
    install()
    from support.strict_widgets import load_file

    text = UI.read_text(encoding="utf-8")
    widget = load_file(UI)
    with pytest.raises(AttributeError, match="no attribute tooltip"):
        widget.tooltip = "a property that QWidget does not have"
    for good, bad, message in (
        ('class="qMRMLWidget" name="Otherwise"', 'class="QWidget" name="Otherwise"', "No such connection"),
        ("setMRMLScene(vtkMRMLScene*)", "setScene(vtkMRMLScene*)", "No such connection"),
        ('name="noneDisplay"', 'name="noneText"', "has no noneText"),
        ("<class>qMRMLNodeComboBox</class>", "<class>qMRMLOther</class>", "not among the custom widgets"),
    ):
        path = tmp_path / "broken.ui"
        path.write_text(text.replace(good, bad), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            load_file(path)
