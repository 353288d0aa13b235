"""From an explanation's folder to MRML nodes, and back: everything is found again after a scene was saved and loaded.

One text node holds ``explanation.json`` and refers to every other node by a role. No Qt, no application: it works on
any ``vtkMRMLScene``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from . import colours, nrrd

ATTRIBUTE = "Otherwise.explanation"
"""Marks the text node of an explanation; the value is its id."""
PART = "Otherwise.part"
"""Marks every node that came into the scene with an explanation; the value is the explanation's id."""
SCHEMA = "otherwise.explanation/1"
VOLUMES = ("original", "counterfactual", "difference", "effect", "floor", "minimal")
ROLES = (*VOLUMES, "regions", "path", "browser", "frame", "region-table", "path-table", "chart", "bars", "report")
"""What an explanation's text node refers to; ``frame`` is the volume that the path's slider moves."""
REGION_COLUMNS = ("rank", "name", "effect", "mm3", "sufficient", "necessary", "evidence", "R", "A", "S")


class SceneError(Exception):
    """An explanation does not fit the scene; the text is for people."""


class ShownExplanation:
    """One explanation in a scene.

    Args:
        node: Its text node.

    Raises:
        SceneError: if the text is damaged.
    """

    def __init__(self, node: Any) -> None:
        self.node = node
        try:
            self.content: dict = json.loads(node.GetText())
            if self.content["schema"] != SCHEMA:
                raise ValueError("schema")
        except (TypeError, ValueError, KeyError) as error:
            raise SceneError("The explanation in this scene is damaged. Explain the image again.") from error

    @property
    def id(self) -> str:
        """The explanation's id."""
        return str(self.content["id"])

    def get(self, role: str) -> Any:
        """The node of a role of ``ROLES``; None if somebody deleted it."""
        return self.node.GetNodeReference(role)

    @property
    def regions(self) -> list[dict]:
        """The decisive regions, strongest first."""
        return list(self.content["regions"])

    @property
    def path(self) -> list[dict]:
        """Strength and probabilities of each image of the path."""
        return list(self.content["counterfactual"]["path"])


