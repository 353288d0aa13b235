"""The upper half of the real panel: real buttons are pressed, and what people read is looked at."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from OtherwiseLib import samples  # noqa: E402
from OtherwiseLib import scene as scenes  # noqa: E402
from OtherwiseLib.client import ServerError  # noqa: E402
from OtherwiseLib.logic import CONSENT  # noqa: E402
from OtherwiseLib.volumes import geometry_of, voxels_of  # noqa: E402
from support.panel_session import ABOUT, Desk  # noqa: E402


def test_before_anything_nothing_can_be_pressed_and_it_says_why(desk: Desk) -> None:
    assert not desk.ui.explainButton.isEnabled()
    assert "Connect" in desk.ui.explainButton.toolTip()
    assert desk.ui.verdictLabel.text() == "Nothing has been explained yet."
    desk.picture("start")


def test_connecting_shows_what_is_hosted_and_remembers_the_address_but_no_secret(desk: Desk) -> None:
    desk.ui.addressEdit.setText("127.0.0.1:9999")
    desk.ui.userEdit.setText("ann")
    desk.ui.passwordEdit.setText("right")
    desk.connect()
    told = desk.ui.serverLabel.text()
    for part in ("nodule classifier", "f00dcafe", "benign, malignant", "CT 3-D", "nodule agent", "A GPU"):
        assert part in told
    assert desk.settings == {"Otherwise/server": "http://127.0.0.1:9999"}
    assert desk.ui.passwordEdit.text() == ""
    assert [desk.ui.targetBox.itemText(n) for n in range(3)][1:] == ["benign", "malignant"]
    assert "Choose an image" not in desk.ui.explainButton.toolTip(), "the server's own images are there"
    desk.picture("connected")


@pytest.mark.parametrize(
    ("kind", "words"), [("unreachable", "Nothing answers"), ("not-otherwise", "not Otherwise"), ("busy", "is busy")]
)
def test_each_failure_to_connect_reads_differently(desk: Desk, kind: str, words: str) -> None:
    details = {"unreachable": "Nothing answers.", "not-otherwise": "It runs X, not Otherwise.", "busy": "It is busy."}
    desk.answers["failure"] = ServerError(kind, details[kind], "Do this.")
    desk.press("connectButton")
    desk.until(lambda: not desk.logic.busy)
    assert words in desk.ui.trouble.text()
    assert "Do this." in desk.ui.trouble.text()
    assert desk.ui.serverLabel.text() == "Not connected."
    assert desk.ui.connectButton.isEnabled()


def test_a_wrong_address_is_told_at_once(desk: Desk) -> None:
    desk.ui.addressEdit.setText("my server!")
    desk.press("connectButton")
    assert "no server address" in desk.ui.trouble.text()
    assert not desk.logic.busy


def test_an_image_leaves_this_machine_only_after_a_yes_that_names_host_and_image(desk: Desk, volume: Any) -> None:
    desk.ui.addressEdit.setText("gpu.example.org:8000")
    desk.connect()
    desk.choose(volume)
    desk.answers["confirm"] = False
    desk.press("explainButton")
    assert "gpu.example.org" in desk.questions[0]
    assert "CT of somebody" in desk.questions[0]
    assert desk.clients[-1].sent == []
    assert desk.ui.trouble.text() == "Nothing was sent."
    desk.answers["confirm"] = True
    desk.press("classifyButton")
    desk.until(lambda: not desk.logic.busy)
    desk.press("classifyButton")
    desk.until(lambda: not desk.logic.busy)
    assert len(desk.questions) == 2, "the second time it is remembered"
    assert desk.settings[f"{CONSENT}gpu.example.org"] == "yes"
    assert len(desk.clients[-1].sent) == 2
    assert b"somebody" not in desk.clients[-1].sent[0].read_bytes()


def test_no_question_is_asked_for_this_machine(desk: Desk, volume: Any) -> None:
    desk.connect()
    desk.choose(volume)
    desk.press("classifyButton")
    desk.until(lambda: not desk.logic.busy)
    assert desk.questions == []
    table = desk.ui.probabilityTable
    assert [table.item(row, 0).text() for row in range(2)] == ["benign", "malignant"]
    assert [table.item(row, 1).text() for row in range(2)] == ["20.0%", "80.0%"]
    assert table.cellWidget(1, 2).value() == 800


def test_an_explanation_comes_with_progress_and_is_shown(desk: Desk, volume: Any) -> None:
    desk.connect()
    desk.choose(volume)
    desk.ui.targetBox.setCurrentIndex(1)
    client = desk.clients[-1]
    client.hold.clear()
    desk.press("explainButton")
    desk.until(lambda: desk.ui.progressBar.value() > 600)
    assert desk.ui.stageLabel.text() == "Measuring what decides"
    assert not desk.ui.explainButton.isEnabled()
    assert not desk.ui.progressBar.isHidden()
    desk.picture("explaining")
    client.hold.set()
    desk.until(lambda: not desk.logic.busy)
    started = {key: value for key, value in client.started[-1].items() if value}
    assert started == {"kind": "explain", "session": "session", "params": {"target": "benign"}}
    assert "would say benign (80%)" in desk.ui.verdictLabel.text()
    assert desk.ui.warningLabel.isHidden()
    (shown,) = scenes.all_shown(desk.scene)
    assert shown.get("original") is volume
    assert desk.ui.regionTable.rowCount() == 1
    assert desk.ui.regionTable.item(0, 4).text() == "yes"
    assert desk.ui.pathSlider.maximum() == 2
    desk.picture("explained")


def test_cancel_stops_here_and_there(desk: Desk, volume: Any) -> None:
    desk.connect()
    desk.choose(volume)
    client = desk.clients[-1]
    client.hold.clear()
    desk.press("explainButton")
    desk.until(lambda: desk.ui.progressBar.value() > 600)
    desk.press("cancelButton")
    desk.until(lambda: not desk.logic.busy, 1)
    assert client.cancelled == ["job"]
    assert desk.ui.trouble.text() == "Stopped."
    assert list(scenes.all_shown(desk.scene)) == []
    assert desk.ui.explainButton.isEnabled()


def test_closing_the_scene_in_the_middle_of_a_job_is_harmless(desk: Desk, volume: Any) -> None:
    desk.connect()
    desk.choose(volume)
    desk.clients[-1].hold.clear()
    desk.press("explainButton")
    desk.until(lambda: desk.ui.progressBar.value() > 600)
    desk.logic.close()
    desk.ui.volumeSelector.setCurrentNode(None)
    desk.scene.Clear(False)
    desk.panel.scene_changed()
    desk.clients[-1].hold.set()
    desk.until(lambda: not any(t.name == "otherwise-job" and t.is_alive() for t in threading.enumerate()))
    assert list(scenes.all_shown(desk.scene)) == []
    assert not desk.logic.busy


def test_a_volume_deleted_during_the_job_is_replaced_by_the_explanations_own_copy(desk: Desk, volume: Any) -> None:
    desk.connect()
    desk.choose(volume)
    desk.clients[-1].hold.clear()
    desk.press("explainButton")
    desk.until(lambda: desk.ui.progressBar.value() > 600)
    desk.ui.volumeSelector.setCurrentNode(None)
    desk.scene.RemoveNode(volume)
    desk.clients[-1].hold.set()
    desk.until(lambda: not desk.logic.busy)
    (shown,) = scenes.all_shown(desk.scene)
    assert shown.get("original") is not None


def test_the_main_thread_is_never_blocked_for_long(desk: Desk, volume: Any) -> None:
    """Between two turns of the event loop while a job runs; showing the result is measured elsewhere."""
    import time

    desk.connect()
    desk.choose(volume)
    desk.clients[-1].hold.clear()
    desk.press("explainButton")
    longest, last = 0.0, time.perf_counter()
    end = last + 2
    while time.perf_counter() < end:
        desk.application.processEvents()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    desk.clients[-1].hold.set()
    desk.until(lambda: not desk.logic.busy)
    assert longest < 0.5, "a job waits somewhere on the main thread"


def test_ten_explanations_leave_no_threads_timers_or_nodes(desk: Desk, volume: Any) -> None:
    desk.connect()
    desk.choose(volume)
    counts, hearing = [], len(desk.logic.explained)
    for _ in range(10):
        desk.press("explainButton")
        desk.until(lambda: not desk.logic.busy)
        desk.press("removeButton")
        counts.append(desk.scene.GetNumberOfNodes())
    assert len(set(counts[1:])) == 1
    assert not any(thread.name == "otherwise-job" for thread in threading.enumerate())
    assert len(desk.logic.explained) == hearing


def test_a_real_server_explains_a_volume_of_the_scene_and_an_image_of_its_own(desk: Desk, served: Any) -> None:
    desk.answers["real"] = True
    desk.ui.addressEdit.setText(served.url)
    desk.press("connectButton")
    desk.until(lambda: not desk.logic.busy and desk.ui.studyBox.count() > 3)
    breast = samples.add_sample(desk.scene, "phantom mammogram", *samples.mammogram())
    desk.choose(breast)
    desk.press("explainButton")
    desk.until(lambda: not desk.logic.busy, 120)
    assert desk.ui.trouble.text() == ""
    (shown,) = scenes.all_shown(desk.scene)
    assert shown.get("original") is breast
    assert geometry_of(shown.get("effect"))[0] == (192, 192, 1)
    assert "phantom" not in shown.content["image"]["id"], "the name stayed here"
    assert desk.ui.shownBox.currentText() == f"phantom mammogram: {shown.content['target']}"
    desk.picture("real")

    desk.ui.volumeSelector.setCurrentNode(None)
    desk.ui.studyBox.setCurrentText("oblique")
    desk.press("explainButton")
    desk.until(lambda: not desk.logic.busy, 120)
    assert [found.content["image"]["id"] for found in scenes.all_shown(desk.scene)][-1] == "oblique"


def test_a_slice_is_asked_for_where_the_classifier_is_flat(desk: Desk, volume: Any) -> None:
    flat = {**ABOUT["classifiers"][0], "inputs": {"spatial_dims": 2, "size": [48, 48], "modality": "CT"}}
    desk.answers["about"] = {**ABOUT, "classifiers": [flat]}
    desk.connect()
    desk.choose(volume)
    assert desk.ui.sliceSpin.isEnabled()
    desk.ui.sliceSpin.setValue(5)
    desk.press("classifyButton")
    desk.until(lambda: not desk.logic.busy)
    assert desk.clients[-1].started[-1]["params"] == {"slice_index": 5}


def test_a_region_of_interest_is_cut_out_and_keeps_its_place(desk: Desk, volume: Any) -> None:
    import numpy as np

    from otherwise.images.reading import read_image

    desk.connect()
    roi = slicer.vtkMRMLMarkupsROINode()
    desk.scene.AddNode(roi)
    _, affine = geometry_of(volume)
    centre = affine[:3, :3] @ [20, 24, 12] + affine[:3, 3]
    roi.SetCenter(*centre)
    roi.SetSize(7.2, 7.2, 10.2)
    desk.choose(volume)
    desk.ui.roiSelector.setCurrentNode(roi)
    desk.press("classifyButton")
    desk.until(lambda: not desk.logic.busy)
    sent = read_image(desk.clients[-1].sent[-1])
    assert sent.geometry.shape == (11, 11, 9)
    whole = voxels_of(volume)
    index = np.rint(np.linalg.inv(affine) @ [*sent.geometry.to_ras(np.zeros(3)), 1])[:3].astype(int)
    np.testing.assert_array_equal(sent.array[0, 0, 0, 0], whole[index[2], index[1], index[0]])


def test_the_server_offers_the_next_case(desk: Desk, volume: Any) -> None:
    desk.connect()
    desk.choose(volume)
    desk.press("nextButton")
    desk.until(lambda: not desk.logic.busy)
    assert desk.ui.studyBox.currentText() == "case-2"
    assert desk.ui.volumeSelector.currentNode() is None
    desk.press("explainButton")
    desk.until(lambda: not desk.logic.busy)
    assert desk.clients[-1].started[-1]["image"] == "case-2"
    desk.clients[-1].next_left = False
    desk.press("nextButton")
    desk.until(lambda: not desk.logic.busy)
    assert "has been looked at" in desk.ui.trouble.text()


def test_what_was_chosen_is_saved_with_the_scene(desk: Desk, volume: Any, tmp_path: Path) -> None:
    desk.connect()
    desk.choose(volume)
    desk.ui.sliceSpin.setValue(7)
    desk.ui.targetBox.setCurrentIndex(2)
    path = tmp_path / "saved" / "scene.mrb"
    path.parent.mkdir()
    desk.scene.SetRootDirectory(str(path.parent))
    assert desk.scene.WriteToMRB(str(path))
    saved = path.read_bytes()
    desk.scene.Clear(True)
    desk.panel.scene_changed()
    assert desk.ui.volumeSelector.currentNode() is None
    assert desk.ui.targetBox.currentIndex() == 0
    desk.scene.Clear(True)
    assert desk.scene.ReadFromMRB(str(path), True)
    desk.panel.scene_changed()
    assert desk.ui.volumeSelector.currentNode().GetName() == "CT of somebody"
    assert (desk.ui.sliceSpin.value(), desk.ui.targetBox.currentText()) == (7, "malignant")
    assert b"127.0.0.1" not in saved


def test_a_volume_that_is_gone_cannot_be_explained(desk: Desk, volume: Any) -> None:
    from OtherwiseLib.logic import Source

    desk.connect()
    empty = slicer.vtkMRMLScalarVolumeNode()
    desk.scene.AddNode(empty)
    desk.choose(empty)
    desk.press("explainButton")
    assert "empty" in desk.ui.trouble.text()
    desk.scene.RemoveNode(volume)
    desk.logic.explain(Source(volume=volume))
    assert "no longer in the scene" in desk.ui.trouble.text()
    assert not desk.logic.busy
    assert desk.clients[-1].sent == []


def test_two_servers_one_after_the_other(desk: Desk, volume: Any) -> None:
    """Explanations of the first stay; the second is asked for its own consent, and knows none of the first's."""
    desk.connect()
    desk.choose(volume)
    desk.press("explainButton")
    desk.until(lambda: not desk.logic.busy)
    desk.answers["about"] = {**ABOUT, "classifiers": [{**ABOUT["classifiers"][0], "classes": ["calm", "alarm"]}]}
    desk.ui.addressEdit.setText("other.example.org")
    desk.connect()
    assert desk.clients[0].address != desk.clients[1].address
    assert [desk.ui.targetBox.itemText(n) for n in (1, 2)] == ["calm", "alarm"]
    assert len(list(scenes.all_shown(desk.scene))) == 1
    assert "would say benign" in desk.ui.verdictLabel.text()
    desk.press("explainButton")
    desk.until(lambda: not desk.logic.busy)
    assert ["other.example.org" in question for question in desk.questions] == [True]
    assert (len(desk.clients[0].sent), len(desk.clients[1].sent)) == (1, 1)
    assert len(list(scenes.all_shown(desk.scene))) == 2
