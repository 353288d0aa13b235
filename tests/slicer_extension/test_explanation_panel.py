"""The lower half of the real panel: how an explanation is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from OtherwiseLib.client.errors import ServerError  # noqa: E402
from OtherwiseLib.files import nrrd  # noqa: E402
from OtherwiseLib.mrml import display, explanations, layouts  # noqa: E402
from OtherwiseLib.mrml.volumes import geometry_of, voxels_of  # noqa: E402
from OtherwiseLib.samples import phantoms, self_test  # noqa: E402
from support.fake_slicer_qt import fill_with_long_texts  # noqa: E402
from support.panel_session import PanelSession, StandInClient, alter_downloads, open_panel, retold  # noqa: E402


def test_the_path_moves_image_and_probability_together(explained: PanelSession) -> None:
    (shown,) = explanations.all_shown(explained.scene)
    explained.ui.pathSlider.setValue(2)
    assert shown.get("browser").GetSelectedItemNumber() == 2
    assert explained.ui.pathLabel.text() == "Strength 2.00: benign 80%, malignant 20%"
    change = voxels_of(shown.get("frame")) - voxels_of(shown.get("original"))
    assert abs(change).max() > 100


def test_the_floor_decides_what_change_is_coloured(explained: PanelSession) -> None:
    (shown,) = explanations.all_shown(explained.scene)
    assert explained.ui.floorSpin.value() == pytest.approx(display.typical_floor(shown.get("floor")), rel=1e-3)
    table = shown.get("difference").GetDisplayNode().GetColorNode()
    before = sum(table.GetLookupTable().GetTableValue(step)[3] == 0 for step in range(256))
    explained.ui.floorSpin.setValue(explained.ui.floorSpin.value() * 10)
    after = sum(table.GetLookupTable().GetTableValue(step)[3] == 0 for step in range(256))
    assert after > before


def test_a_click_on_a_region_goes_there(explained: PanelSession) -> None:
    nodes = []
    for name in layouts.VIEWS:
        node = explained.scene.CreateNodeByClass("vtkMRMLSliceNode")
        node.SetSingletonTag(name)
        node.SetLayoutName(name)
        explained.scene.AddNode(node)
        node.UnRegister(None)
        nodes.append(node)
    (shown,) = explanations.all_shown(explained.scene)
    explained.ui.regionTable.selectRow(0)
    explained.ui.regionTable.itemSelectionChanged.emit()
    ras = shown.regions[0]["centroid_ras"]
    matrix = explained.scene.GetSingletonNode(layouts.ORIGINAL, "vtkMRMLSliceNode").GetSliceToRAS()
    normal = [matrix.GetElement(row, 2) for row in range(3)]
    offset = sum(n * (matrix.GetElement(row, 3) - ras[row]) for row, n in enumerate(normal))
    assert abs(offset) < 0.7


def test_flicker_changes_sides_by_itself(explained: PanelSession) -> None:
    explained.ui.flickerCheck.setChecked(True)
    explained.until(lambda: explained.ui.blendSlider.value() == 100, 2)
    explained.until(lambda: explained.ui.blendSlider.value() == 0, 2)
    explained.ui.flickerCheck.setChecked(False)


def deformed(folder: Path) -> None:
    """Make an explanation one of a deformation."""
    _, affine = phantoms.nodule()
    nrrd.write(folder / "displacement.nrrd", np.ones((24, 48, 48, 3), np.float32), affine)
    with retold(folder) as content:
        content["files"]["displacement"] = "displacement.nrrd"
        content["deformation"] = {"furthest": 1.7, "least_growth": 0.5, "greatest_growth": 2.0}


def test_the_grid_of_a_deformation_is_offered_where_there_is_one(
    app: PanelSession, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.connect()
    app.choose(volume)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert app.ui.gridCheck.isHidden()
    app.press("removeButton")
    alter_downloads(monkeypatch, deformed)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert not app.ui.gridCheck.isHidden()
    (shown,) = explanations.all_shown(app.scene)
    lines = shown.get("displacement").GetDisplayNode()
    assert not lines.GetVisibility()
    app.ui.gridCheck.setChecked(True)
    assert lines.GetVisibility()
    app.ui.gridCheck.setChecked(False)
    assert not lines.GetVisibility()


def test_the_grid_of_an_explanation_goes_when_another_one_is_shown(
    app: PanelSession, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.connect()
    app.choose(volume)
    with monkeypatch.context() as patch:
        alter_downloads(patch, deformed)
        app.press("explainButton")
        app.until(lambda: not app.logic.busy)
    (first,) = explanations.all_shown(app.scene)
    app.ui.gridCheck.setChecked(True)
    assert first.get("displacement").GetDisplayNode().GetVisibility()
    app.clients[-1].explanation = "another"
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert len(list(explanations.all_shown(app.scene))) == 2
    assert app.ui.gridCheck.isHidden()
    assert not first.get("displacement").GetDisplayNode().GetVisibility()


def test_report_and_pictures_are_saved(explained: PanelSession, tmp_path: Path) -> None:
    explained.press("reportButton")
    assert explained.pages == [("made-up", "<p>made up</p>")]
    explained.answers["path"] = str(tmp_path / "report.html")
    explained.press("saveReportButton")
    assert (tmp_path / "report.html").read_text() == "<p>made up</p>"
    explained.answers["path"] = str(tmp_path / "report.pdf")
    explained.press("saveReportButton")
    explained.until(lambda: not explained.logic.busy)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "report.pdf" in explained.ui.trouble.text()
    explained.answers["path"] = str(tmp_path / "views.png")
    explained.press("pictureButton")
    assert (tmp_path / "views.png").is_file()


def test_removing_leaves_the_volume_and_nothing_else(explained: PanelSession, volume: Any) -> None:
    explained.press("removeButton")
    assert list(explanations.all_shown(explained.scene)) == []
    assert explained.scene.IsNodePresent(volume)
    assert explained.ui.verdictLabel.text() == "Nothing has been explained yet."
    assert not explained.ui.removeButton.isEnabled()


def test_an_invalid_counterfactual_is_called_so(
    app: PanelSession, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def invalid(folder: Path) -> None:
        with retold(folder) as content:
            content["counterfactual"]["valid"] = False
            content["counterfactual"]["reconstruction_l1"] = 0.2
            content["regions"][0]["above_floor"] = False
            content["notes"] = ["Nothing was found."]

    alter_downloads(monkeypatch, invalid)
    app.connect()
    app.choose(volume)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert "was not brought to say benign" in app.ui.verdictLabel.text()
    warning = app.ui.warningLabel.text()
    for part in ("Not valid", "Nothing was found.", "no evidence", "unlike those"):
        assert part in warning
    app.picture("invalid")


def test_another_method_is_fetched_once_and_shown_beside(explained: PanelSession) -> None:
    (shown,) = explanations.all_shown(explained.scene)
    box = explained.ui.overlayBox
    assert [box.itemText(n) for n in range(box.count())] == ["measured effect", "Occlusion"]
    assert explained.ui.legendLabel.text() == "Last view: measured effect, towards benign."
    for _ in range(2):
        box.setCurrentIndex(1)
        explained.until(lambda: not explained.logic.busy)
        assert box.currentText() == "Occlusion"
        assert "Occlusion: speaks for malignant" in explained.ui.legendLabel.text()
        assert "no plausible image" in explained.ui.legendLabel.text()
        box.setCurrentIndex(0)
    asked = [started for started in explained.clients[-1].started if started["kind"] == "attribute"]
    assert [(started["explanation"], started["params"]) for started in asked] == [("made-up", {"method": "occlusion"})]
    assert geometry_of(shown.overlay("occlusion"))[0] == geometry_of(shown.get("original"))[0]
    before = explained.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    explained.press("removeButton")
    assert explained.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") < before - 5
    assert shown.overlay("occlusion") is None


def test_a_comparison_that_fails_leaves_the_list_as_what_is_seen(explained: PanelSession) -> None:
    explained.clients[-1].failure = ServerError("refused", "There is no explanation.", "Explain it again.")
    explained.clients[-1].hold.clear()
    explained.ui.overlayBox.setCurrentIndex(1)
    explained.until(lambda: not explained.logic.busy)
    assert "There is no explanation." in explained.ui.trouble.text()
    assert explained.ui.overlayBox.currentIndex() == 0
    assert "measured effect" in explained.ui.legendLabel.text()


def test_slicers_own_controls_move_the_panel_too(explained: PanelSession) -> None:
    """The path's slider of the Sequences toolbar, and window and level of the original."""
    (shown,) = explanations.all_shown(explained.scene)
    shown.get("browser").SetSelectedItemNumber(1)
    assert explained.ui.pathSlider.value() == 1
    assert explained.ui.pathLabel.text().startswith("Strength 1.00")
    here = shown.get("here").GetTable()
    assert [here.GetValue(0, column).ToDouble() for column in (0, 1)] == [1.0, 0.5]
    window = shown.get("original").GetDisplayNode()
    window.SetAutoWindowLevel(False)
    window.SetWindowLevel(123, 45)
    for role in ("counterfactual", "frame"):
        display_node = shown.get(role).GetDisplayNode()
        assert (display_node.GetWindow(), display_node.GetLevel()) == (123, 45)