def all_shown(scene: Any) -> Iterator[ShownExplanation]:
    """Every explanation of a scene, oldest first; damaged ones are left out."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLTextNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLTextNode")
        if node.GetAttribute(ATTRIBUTE):
            try:
                yield ShownExplanation(node)
            except SceneError:
                continue


def show(
    scene: Any, folder: Path, source: Any = None, update_proxies: Callable[[Any], None] | None = None
) -> ShownExplanation:
    """Bring an explanation into a scene, under one folder of the subject hierarchy.

    Args:
        scene: Where to.
        folder: The downloaded explanation.
        source: The volume that was sent; None: the explanation's own copy of it is loaded.
        update_proxies: Of the Sequences module: makes the node that a browser's slider moves; None: its logic is made.

    Returns:
        What is shown now.

    Raises:
        SceneError: if a file is missing, damaged, or lies elsewhere than the source; nothing is left in the scene then.
    """
    content = _read_json(folder)
    before = set(_ids(scene))
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        text = _fill(scene, folder, content, source, update_proxies)
    except BaseException:
        _remove_nodes(scene, [id for id in _ids(scene) if id not in before])
        raise
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    for id in _ids(scene):
        if id not in before:
            scene.GetNodeByID(id).SetAttribute(PART, content["id"])
    return ShownExplanation(text)


def remove(scene: Any, shown: ShownExplanation) -> None:
    """Take an explanation out of a scene again; the volume that was explained stays, if it was there before."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(shown.node))
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        _remove_nodes(scene, [id for id in _ids(scene) if scene.GetNodeByID(id).GetAttribute(PART) == shown.id])
        if folder not in (0, hierarchy.GetSceneItemID()):
            hierarchy.RemoveItem(folder, False, True)
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def geometry_of(volume: Any) -> tuple[tuple[int, int, int], np.ndarray]:
    """Voxels along i, j, k and the ``(4, 4)`` matrix from voxel index to RAS millimetres."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    affine = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    data = volume.GetImageData()
    return tuple(data.GetDimensions()) if data is not None else (0, 0, 0), affine


def voxels_of(volume: Any) -> np.ndarray:
    """``(k, j, i)`` view of a scalar volume."""
    data = volume.GetImageData()
    scalars = numpy_support.vtk_to_numpy(data.GetPointData().GetScalars())
    return scalars.reshape(tuple(reversed(data.GetDimensions())) + scalars.shape[1:])


def _fill(scene: Any, folder: Path, content: dict, source: Any, update_proxies: Callable[[Any], None] | None) -> Any:
    name = content["image"]["id"]
    text = scene.AddNewNodeByClass("vtkMRMLTextNode", f"Explanation of {name}")
    text.SetText(json.dumps(content))
    text.SetAttribute(ATTRIBUTE, content["id"])
    text.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
    files = content["files"]
    nodes = {}
    for role in VOLUMES:
        given = source if role == "original" else None
        nodes[role] = given or _load_volume(scene, folder / files[role], f"{name} {role}")
    for role in VOLUMES[1:]:
        _refuse_other_place(nodes["original"], nodes[role], role)
    nodes["regions"] = _load_regions(scene, folder / files["regions"], nodes["original"])
    nodes["path"] = _load_path(scene, folder / files["path"], content)
    nodes["browser"], nodes["frame"] = _browse(scene, nodes["path"], update_proxies)
    nodes["region-table"] = _region_table(scene, content)
    nodes["path-table"], nodes["chart"] = _path_chart(scene, content)
    nodes["bars"] = _bars(scene, content)
    nodes["report"] = _report(scene, folder / "report.html")
    for role, node in nodes.items():
        text.SetNodeReferenceID(role, node.GetID())
    _display(scene, nodes)
    _gather(scene, text, nodes, source)
    return text


def _ids(scene: Any) -> list[str]:
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    # The subject hierarchy is the scene's, even if we are the first to need it.
    return [node.GetID() for node in nodes if not node.IsA("vtkMRMLSubjectHierarchyNode")]


def _remove_nodes(scene: Any, ids: list[str]) -> None:
    # Browsers first: they would make the node anew that their slider moves.
    for id in sorted(reversed(ids), key=lambda id: "SequenceBrowser" not in id):
        node = scene.GetNodeByID(id)  # some go with others
        if node is not None:
            scene.RemoveNode(node)


def _read_json(folder: Path) -> dict:
    try:
        content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise SceneError(f"The explanation has schema {content['schema']!r}, not {SCHEMA}. Update the module.")
        _ = content["files"]["path"], content["image"]["id"], content["counterfactual"]["path"][0], content["regions"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise SceneError("The explanation cannot be read. Explain the image again.") from error
    return content


def _load(scene: Any, node: Any, kind: str, path: Path) -> None:
    """Read a file into a node; the storage node does not stay, since the file is a temporary one."""
    _checked(path)
    storage = scene.AddNewNodeByClass(kind)
    storage.SetFileName(str(path))
    try:
        if not storage.ReadData(node):
            raise SceneError(f"{path.name} cannot be read. Explain the image again.")
    finally:
        scene.RemoveNode(storage)
    node.Modified()


def _checked(path: Path) -> dict[str, str]:
    """The header of a file that is whole."""
    try:
        return nrrd.check(path)
    except nrrd.NrrdError as error:
        raise SceneError(f"{error} Explain the image again.") from error


def _load_volume(scene: Any, path: Path, name: str) -> Any:
    several = nrrd.channels(_checked(path)) > 1
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode" if several else "vtkMRMLScalarVolumeNode", name)
    _load(scene, node, "vtkMRMLNRRDStorageNode", path)
    if node.GetImageData() is None:
        raise SceneError(f"{path.name} has no voxels. Explain the image again.")
    return node


def _refuse_other_place(source: Any, node: Any, role: str) -> None:
    (shape, affine), (other_shape, other_affine) = geometry_of(source), geometry_of(node)
    if shape != other_shape or np.abs(affine - other_affine).max() > 1e-4:
        raise SceneError(f"The {role} lies elsewhere than the image. It may have been moved or cropped meanwhile.")


def _load_regions(scene: Any, path: Path, source: Any) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Decisive regions")
    _load(scene, node, "vtkMRMLSegmentationStorageNode", path)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(source)
    return node


def _load_path(scene: Any, path: Path, content: dict) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Path")
    _load(scene, node, "vtkMRMLVolumeSequenceStorageNode", path)
    if node.GetNumberOfDataNodes() != len(content["counterfactual"]["path"]):
        raise SceneError("The path is incomplete. Explain the image again.")
    return node


def _browse(scene: Any, sequence: Any, update_proxies: Callable[[Any], None] | None) -> tuple:
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Path")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(0)
    if update_proxies is None:
        logic = slicer.vtkSlicerSequencesLogic()
        logic.SetMRMLScene(scene)
        update_proxies = logic.UpdateProxyNodesFromSequences
    update_proxies(browser)
    frame = browser.GetProxyNode(sequence)
    if frame is None:
        raise SceneError("The path cannot be shown.")
    frame.SetName("Image on the path")
    return browser, frame


def _region_table(scene: Any, content: dict) -> Any:
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Decisive regions")
    rows = []
    for rank, region in enumerate(content["regions"], start=1):
        name = (region.get("concept") or {}).get("name") or f"region {region['label']}"
        flags = [bool(region[key]) for key in ("sufficient", "necessary", "above_floor")]
        rows.append((rank, name, region["effect"], region["volume_mm3"], *flags, *region["centroid_ras"]))
    kinds = {"rank": vtk.vtkIntArray, "name": vtk.vtkStringArray}
    kinds.update({name: vtk.vtkBitArray for name in ("sufficient", "necessary", "evidence")})
    for place, name in enumerate(REGION_COLUMNS):
        column = kinds.get(name, vtk.vtkDoubleArray)()
        column.SetName(name)
        for row in rows:
            column.InsertNextValue(row[place])
        table.AddColumn(column)
    return table


def _path_chart(scene: Any, content: dict) -> tuple:
    """A table of the probabilities along the path, and a chart of it."""
    path, classes = content["counterfactual"]["path"], list(content["prediction"]["probabilities"])
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Probabilities along the path")
    for name, values in [("strength", [point["strength"] for point in path])] + [
        (name, [point["probabilities"][name] for point in path]) for name in classes
    ]:
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Probability along the path")
    chart.SetTitle("What the classifier says along the path")
    chart.SetXAxisTitle("Strength of the change")
    chart.SetYAxisTitle("Probability")
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, 1.0)
    for number, name in enumerate(classes):
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("strength")
        series.SetYColumnName(name)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
        series.SetColor(*colours.SERIES[number % len(colours.SERIES)])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return table, chart


def _bars(scene: Any, content: dict) -> Any:
    """A table of each class's probability before and after."""
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Probabilities")
    before = content["prediction"]["probabilities"]
    after = content["counterfactual"]["probabilities"]
    names = vtk.vtkStringArray()
    names.SetName("class")
    columns = [("original", before), ("counterfactual", after)]
    for name in before:
        names.InsertNextValue(name)
    table.AddColumn(names)
    for title, values in columns:
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        for name in before:
            column.InsertNextValue(values[name])
        table.AddColumn(column)
    return table


