"""What people see when an explanation opens: in every layout, the whole image in the middle of each view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("trame_slicer", exc_type=ImportError, reason="trame-slicer is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from OtherwiseLib.files import explanation_files  # noqa: E402
from OtherwiseLib.mrml import explanations, layouts, view_fit, view_nodes  # noqa: E402
from OtherwiseLib.samples import self_test  # noqa: E402
from support.fake_slicer_qt import install  # noqa: E402
from support.offscreen_views import OffscreenViews  # noqa: E402
from support.panel_session import PanelSession, open_panel  # noqa: E402
from support.view_layout import LayoutManager, sizes  # noqa: E402

NUMBERS = (layouts.SIDE_BY_SIDE, layouts.FOUR, layouts.WITH_SOLID, layouts.ONE)
WIDTH, HEIGHT = 900, 1000
SHAPE = (6, 40, 50)


def turned() -> np.ndarray:
    """A rotation about all three axes."""
    a, b, c = 0.5, -0.4, 0.3
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def affine(width: float, centre: tuple[float, float, float] = (0, 0, 0), axes: np.ndarray | None = None) -> np.ndarray:
    """From voxel index to RAS for an image of ``SHAPE`` that is so wide, about a centre, in millimetres."""
    spacing = width / SHAPE[2]
    matrix = np.eye(4)
    matrix[:3, :3] = (np.diag([-1.0, -1.0, 1.0]) if axes is None else axes) * spacing
    middle = (np.array(SHAPE[::-1]) - 1) / 2
    matrix[:3, 3] = np.array(centre) - matrix[:3, :3] @ middle
    return matrix


IMAGES = {
    "small": affine(48),
    "far": affine(60, (120, -140, 75)),
    "large": affine(400),
    "oblique": affine(150, (30, 20, -90), turned()),
}


def descriptions(scene: Any) -> dict[int, str]:
    """Our layouts, as Slicer's layout node keeps them."""
    node = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layouts.install_layouts(node)
    return {number: node.GetLayoutDescription(number) for number in NUMBERS}


@pytest.mark.parametrize("number", NUMBERS)
def test_every_view_of_a_layout_gets_its_share_of_the_height(scene: Any, number: int) -> None:
    description = descriptions(scene)[number]
    assert len(re.findall("<item", description)) == len(re.findall('<item splitSize="[0-9]+"', description))
    found = sizes(install(), description, WIDTH, HEIGHT)
    for name, (width, height) in found.items():
        assert height >= 250, f"{name} is {height} of {HEIGHT} pixels high"
        assert width >= 400


