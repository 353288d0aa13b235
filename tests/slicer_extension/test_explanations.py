"""Explanations as real MRML nodes: they lie where the files say, and come and go without a trace."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")

from otherwise.explain.explanation import Explanation  # noqa: E402
from otherwise.images.image import Geometry  # noqa: E402
from otherwise.images.resampling import model_grid, resample  # noqa: E402
from otherwise.report.folder import write_explanation  # noqa: E402
from OtherwiseLib.files.explanation_files import SceneError, place_of, read_grid  # noqa: E402
from OtherwiseLib.mrml import display, explanations, layouts, view_nodes  # noqa: E402
from OtherwiseLib.mrml.tables import AREA_COLUMNS, PIXEL_COLUMNS, REGION_COLUMNS  # noqa: E402
from OtherwiseLib.mrml.volumes import geometry_of, voxels_of  # noqa: E402
from support.saved_scene import read_scene, save_scene  # noqa: E402
from support.square_models import toy_explanation  # noqa: E402

GEOMETRIES = {
    "axial": np.diag([0.7, 0.7, 2.0, 1.0]),
    "flipped": np.array([[-0.7, 0, 0, 30], [0, -0.7, 0, 12], [0, 0, 2.5, -7], [0, 0, 0, 1.0]]),
    "sagittal": np.array([[0, 0, 1.5, 3], [0.8, 0, 0, 4], [0, -0.9, 0, 5], [0, 0, 0, 1.0]]),
    "oblique": np.array([[0.56, -0.42, 0.3, 12.5], [0.42, 0.55, -0.2, -7.0], [0.1, 0.12, 1.9, 3.25], [0, 0, 0, 1.0]]),
}


@pytest.fixture(params=GEOMETRIES, ids=str)
def explanation(request: pytest.FixtureRequest) -> Explanation:
    affine = GEOMETRIES[request.param]
    # NRRD wants orthogonal axes of SimpleITK, so the oblique one is made so.
    rotation, _ = np.linalg.qr(affine[:3, :3])
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    signs = np.sign(np.sum(rotation * affine[:3, :3], axis=0))
    affine = affine.copy()
    affine[:3, :3] = rotation * signs * spacing
    return toy_explanation(Geometry((12, 10, 5), affine))


@pytest.fixture
def folder(explanation: Explanation, tmp_path: Path) -> Path:
    return write_explanation(explanation, tmp_path / explanation.id)


def value_at(volume: object, ras: np.ndarray) -> float:
    _, affine = geometry_of(volume)
    i, j, k = np.rint(np.linalg.inv(affine) @ [*ras, 1])[:3].astype(int)
    return float(voxels_of(volume)[k, j, i])


def nodes_of(scene: object) -> set[str]:
    return {scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())}


def test_every_volume_lies_where_simpleitk_says_to_a_millionth_of_a_millimetre(scene, folder, explanation) -> None:
    shown = explanations.show(scene, folder)
    for role in explanations.VOLUMES:
        shape, affine = geometry_of(shown.get(role))
        image = SimpleITK.ReadImage(str(folder / f"{role}.nrrd"))
        assert shape == image.GetSize()
        for index in ((0, 0, 0), (shape[0] - 1, 2, shape[2] - 1)):
            lps = np.array(image.TransformIndexToPhysicalPoint(index))
            ras = affine[:3, :3] @ index + affine[:3, 3]
            np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-6)
        voxels = getattr(explanation.volumes, role).array[0]
        np.testing.assert_array_equal(voxels_of(shown.get(role)), voxels.transpose(2, 1, 0))


def test_regions_are_segments_where_the_label_map_is(scene, folder, explanation) -> None:
    node = explanations.show(scene, folder).get("regions")
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == len(explanation.regions) == 2
    labels = explanation.volumes.regions
    for number, region in enumerate(explanation.regions):
        centre = node.GetSegmentCenterRAS(segmentation.GetNthSegmentID(number))
        assert np.linalg.norm(np.array(centre) - region.centroid_ras) < 1.5 * max(labels.geometry.spacing)


def test_the_path_can_be_walked_and_every_step_is_what_the_file_holds(scene, folder, explanation) -> None:
    shown = explanations.show(scene, folder)
    browser, frame = shown.get("browser"), shown.get("frame")
    assert browser.GetNumberOfItems() == len(explanation.path)
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    for step, image in enumerate(explanation.volumes.path):
        browser.SetSelectedItemNumber(step)
        logic.UpdateProxyNodesFromSequences(browser)
        np.testing.assert_allclose(voxels_of(frame), image.array[0].transpose(2, 1, 0))
    table = shown.get("path-table")
    probabilities = [
        table.GetTable().GetValueByName(row, "bright").ToDouble() for row in range(table.GetNumberOfRows())
    ]
    assert probabilities == pytest.approx([point.probabilities["bright"] for point in explanation.path])


def test_the_region_table_tells_rank_effect_and_evidence(scene, folder, explanation) -> None:
    table = explanations.show(scene, folder).get("region-table").GetTable()
    assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())] == list(REGION_COLUMNS)
    for row, region in enumerate(explanation.regions):
        assert table.GetValueByName(row, "rank").ToInt() == row + 1
        assert table.GetValueByName(row, "effect").ToDouble() == pytest.approx(region.effect)
        assert bool(table.GetValueByName(row, "evidence").ToInt()) == region.above_floor
        assert table.GetValueByName(row, "R").ToDouble() == pytest.approx(region.centroid_ras[0])


def test_ten_explanations_come_and_go_without_a_trace(scene, folder) -> None:
    explanations.remove(scene, explanations.show(scene, folder))  # the subject hierarchy is there from now on
    before = nodes_of(scene)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = hierarchy.GetNumberOfItems()
    for _ in range(10):
        shown = explanations.show(scene, folder)
        assert nodes_of(scene) > before
        explanations.remove(scene, shown)
    assert nodes_of(scene) == before
    assert hierarchy.GetNumberOfItems() == items


def test_the_volume_that_was_explained_is_used_and_stays(scene, folder, explanation, tmp_path: Path) -> None:
    source = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mine")
    storage = scene.AddNewNodeByClass("vtkMRMLNRRDStorageNode")
    storage.SetFileName(str(folder / "original.nrrd"))
    assert storage.ReadData(source)
    shown = explanations.show(scene, folder, source)
    assert shown.get("original") is source
    explanations.remove(scene, shown)
    assert scene.IsNodePresent(source)

    moved = slicer.vtkMRMLScalarVolumeNode()
    moved.Copy(source)
    scene.AddNode(moved)
    moved.SetOrigin(1000, 0, 0)
    before = nodes_of(scene)
    with pytest.raises(SceneError, match="elsewhere"):
        explanations.show(scene, folder, moved)
    assert nodes_of(scene) == before


@pytest.mark.parametrize("name", ["effect.nrrd", "regions.seg.nrrd", "path.seq.nrrd", "explanation.json"])
@pytest.mark.parametrize("harm", ["missing", "truncated", "nonsense"])
def test_a_damaged_folder_is_refused_in_words_and_leaves_nothing(scene, tmp_path: Path, name: str, harm: str) -> None:
    folder = write_explanation(toy_explanation(Geometry((12, 10, 5), np.eye(4))), tmp_path / "one")
    explanations.remove(scene, explanations.show(scene, folder))
    before = nodes_of(scene)
    path = folder / name
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    else:
        path.write_bytes(b"\0" * 400)
    with pytest.raises(SceneError):
        explanations.show(scene, folder)
    assert nodes_of(scene) == before


def test_everything_is_found_again_after_saving_and_loading_a_scene(scene, folder, tmp_path: Path) -> None:
    shown = explanations.show(scene, folder)
    path = save_scene(scene, tmp_path)
    places = [(0, 0, 0), (11, 9, 4), (3, 2, 1), (8, 7, 3)]
    _, affine = geometry_of(shown.get("original"))
    points = [affine[:3, :3] @ place + affine[:3, 3] for place in places]
    values = {role: [value_at(shown.get(role), point) for point in points] for role in explanations.VOLUMES}
    read_scene(scene, path)
    (again,) = explanations.all_shown(scene)
    assert again.content == json.loads((folder / "explanation.json").read_text())
    # Slicer may turn left-handed axes round when it saves: what counts is which value is where.
    for role, known in values.items():
        assert [value_at(again.get(role), point) for point in points] == known
    assert all(again.get(role) is not None for role in explanations.ROLES)
    explanations.remove(scene, again)
    assert list(explanations.all_shown(scene)) == []


def test_change_below_the_floor_is_transparent(scene, folder) -> None:
    node = explanations.show(scene, folder).get("difference")
    display.set_floor(node, floor=0.5, scale=1.0)
    table = node.GetDisplayNode().GetColorNode().GetLookupTable()
    opacity = np.array([table.GetTableValue(step)[3] for step in range(256)])
    values = np.linspace(-1, 1, 256)
    assert (opacity[np.abs(values) < 0.49] == 0).all()
    assert (opacity[np.abs(values) > 0.51] > 0.5).all()
    assert (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()) == (2.0, 0.0)


def test_layouts_are_understood_and_views_are_filled(scene, folder) -> None:
    layout = slicer.vtkMRMLLayoutNode()
    scene.AddNode(layout)
    layouts.set_layout(scene, layouts.FOUR)
    assert layout.GetViewArrangement() == layouts.FOUR
    assert layout.IsLayoutDescription(layouts.SIDE_BY_SIDE)
    for name in layouts.VIEWS:
        for kind in ("vtkMRMLSliceCompositeNode", "vtkMRMLSliceNode"):
            node = scene.CreateNodeByClass(kind)
            node.SetSingletonTag(name)
            node.SetLayoutName(name)
            scene.AddNode(node)
            node.UnRegister(None)
    shown = explanations.show(scene, folder)
    layouts.fill(scene, shown)
    change = view_nodes.composite_of(scene, layouts.CHANGE)
    assert change.GetBackgroundVolumeID() == shown.get("original").GetID()
    assert change.GetForegroundVolumeID() == shown.get("difference").GetID()
    layouts.fill(scene, shown, on_path=True)
    second = view_nodes.composite_of(scene, layouts.COUNTERFACTUAL)
    assert second.GetBackgroundVolumeID() == shown.get("frame").GetID()
    layouts.blend(scene, shown, 0.3)
    assert view_nodes.composite_of(scene, layouts.ORIGINAL).GetForegroundOpacity() == pytest.approx(0.3)
    # The view's plane is the plane of the volume's slices.
    _, affine = geometry_of(shown.get("original"))
    matrix = scene.GetSingletonNode(layouts.ORIGINAL, "vtkMRMLSliceNode").GetSliceToRAS()
    normal = np.array([matrix.GetElement(row, 2) for row in range(3)])
    across = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    assert abs(normal @ across) > 0.999


def test_a_colour_image_is_shown_too(scene, tmp_path: Path) -> None:
    explanation = toy_explanation(Geometry((12, 10, 1), np.eye(4)), channels=3)
    shown = explanations.show(scene, write_explanation(explanation, tmp_path / "colour"))
    assert shown.get("counterfactual").GetClassName() == "vtkMRMLVectorVolumeNode"


def test_deleted_nodes_are_survived(scene, folder) -> None:
    shown = explanations.show(scene, folder)
    for role in ("counterfactual", "browser", "difference"):
        scene.RemoveNode(shown.get(role))
    layouts.fill(scene, shown)
    layouts.blend(scene, shown, 0.5)
    layouts.highlight(shown, 1)
    assert shown.get("counterfactual") is None
    explanations.remove(scene, shown)


def test_another_methods_map_joins_the_explanation_and_survives_saving(scene, folder, explanation, tmp_path) -> None:
    from otherwise.images.writing import write_image

    shown = explanations.show(scene, folder)
    before = nodes_of(scene)
    about = {"method": "grad-cam", "title": "Grad-CAM", "label": "dark"}
    path = tmp_path / "map.nrrd"
    write_image(explanation.volumes.effect, path)
    node = explanations.add_overlay(scene, shown, read_grid(path), about)
    np.testing.assert_allclose(geometry_of(node)[1], geometry_of(shown.get("effect"))[1], atol=1e-6)
    assert shown.overlays == {"grad-cam": "Grad-CAM"}
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n)) for n in (node, shown.node)}
    assert len(parents) == 1

    archive = save_scene(scene, tmp_path)
    read_scene(scene, archive)
    (again,) = explanations.all_shown(scene)
    assert again.overlays == {"grad-cam": "Grad-CAM"}
    explanations.remove(scene, again)
    assert again.overlays == {}
    assert not any(id.startswith("vtkMRMLScalarVolumeNode") for id in nodes_of(scene) - before)


def test_a_map_from_elsewhere_is_refused_and_leaves_nothing(scene, folder, tmp_path: Path) -> None:
    from otherwise.images.writing import write_image

    shown = explanations.show(scene, folder)
    before = nodes_of(scene)
    path = tmp_path / "map.nrrd"
    write_image(toy_explanation(Geometry((12, 10, 5), np.diag([9.0, 9, 9, 1]))).volumes.effect, path)
    with pytest.raises(SceneError, match="Grad-CAM lies elsewhere"):
        explanations.add_overlay(
            scene, shown, read_grid(path), {"method": "grad-cam", "title": "Grad-CAM", "label": "dark"}
        )
    assert nodes_of(scene) == before
    assert shown.overlays == {}


def test_regions_of_a_volume_have_surfaces_where_they_are(scene, folder, explanation) -> None:
    regions = explanations.show(scene, folder).get("regions")
    display.show_surfaces(regions)
    assert regions.GetDisplayNode().GetVisibility3D()
    segmentation = regions.GetSegmentation()
    for number, region in enumerate(explanation.regions):
        surface = segmentation.GetNthSegment(number).GetRepresentation("Closed surface")
        bounds = np.array(surface.GetBounds()).reshape(3, 2)
        assert (bounds[:, 0] < region.centroid_ras).all()
        assert (bounds[:, 1] > region.centroid_ras).all()


def test_a_single_slice_has_no_surface(scene, tmp_path: Path) -> None:
    folder = write_explanation(toy_explanation(Geometry((12, 10, 1), np.eye(4))), tmp_path / "flat")
    regions = explanations.show(scene, folder).get("regions")
    display.show_surfaces(regions)
    assert not regions.GetDisplayNode().GetVisibility3D() or not regions.GetSegmentation().ContainsRepresentation(
        "Closed surface"
    )


def test_the_path_and_the_minimal_change_of_a_large_image_may_lie_on_a_coarser_grid(scene, tmp_path: Path) -> None:
    shape = (1100, 1000, 1)
    geometry = Geometry(shape, np.array([[-0.1, 0, 0, 7], [0, -0.2, 0, 5], [0, 0, 1.0, 3], [0, 0, 0, 1.0]]))
    whole = toy_explanation(geometry)
    grid = model_grid(geometry, (550, 500), None)
    volumes = whole.volumes
    small = {
        "minimal": resample(volumes.minimal, grid),
        "path": tuple(resample(image, grid) for image in volumes.path),
        "alternatives": tuple(resample(image, grid) for image in volumes.alternatives),
    }
    folder = write_explanation(replace(whole, volumes=replace(volumes, **small)), tmp_path / "large")
    shown = explanations.show(scene, folder)
    for role, image in (("frame", small["path"][0]), ("minimal", small["minimal"]), ("original", volumes.original)):
        size, affine = geometry_of(shown.get(role))
        assert size == image.geometry.shape
        np.testing.assert_allclose(affine, image.geometry.affine, atol=1e-6)
    elsewhere = replace(geometry, affine=geometry.affine + np.diag([0.01, 0, 0, 0]))
    broken = replace(
        volumes, **{**small, "minimal": resample(volumes.minimal, model_grid(elsewhere, (550, 500), None))}
    )
    with pytest.raises(SceneError, match="minimal lies elsewhere"):
        explanations.show(scene, write_explanation(replace(whole, volumes=broken), tmp_path / "broken"))


def test_the_regions_of_a_plane_have_an_area(scene, folder) -> None:
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    for region in content["regions"]:
        region.update(volume_mm3=25.0, area_mm2=12.5)
    (folder / "explanation.json").write_text(json.dumps(content), encoding="utf-8")
    table = explanations.show(scene, folder).get("region-table").GetTable()
    assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())] == list(AREA_COLUMNS)
    assert table.GetValueByName(0, "mm2").ToDouble() == 12.5
    assert table.GetValueByName(0, "R").ToDouble() == pytest.approx(content["regions"][0]["centroid_ras"][0])


def test_an_image_without_millimetres_has_a_table_in_pixels(scene, folder, explanation) -> None:
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    content["geometry"]["unit"] = "px"
    for region in content["regions"]:
        region.update(centroid_ras=None, volume_mm3=None, voxels=7, centroid_index=[1.0, 2.0, 3.0])
    (folder / "explanation.json").write_text(json.dumps(content), encoding="utf-8")
    table = explanations.show(scene, folder).get("region-table").GetTable()
    assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())] == list(PIXEL_COLUMNS)
    assert table.GetValueByName(0, "pixels").ToInt() == 7
    assert [table.GetValueByName(0, name).ToDouble() for name in ("column", "row")] == [1.0, 2.0]
    affine = explanation.volumes.original.geometry.affine
    assert place_of(content["regions"][0], content) == pytest.approx((affine @ [1, 2, 3, 1])[:3])
