"""The real panel beside a model of values: targets that are typed, and values in their unit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from otherwise.demo.server import server
from otherwise.demo.setup import Setup
from otherwise.images.writing import write_image
from otherwise.phantoms.prognosis import PrognosisSettings, prognoses
from OtherwiseLib.mrml import explanations
from support import forked_python
from support.panel_session import ABOUT, PanelSession
from support.saved_scene import read_scene, save_scene


def test_a_typed_target_stays_when_the_images_are_listed_again(app: PanelSession) -> None:
    value = {"kind": "value", "name": "age", "unit": "years", "categories": {"old": 60}}
    app.answers["about"] = {**ABOUT, "classifiers": [{**ABOUT["classifiers"][0], "value": value}]}
    app.connect()
    assert [app.ui.targetBox.itemText(n) for n in range(1, app.ui.targetBox.count())] == ["old"]
    app.ui.targetBox.setEditText("<10")
    app.press("refreshButton")
    app.until(lambda: not app.logic.busy)
    assert app.ui.targetBox.currentText() == "<10"
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert app.clients[-1].started[-1]["params"]["target"] == "<10"


def test_a_typed_target_is_saved_with_the_scene(app: PanelSession, volume: Any, tmp_path: Path) -> None:
    value = {"kind": "value", "name": "age", "unit": "years", "categories": {"old": 60}}
    app.answers["about"] = {**ABOUT, "classifiers": [{**ABOUT["classifiers"][0], "value": value}]}
    app.connect()
    app.choose(volume)
    app.ui.targetBox.setEditText("20 less")
    path = save_scene(app.scene, tmp_path)
    app.scene.Clear(True)
    app.panel.scene_changed()
    assert app.ui.targetBox.currentIndex() == 0, "a new scene asks for the usual target"
    assert app.ui.targetBox.currentText() == app.ui.targetBox.itemText(0)
    read_scene(app.scene, path, singletons=True)
    app.panel.scene_changed()
    assert app.ui.targetBox.currentText() == "20 less"
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert app.clients[-1].started[-1]["params"]["target"] == "20 less"


def test_a_value_is_shown_in_its_unit_where_classes_have_probabilities(app: PanelSession, volume: Any) -> None:
    value = {"kind": "value", "name": "age", "unit": "years", "range": [0, 100], "categories": {}}
    app.answers["about"] = {**ABOUT, "classifiers": [{**ABOUT["classifiers"][0], "value": value}]}
    app.connect()
    sides = [{"idx": 0, "label": "at most 50 years", "score": 0.2}, {"idx": 1, "label": "above 50 years", "score": 0.8}]
    app.panel.classified({"prediction": sides, "value": {**value, "amount": 64.25}})
    table = app.ui.probabilityTable
    assert (table.rowCount(), table.item(0, 0).text(), table.item(0, 1).text()) == (1, "age", "64.2 years")
    assert table.cellWidget(0, 2).value() == 642
    assert table.horizontalHeaderItem(1).text() == "Value"


@pytest.fixture
def risks(tmp_path: Path) -> Iterator[str]:
    """Serve the shipped pair of a survival network with two phantoms; return the address."""
    for phantom in prognoses(31_417, 2, PrognosisSettings()):
        write_image(phantom.image, tmp_path / "studies" / f"{phantom.image.id}.nrrd")
    setup = Setup(tmp_path, "test", None, "prognosis_classifier", "prognosis_agent", device="cpu")
    with server(setup, tmp_path / "studies", forked_python.start) as running:
        running.wait_until_ready()
        yield running.url


@pytest.mark.long
def test_a_real_server_explains_a_risk_towards_the_target_that_was_typed(app: PanelSession, risks: str) -> None:
    app.answers["real"] = True
    app.ui.addressEdit.setText(risks)
    app.press("connectButton")
    app.until(lambda: not app.logic.busy and app.ui.studyBox.count() == 2)
    app.ui.targetBox.setEditText("300")
    app.press("explainButton")
    app.until(lambda: not app.logic.busy, 60)
    assert "100" in app.ui.trouble.text(), "a risk of 300 % is refused, and the range is told"

    app.ui.targetBox.setEditText("15 less")
    app.press("explainButton")
    app.until(lambda: not app.logic.busy, 120)
    assert app.ui.trouble.text() == ""
    (shown,) = explanations.all_shown(app.scene)
    value = shown.content["value"]
    assert value["reached"]
    assert value["original"] - value["counterfactual"] == pytest.approx(15, abs=value["tolerance"])
    assert "%" in app.ui.verdictLabel.text()
    assert app.ui.probabilityTable.item(0, 1).text() == f"{value['original']:.1f} %"
    assert app.ui.regionTable.horizontalHeaderItem(2).text() == "Effect, points"
    app.picture("risk")