def test_nothing_observes_an_explanation_that_is_gone(explained: PanelSession, volume: Any) -> None:
    (shown,) = explanations.all_shown(explained.scene)
    browser, window = shown.get("browser"), volume.GetDisplayNode()
    watching = [node.HasObserver("ModifiedEvent") for node in (browser, window)]
    assert all(watching)
    tags = explained.panel.viewer._observed
    assert len(tags) == 2
    explained.press("removeButton")
    assert explained.panel.viewer._observed == []
    window.SetWindowLevel(10, 5)
    browser.SetSelectedItemNumber(0)
    assert explained.ui.pathSlider.value() == 0


def test_a_find_is_shown_on_its_own_part_of_the_image(
    app: PanelSession, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def part(client: StandInClient, id: str, parent: Path, arrived: Any = None) -> Path:
        folder = parent / id
        folder.mkdir()
        voxels, affine = phantoms.nodule()
        affine[:3, 3] = affine[:3, :3] @ [10, 8, 4] + affine[:3, 3]
        self_test.write_synthetic_explanation(folder, voxels[4:12, 8:32, 10:34], affine)
        before, after = {"benign": 0.1, "malignant": 0.9}, {"benign": 0.7, "malignant": 0.3}
        with retold(folder) as content:
            content["place"] = {"low": [10, 8, 4], "high": [34, 32, 12], "before": before, "after": after}
        return folder

    monkeypatch.setattr(StandInClient, "download", part)
    app.connect()
    app.choose(volume)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert app.ui.trouble.text() == ""
    (shown,) = explanations.all_shown(app.scene)
    assert shown.get("original") is not volume
    assert geometry_of(shown.get("original"))[0] == (24, 24, 8)
    sentence = "With this patch changed the whole image, malignant (90%), would be benign (70%)."
    assert app.ui.verdictLabel.text().startswith(sentence), "the whole image comes first"


def test_a_place_that_cannot_be_written_is_told(explained: PanelSession, tmp_path: Path) -> None:
    """Also pictures: Qt says so by a value, and raises nothing."""
    explained.answers["path"] = str(tmp_path / "no folder" / "report.html")
    explained.press("saveReportButton")
    assert "report.html cannot be written: No such file or directory. Choose" in explained.ui.trouble.text()
    explained.answers["path"] = str(tmp_path / "no folder" / "views.png")
    explained.press("pictureButton")
    assert "views.png cannot be written" in explained.ui.trouble.text()
    explained.answers["path"] = str(tmp_path / "views.png")
    explained.press("pictureButton")
    assert explained.ui.trouble.text() == f"Saved {tmp_path / 'views.png'}."


def test_the_selectors_offer_no_result_of_ours(explained: PanelSession, volume: Any) -> None:
    assert explained.ui.volumeSelector.nodes() == [volume]
    assert explained.ui.segmentationSelector.nodes() == []
    explained.ui.pathSlider.setValue(2)
    explained.ui.overlayBox.setCurrentIndex(1)
    explained.until(lambda: not explained.logic.busy)
    assert explained.ui.volumeSelector.nodes() == [volume]
    drawn = explained.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    assert explained.ui.segmentationSelector.nodes() == [drawn]


def test_the_same_image_explained_twice_is_there_once(explained: PanelSession, volume: Any) -> None:
    before = explained.scene.GetNumberOfNodes()
    explained.press("explainButton")
    explained.until(lambda: not explained.logic.busy)
    assert explained.ui.shownBox.count() == 1
    assert explained.scene.GetNumberOfNodes() == before


def test_one_of_two_explanations_of_one_id_is_removed_alone(explained: PanelSession) -> None:
    other = phantoms.add_sample(explained.scene, "another CT", *phantoms.nodule())
    explained.choose(other)
    explained.press("explainButton")
    explained.until(lambda: not explained.logic.busy)
    first, second = explanations.all_shown(explained.scene)
    assert first.id == second.id
    explained.press("removeButton")
    (left,) = explanations.all_shown(explained.scene)
    assert left.key == first.key
    assert all(left.get(role) is not None for role in explanations.ROLES)


def test_coming_back_to_an_explanation_finds_the_path_where_it_was_left(explained: PanelSession) -> None:
    explained.ui.pathSlider.setValue(1)
    other = phantoms.add_sample(explained.scene, "another CT", *phantoms.nodule())
    explained.choose(other)
    explained.press("explainButton")
    explained.until(lambda: not explained.logic.busy)
    assert explained.ui.pathSlider.value() == 0
    explained.ui.shownBox.setCurrentIndex(0)
    first = next(explanations.all_shown(explained.scene))
    assert explained.ui.pathSlider.value() == 1
    assert first.get("browser").GetSelectedItemNumber() == 1
    assert first.get("here").GetTable().GetValueByName(0, "strength").ToDouble() == first.path[1]["strength"]


def test_explanations_that_are_in_the_scene_already_are_there_when_the_panel_opens(
    scene: Any, volume: Any, tmp_path: Path
) -> None:
    """The scene was loaded before the module was opened, or the module was reloaded."""
    voxels, affine = phantoms.nodule()
    (tmp_path / "made").mkdir()
    shown = explanations.show(scene, self_test.write_synthetic_explanation(tmp_path / "made", voxels, affine), volume)
    for app in open_panel(scene, tmp_path):
        assert app.ui.shownBox.count() == 1
        assert app.panel.viewer.shown.key == shown.key
        assert "malignant" in app.ui.verdictLabel.text()
        assert not app.ui.lookSection.collapsed


def test_the_chart_leaves_room_for_marks_and_legend(explained: PanelSession) -> None:
    """Real VTK draws half a mark at an edge, a legend over the end of the path, and no line of a single point."""
    (shown,) = explanations.all_shown(explained.scene)
    chart = shown.get("chart")
    strengths = [point["strength"] for point in shown.path]
    low, high = chart.GetXAxisRange()
    assert low < min(strengths)
    assert high > max(strengths) + 0.2 * (max(strengths) - min(strengths))
    assert chart.GetYAxisRange()[0] < 0
    assert chart.GetYAxisRange()[1] > 1
    for number in range(chart.GetNumberOfPlotSeriesNodes()):
        assert chart.GetNthPlotSeriesNode(number).GetTableNode().GetNumberOfRows() > 1


def test_with_every_section_open_the_panel_needs_less_than_400_pixels(explained: PanelSession) -> None:
    """Names are long, and every section is open."""
    long = phantoms.add_sample(
        explained.scene, "CT of a person with a very long name, in the third week", *phantoms.nodule()
    )
    explained.choose(long)
    for name, section in vars(explained.ui).items():
        if name.endswith("Section"):
            section.setProperty("collapsed", False)
    explained.application.processEvents()
    fill_with_long_texts(explained.widget)
    assert explained.widget.minimumSizeHint().width() <= 400


def test_what_is_not_needed_is_folded(app: PanelSession, volume: Any) -> None:
    def open_sections() -> set[str]:
        return {n for n, s in vars(app.ui).items() if n.endswith("Section") and not s.property("collapsed")}

    main = {"serverSection", "imageSection", "askSection"}
    inner = {"historySection", "versionSection"}
    assert open_sections() - inner == main
    app.connect()
    assert open_sections() - inner == main - {"serverSection"}
    assert app.ui.serverSection.title() == "Server: nodule classifier"
    app.choose(volume)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy)
    assert open_sections() - inner == {"imageSection", "askSection", "lookSection"}