@pytest.fixture(scope="module")
def views() -> Iterator[OffscreenViews]:
    made = OffscreenViews(layouts.VIEWS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def panel(views: OffscreenViews, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PanelSession]:
    yield from open_panel(views.scene, tmp_path_factory.mktemp("panel"))


def show(panel: PanelSession, folder: Path, matrix: np.ndarray) -> explanations.ShownExplanation:
    """Bring an explanation of an image that is all white into the scene, as the logic does."""
    k, j, i = np.indices(SHAPE)
    voxels = (100 + (k + j + i) % 2).astype(np.float32)
    shown = panel.logic.show(explanation_files.read(self_test.write_synthetic_explanation(folder, voxels, matrix)))
    for role in ("original", "counterfactual"):
        shown.get(role).GetDisplayNode().SetAutoWindowLevel(False)
        shown.get(role).GetDisplayNode().SetWindowLevel(2.0, 1.0)
    shown.get("regions").GetDisplayNode().SetVisibility(False)
    panel.panel.viewer.refresh(shown.id)
    return shown


@pytest.mark.parametrize("name", IMAGES)
def test_the_image_fills_every_view_of_every_layout(
    panel: PanelSession, views: OffscreenViews, tmp_path: Path, name: str
) -> None:
    before = {node.GetID() for node in nodes_of(views.scene)}
    arranged = descriptions(slicer.vtkMRMLScene())
    shown = show(panel, tmp_path, IMAGES[name])
    for index, number in enumerate(NUMBERS):
        found = {v: size for v, size in sizes(install(), arranged[number], 300, 340).items() if v in layouts.VIEWS}
        for view, (width, height) in found.items():
            views.resize(view, width, height)
        panel.ui.layoutBox.setCurrentIndex((index + 1) % len(NUMBERS))
        panel.ui.layoutBox.setCurrentIndex(index)
        for view, (width, height) in found.items():
            bright = views.picture(view).max(axis=2) > 128
            rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
            assert rows.size, f"{view} of layout {number} shows nothing"
            extent = np.array([columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1])
            assert extent.max() >= 0.8 * min(width, height), (view, number, extent)
            assert (extent <= [width, height]).all()
            middle = np.array([columns[[0, -1]].mean() / width, rows[[0, -1]].mean() / height])
            assert np.abs(middle - 0.5).max() <= 0.05, (view, number, middle)
    panel.press("removeButton")
    assert {node.GetID() for node in nodes_of(views.scene)} == before
    assert shown.get("counterfactual") is None


def nodes_of(scene: Any) -> list:
    """Every node but the subject hierarchy, which a scene makes for itself."""
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return [node for node in nodes if not node.IsA("vtkMRMLSubjectHierarchyNode")]


def test_rounds_of_showing_walking_and_removing_leave_no_node(
    panel: PanelSession, views: OffscreenViews, tmp_path: Path
) -> None:
    """A slice view gives a volume another display node when its own goes first; the path's node is copied over."""
    counts = []
    for turn in range(4):
        (tmp_path / str(turn)).mkdir()
        show(panel, tmp_path / str(turn), IMAGES["small"])
        panel.ui.pathSlider.setValue(2)
        panel.ui.layoutBox.setCurrentIndex(turn)
        for name in layouts.VIEWS:
            views.picture(name)
        panel.press("removeButton")
        counts.append([node.GetName() for node in nodes_of(views.scene)])
    assert counts[1:] == counts[:-1]


@pytest.fixture
def arranged(scene: Any) -> Iterator[Any]:
    """A scene whose views come and go with the layout, as in Slicer."""
    manager = LayoutManager(scene)
    yield scene
    manager.close()


def test_views_that_a_later_layout_makes_are_fitted_too(arranged: Any, tmp_path: Path) -> None:
    for panel in open_panel(arranged, tmp_path):
        show(panel, tmp_path, IMAGES["far"])
        assert view_nodes.slice_nodes(arranged, (layouts.EFFECT,)) == []
        panel.ui.layoutBox.setCurrentIndex(NUMBERS.index(layouts.FOUR))
        for node in view_nodes.slice_nodes(arranged, layouts.VIEWS):
            assert view_fit.is_in_view(node, (120, -140, 75)), node.GetName()
            assert 60 <= node.GetFieldOfView()[0] <= 75


def test_a_view_is_fitted_again_when_its_size_changes_but_not_after_somebody_zoomed(
    arranged: Any, tmp_path: Path
) -> None:
    for panel in open_panel(arranged, tmp_path):
        show(panel, tmp_path, IMAGES["small"])
        first, second = view_nodes.slice_nodes(arranged, (layouts.ORIGINAL, layouts.COUNTERFACTUAL))
        first.SetDimensions(200, 100, 1)
        panel.application.processEvents()
        assert first.GetFieldOfView()[1] == pytest.approx(38.4 * view_fit.MARGIN)
        second.SetFieldOfView(10, 10, 1)
        second.SetDimensions(200, 100, 1)
        panel.application.processEvents()
        assert second.GetFieldOfView()[0] == pytest.approx(10)


def test_a_view_that_changes_its_size_is_drawn_as_it_is_fitted(
    panel: PanelSession, views: OffscreenViews, tmp_path: Path
) -> None:
    """What an observer changes within the event of a view's new size does not reach the layers that are drawn."""
    show(panel, tmp_path, IMAGES["small"])
    views.picture(layouts.ORIGINAL)
    for width, height in ((300, 252), (300, 308), (280, 120), (200, 330)):
        views.resize(layouts.ORIGINAL, width, height)
        panel.application.processEvents()
        bright = views.picture(layouts.ORIGINAL).max(axis=2) > 128
        columns, rows = (np.ptp(np.flatnonzero(bright.any(axis=axis))) + 1 for axis in (0, 1))
        fullest = max(columns / width, rows / height)
        assert fullest == pytest.approx(1 / view_fit.MARGIN, rel=0.03), (width, height)


def test_a_click_on_a_region_outside_of_a_zoomed_view_brings_it_in(arranged: Any, tmp_path: Path) -> None:
    for panel in open_panel(arranged, tmp_path):
        shown = show(panel, tmp_path, IMAGES["far"])
        (node,) = view_nodes.slice_nodes(arranged, (layouts.ORIGINAL,))
        region = shown.regions[0]["centroid_ras"]
        for zoomed, panned in (((4, 4, 1), (0, 0, 0)), ((8, 6, 1), (15, -15, 0))):
            node.SetFieldOfView(*zoomed)
            view_fit.move_in_plane(node, np.array([100.0, -120.0, 75.0]))
            node.SetXYZOrigin(*panned)
            panel.ui.regionTable.clearSelection()
            panel.ui.regionTable.selectRow(0)
            to_xy = node.GetXYToRAS().NewInstance()
            to_xy.DeepCopy(node.GetXYToRAS())
            to_xy.Invert()
            place = np.array(to_xy.MultiplyPoint([*region, 1.0])[:2]) / node.GetDimensions()[:2]
            assert np.abs(place - 0.5).max() < 0.5, (zoomed, panned, place)


def test_the_slice_in_view_is_that_of_the_view_somebody_sees(arranged: Any, tmp_path: Path, volume: Any) -> None:
    """Slicer's own red view is the first slice node, and invisible in our layouts."""
    red = arranged.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    red.SetSingletonTag("Red")
    red.SetLayoutName("Red")
    for panel in open_panel(arranged, tmp_path):
        panel.connect()
        panel.logic.about["classifiers"][0]["inputs"] = {"spatial_dims": 2, "size": [48, 48], "modality": "CT"}
        panel.choose(volume)
        panel.press("sliceHereButton")
        assert "No view shows this volume" in panel.ui.trouble.text()
        layouts.set_layout(arranged, layouts.ONE)
        (node,) = view_nodes.slice_nodes(arranged, (layouts.ORIGINAL,))
        # Slicer's slice views make it.
        composite = arranged.AddNode(slicer.vtkMRMLSliceCompositeNode())
        composite.SetSingletonTag(layouts.ORIGINAL)
        composite.SetLayoutName(layouts.ORIGINAL)
        composite.SetBackgroundVolumeID(volume.GetID())
        layouts.align(arranged, volume)
        red.SetSliceOffset(0.0)
        node.SetSliceOffset(8 * 1.25)
        panel.press("sliceHereButton")
        assert panel.ui.sliceSpin.value() == 8
