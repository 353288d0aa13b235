"""Make MRML nodes from an explanation's files, on the main thread: whatever takes time was done before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import slicer

from ..files.explanation_files import ExplanationFiles, SceneError
from .volumes import add_volume, set_voxels

UpdateProxies = Callable[[Any], None]
"""Makes and updates the node that a sequence browser's slider moves: ``UpdateProxyNodesFromSequences``."""


def load_regions(scene: Any, path: Path, source: Any) -> Any:
    """Load the decisive regions as a segmentation, one segment each.

    Args:
        scene: Gets the segmentation.
        path: ``.seg.nrrd``, already checked, since a damaged one would crash the application.
        source: Volume whose grid the regions are on.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Decisive regions")
    _read_into(scene, node, "vtkMRMLSegmentationStorageNode", path)
    node.SetReferenceImageGeometryParameterFromVolumeNode(source)
    return node


def load_displacement(scene: Any, path: Path) -> Any:
    """Load the displacement field of an image that was only deformed, as a transform of the original.

    Args:
        scene: Gets the transform.
        path: ``.nrrd``, already checked.

    Raises:
        SceneError: if it is no displacement field.
    """
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Deformation")
    _read_into(scene, node, "vtkMRMLTransformStorageNode", path)
    return node


def _read_into(scene: Any, node: Any, storage_class: str, path: Path) -> None:
    """Read a file into a node by Slicer's own reader, and give the node display nodes.

    Raises:
        SceneError: if the reader refuses the file.
    """
    # The storage node does not stay, since the file is a temporary one.
    storage = scene.AddNewNodeByClass(storage_class)
    storage.SetFileName(str(path))
    try:
        if not storage.ReadData(node):
            raise SceneError(f"{path.name} cannot be read. Explain the image again.")
    finally:
        scene.RemoveNode(storage)
    node.CreateDefaultDisplayNodes()


def add_path(scene: Any, files: ExplanationFiles) -> Any:
    """Make a sequence of the path's images, which share their voxels with ``files``."""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Path")
    sequence.SetIndexName("strength")
    sequence.SetIndexUnit("")
    strengths = [float(point["strength"]) for point in files.content["counterfactual"]["path"]]
    if any(later <= earlier for earlier, later in zip(strengths, strengths[1:])):
        strengths = [float(step) for step in range(len(strengths))]
    affine = files.path_affine
    empty = slicer.vtkMRMLVectorVolumeNode() if files.path[0].ndim == 4 else slicer.vtkMRMLScalarVolumeNode()
    for strength, voxels in zip(strengths, files.path):
        # The sequence copies the node that it gets, so it gets one without voxels.
        set_voxels(sequence.SetDataNodeAtValue(empty, f"{strength:.12g}"), voxels, affine)
    return sequence


def sequence_proxies(scene: Any) -> UpdateProxies:
    """Return what the Sequences module does, where the module itself is not there."""
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    return logic.UpdateProxyNodesFromSequences


def browse(scene: Any, sequence: Any, update_proxies: UpdateProxies) -> tuple:
    """Make a browser of the path, and the volume that its slider moves."""
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Path")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(0)
    # Otherwise every step would give the node the name of the sequence again.
    browser.SetOverwriteProxyName(sequence, False)
    update_proxies(browser)
    frame = browser.GetProxyNode(sequence)
    if frame is None:
        raise SceneError("The path cannot be shown.")
    frame.SetName("Image on the path")
    return browser, frame


def add_page(scene: Any, page: str) -> Any:
    """Make a text node of the report, so that it is saved with the scene."""
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "Report")
    node.SetText(page)
    node.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
    return node


def add_grid(scene: Any, grid: Any, name: str) -> Any:
    """Make a volume that shares its voxels with a ``Grid``."""
    return add_volume(scene, name, grid.voxels, grid.affine)