def _report(scene: Any, path: Path) -> Any:
    """The page to read, so that it is saved with the scene."""
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "Report")
    try:
        node.SetText(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError("The report cannot be read. Explain the image again.") from error
    node.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
    return node


def _display(scene: Any, nodes: dict[str, Any]) -> None:
    """Same window and level for all images; diverging colours centred at zero for change and effect."""
    original = nodes["original"]
    if original.GetDisplayNode() is None:
        original.CreateDefaultDisplayNodes()
    window = original.GetDisplayNode()
    for role in ("counterfactual", "minimal", "frame"):
        node = nodes[role]
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        if hasattr(display, "SetWindowLevel") and hasattr(window, "GetWindow"):
            display.SetWindowLevel(window.GetWindow(), window.GetLevel())
    change = float(np.abs(voxels_of(nodes["difference"])).max())
    typical = typical_floor(nodes["floor"])
    _diverge(scene, nodes["difference"], "Otherwise change", max(change, 2 * typical), typical, colours.CHANGE)
    effect = float(np.abs(voxels_of(nodes["effect"])).max())
    _diverge(scene, nodes["effect"], "Otherwise effect", effect, 0.05 * effect, colours.EFFECT)
    nodes["floor"].CreateDefaultDisplayNodes()


def _diverge(scene: Any, node: Any, name: str, scale: float, floor: float, hues: colours.Hues) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    table.SetHideFromEditors(True)
    display.SetAndObserveColorNodeID(table.GetID())
    display.SetAutoWindowLevel(False)
    set_floor(node, floor, scale or 1.0, hues)


def set_floor(node: Any, floor: float, scale: float | None = None, hues: colours.Hues = colours.CHANGE) -> None:
    """Colour a map of signed values: full colour at ``scale``, nothing below ``floor``.

    Args:
        node: The volume of the difference or the effect.
        floor: In its units.
        scale: In its units; None: as it is.
        hues: Colours of both signs.
    """
    display = node.GetDisplayNode()
    scale = display.GetWindow() / 2 if scale is None else scale
    display.SetWindowLevel(2 * scale, 0.0)
    colours.fill(display.GetColorNode(), min(1.0, floor / scale), hues)


def typical_floor(volume: Any) -> float:
    """The median reconstruction error where the classifier looked, in the image's units; 0 without a volume."""
    floor = voxels_of(volume) if volume is not None else np.zeros(0)
    return float(np.median(floor[floor > 0])) if (floor > 0).any() else 0.0


def _gather(scene: Any, text: Any, nodes: dict[str, Any], source: Any) -> None:
    """Put everything under one folder of the subject hierarchy; the source stays where it is."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), text.GetName())
    hierarchy.SetItemExpanded(folder, False)
    for node in [text, *nodes.values()]:
        if node is source:
            continue
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.SetItemParent(item, folder)
        else:
            hierarchy.CreateItem(folder, node)
