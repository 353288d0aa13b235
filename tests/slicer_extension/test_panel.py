"""The upper half of the real panel: real buttons are pressed, and what people read is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from OtherwiseLib.client.errors import ServerError  # noqa: E402
from OtherwiseLib.logic.logic import CONSENT  # noqa: E402
from OtherwiseLib.mrml import explanations  # noqa: E402
from OtherwiseLib.mrml.volumes import geometry_of, voxels_of  # noqa: E402
from OtherwiseLib.samples import phantoms  # noqa: E402
from support.panel_session import ABOUT, PanelSession  # noqa: E402
from support.saved_scene import read_scene, save_scene  # noqa: E402


def test_before_anything_nothing_can_be_pressed_and_it_says_why(app: PanelSession) -> None:
    for name in ("explainButton", "classifyButton", "refreshButton", "nextButton"):
        button = getattr(app.ui, name)
        assert not button.isEnabled()
        assert "Connect" in button.toolTip(), name
    assert app.ui.verdictLabel.text() == "Nothing has been explained yet."
    app.picture("start")


def test_connecting_shows_what_is_hosted_and_remembers_the_address_but_no_secret(app: PanelSession) -> None:
    app.ui.addressEdit.setText("127.0.0.1:9999")
    app.ui.userEdit.setText("ann")
    app.ui.passwordEdit.setText("right")
    app.connect()
    text = app.ui.serverLabel.text()
    for part in ("nodule classifier", "f00dcafe", "benign, malignant", "CT 3-D", "nodule agent", "A GPU"):
        assert part in text
    assert app.settings == {"Otherwise/server": "http://127.0.0.1:9999"}
    assert app.ui.passwordEdit.text() == ""
    assert [app.ui.targetBox.itemText(n) for n in range(3)][1:] == ["benign", "malignant"]
    assert "Choose an image" not in app.ui.explainButton.toolTip(), "the server's own images are there"
    app.picture("connected")


@pytest.mark.parametrize(
    ("kind", "words"), [("unreachable", "Nothing answers"), ("not-otherwise", "not Otherwise"), ("busy", "is busy")]
)
def test_each_failure_to_connect_reads_differently(app: PanelSession, kind: str, words: str) -> None:
    details = {"unreachable": "Nothing answers.", "not-otherwise": "It runs X, not Otherwise.", "busy": "It is busy."}
    app.answers["failure"] = ServerError(kind, details[kind], "Do this.")
    app.press("connectButton")
    app.until(lambda: not app.logic.busy)
    assert words in app.ui.trouble.text()
    assert "Do this." in app.ui.trouble.text()
    assert app.ui.serverLabel.text() == "Not connected."
    assert app.ui.connectButton.isEnabled()


def test_a_wrong_address_is_refused_at_once(app: PanelSession) -> None:
    app.ui.addressEdit.setText("my server!")
    app.press("connectButton")
    assert "no server address" in app.ui.trouble.text()
    assert not app.logic.busy


def test_an_image_leaves_this_machine_only_after_a_yes_that_names_host_and_image(
    app: PanelSession, volume: Any
) -> None:
    app.ui.addressEdit.setText("gpu.example.org:8000")
    app.connect()
    app.choose(volume)
    app.answers["confirm"] = False
    app.press("explainButton")
    assert "gpu.example.org" in app.questions[0]
    assert "CT of somebody" in app.questions[0]
    assert app.clients[-1].sent == []
    assert app.ui.trouble.text() == "Nothing was sent."
    app.answers["confirm"] = True
    app.press("classifyButton")
    app.until(lambda: not app.logic.busy)
    app.press("classifyButton")
    app.until(lambda: not app.logic.busy)
    assert len(app.questions) == 2, "the second time it is remembered"
    assert app.settings[f"{CONSENT}gpu.example.org"] == "yes"
    assert len(app.clients[-1].sent) == 2
    assert b"somebody" not in app.clients[-1].sent[0].read_bytes()


def test_no_question_is_asked_for_this_machine(app: PanelSession, volume: Any) -> None:
    app.connect()
    app.choose(volume)
    app.press("classifyButton")
    app.until(lambda: not app.logic.busy)
    assert app.questions == []
    table = app.ui.probabilityTable
    assert [table.item(row, 0).text() for row in range(2)] == ["benign", "malignant"]
    assert [table.item(row, 1).text() for row in range(2)] == ["20.0%", "80.0%"]
    assert table.cellWidget(1, 2).value() == 800


def test_an_explanation_comes_with_progress_and_is_shown(app: PanelSession, volume: Any) -> None:
    app.connect()
    app.choose(volume)
    app.ui.targetBox.setCurrentIndex(1)
    client = app.clients[-1]
    client.hold.clear()
    app.press("explainButton")
    app.until(lambda: app.ui.progressBar.value() > 600)
    assert app.ui.stageLabel.text() == "Measuring what decides"
    assert not app.ui.explainButton.isEnabled()
    assert not app.ui.progressBar.isHidden()
    app.picture("explaining")
    client.hold.set()
    app.until(lambda: not app.logic.busy)
    started = {key: value for key, value in client.started[-1].items() if value}
    assert started == {"kind": "explain", "session": "session", "params": {"target": "benign"}}
    assert "would say benign (80%)" in app.ui.verdictLabel.text()
    assert app.ui.warningLabel.isHidden()
    (shown,) = explanations.all_shown(app.scene)
    assert shown.get("original") is volume
    assert app.ui.regionTable.rowCount() == 1
    assert app.ui.regionTable.item(0, 4).text() == "yes"
    assert app.ui.pathSlider.maximum() == 2
    app.picture("explained")


def test_noise_is_asked_for_and_saved_with_the_scene(app: PanelSession, volume: Any) -> None:
    from otherwise.explain.request import MOST_NOISE
    from OtherwiseLib.logic import parameters

    assert parameters.MOST_NOISE == MOST_NOISE, "the server refuses more"
    app.connect()
    app.choose(volume)
    app.ui.noiseSpin.setValue(0.1)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert app.clients[-1].started[-1]["params"] == {"noise": 0.1}
    node = app.scene.GetSingletonNode("Otherwise", "vtkMRMLScriptedModuleNode")
    assert node.GetParameter("noise") == "0.1"
    node.SetParameter("noise", "0.25")
    assert app.ui.noiseSpin.value() == 0.25, "as when a script sets it"
    app.panel.close()
    app.ui.noiseSpin.setValue(0.0)
    assert node.GetParameter("noise") == "0.25", "nothing is bound any more"


def test_shapes_alone_may_change_where_that_is_wanted(app: PanelSession, volume: Any) -> None:
    app.connect()
    app.choose(volume)
    app.ui.shapeOnlyCheck.setChecked(True)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert app.clients[-1].started[-1]["params"] == {"edit": "shape"}
    node = app.scene.GetSingletonNode("Otherwise", "vtkMRMLScriptedModuleNode")
    assert node.GetParameter("shapeOnly") == "True"
    node.SetParameter("shapeOnly", "False")
    assert not app.ui.shapeOnlyCheck.isChecked()


@pytest.mark.long
def test_a_real_server_explains_a_volume_of_the_scene_and_an_image_of_its_own(app: PanelSession, served: Any) -> None:
    app.answers["real"] = True
    app.ui.addressEdit.setText(served.url)
    app.press("connectButton")
    app.until(lambda: not app.logic.busy and app.ui.studyBox.count() > 3)
    breast = phantoms.add_sample(app.scene, "phantom mammogram", *phantoms.mammogram())
    app.choose(breast)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy, 120)
    assert app.ui.trouble.text() == ""
    (shown,) = explanations.all_shown(app.scene)
    assert shown.get("original") is breast
    assert geometry_of(shown.get("effect"))[0] == (192, 192, 1)
    assert "phantom" not in shown.content["image"]["id"], "the name stayed here"
    assert app.ui.shownBox.currentText() == f"phantom mammogram: {shown.content['target']}"
    app.picture("real")

    app.ui.volumeSelector.setCurrentNode(None)
    app.ui.studyBox.setCurrentText("oblique")
    app.press("explainButton")
    app.until(lambda: not app.logic.busy, 120)
    assert [found.content["image"]["id"] for found in explanations.all_shown(app.scene)][-1] == "oblique"


def test_a_slice_is_asked_for_where_the_classifier_is_flat(app: PanelSession, volume: Any) -> None:
    flat = {**ABOUT["classifiers"][0], "inputs": {"spatial_dims": 2, "size": [48, 48], "modality": "CT"}}
    app.answers["about"] = {**ABOUT, "classifiers": [flat]}
    app.connect()
    app.choose(volume)
    assert app.ui.sliceSpin.isEnabled()
    assert not app.ui.partSection.collapsed
    app.ui.partSection.collapsed = True
    app.panel.update()
    assert app.ui.partSection.collapsed, "somebody folded it"
    app.ui.sliceSpin.setValue(5)
    app.press("classifyButton")
    app.until(lambda: not app.logic.busy)
    assert app.clients[-1].started[-1]["params"] == {"slice_index": 5}


def test_a_region_of_interest_is_cut_out_and_keeps_its_place(app: PanelSession, volume: Any) -> None:
    import numpy as np

    from otherwise.images.reading import read_image

    app.connect()
    roi = slicer.vtkMRMLMarkupsROINode()
    app.scene.AddNode(roi)
    _, affine = geometry_of(volume)
    centre = affine[:3, :3] @ [20, 24, 12] + affine[:3, 3]
    roi.SetCenter(*centre)
    roi.SetSize(7.2, 7.2, 10.2)
    app.choose(volume)
    app.ui.roiSelector.setCurrentNode(roi)
    app.press("classifyButton")
    app.until(lambda: not app.logic.busy)
    sent = read_image(app.clients[-1].sent[-1])
    assert sent.geometry.shape == (11, 11, 9)
    whole = voxels_of(volume)
    index = np.rint(np.linalg.inv(affine) @ [*sent.geometry.to_ras(np.zeros(3)), 1])[:3].astype(int)
    np.testing.assert_array_equal(sent.array[0, 0, 0, 0], whole[index[2], index[1], index[0]])


def test_the_server_offers_the_next_case(app: PanelSession, volume: Any) -> None:
    app.connect()
    app.choose(volume)
    app.press("nextButton")
    app.until(lambda: not app.logic.busy)
    assert app.ui.studyBox.currentText() == "case-2"
    assert app.ui.volumeSelector.currentNode() is None
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert app.clients[-1].started[-1]["image"] == "case-2"
    app.clients[-1].next_left = False
    app.press("nextButton")
    app.until(lambda: not app.logic.busy)
    assert "has been looked at" in app.ui.trouble.text()


def test_what_was_chosen_is_saved_with_the_scene(app: PanelSession, volume: Any, tmp_path: Path) -> None:
    app.connect()
    app.choose(volume)
    app.ui.sliceSpin.setValue(7)
    app.ui.targetBox.setCurrentIndex(2)
    path = save_scene(app.scene, tmp_path)
    saved = path.read_bytes()
    app.scene.Clear(True)
    app.panel.scene_changed()
    assert app.ui.volumeSelector.currentNode() is None
    assert app.ui.targetBox.currentIndex() == 0
    read_scene(app.scene, path, singletons=True)
    app.panel.scene_changed()
    assert app.ui.volumeSelector.currentNode().GetName() == "CT of somebody"
    assert (app.ui.sliceSpin.value(), app.ui.targetBox.currentText()) == (7, "malignant")
    assert b"127.0.0.1" not in saved


def test_a_volume_that_is_gone_cannot_be_explained(app: PanelSession, volume: Any) -> None:
    from OtherwiseLib.logic.source import ImageSelection

    app.connect()
    empty = slicer.vtkMRMLScalarVolumeNode()
    app.scene.AddNode(empty)
    app.choose(empty)
    app.press("explainButton")
    assert "empty" in app.ui.trouble.text()
    app.scene.RemoveNode(volume)
    app.logic.explain(ImageSelection(volume=volume))
    assert "no longer in the scene" in app.ui.trouble.text()
    assert not app.logic.busy
    assert app.clients[-1].sent == []


def test_two_servers_one_after_the_other(app: PanelSession, volume: Any) -> None:
    """Explanations of the first stay; the second is asked for its own consent, and knows none of the first's."""
    app.connect()
    app.choose(volume)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    app.answers["about"] = {**ABOUT, "classifiers": [{**ABOUT["classifiers"][0], "classes": ["calm", "alarm"]}]}
    app.ui.addressEdit.setText("other.example.org")
    app.connect()
    app.clients[-1].explanation = "of the other server"
    assert app.clients[0].address != app.clients[1].address
    assert [app.ui.targetBox.itemText(n) for n in (1, 2)] == ["calm", "alarm"]
    assert len(list(explanations.all_shown(app.scene))) == 1
    assert "would say benign" in app.ui.verdictLabel.text()
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert ["other.example.org" in question for question in app.questions] == [True]
    assert (len(app.clients[0].sent), len(app.clients[1].sent)) == (1, 1)
    assert len(list(explanations.all_shown(app.scene))) == 2
