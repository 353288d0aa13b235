"""From an explanation's files to MRML nodes; what is damaged or lies elsewhere is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import slicer

from . import nrrd
from .volumes import geometry_of

SCHEMA = "otherwise.explanation/1"
UpdateProxies = Callable[[Any], None]
"""Makes the node that a sequence browser's slider moves, and moves it: ``UpdateProxyNodesFromSequences``."""


class SceneError(Exception):
    """An explanation does not fit the scene; the text is for people."""


def read_json(folder: Path) -> dict:
    """Read and check ``explanation.json``."""
    try:
        content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise SceneError(f"The explanation has schema {content['schema']!r}, not {SCHEMA}. Update the module.")
        _ = content["files"]["path"], content["image"]["id"], content["counterfactual"]["path"][0], content["regions"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise SceneError("The explanation cannot be read. Explain the image again.") from error
    return content


def load_volume(scene: Any, path: Path, name: str) -> Any:
    """Load a scalar volume, or a vector volume if it has several channels."""
    several = nrrd.channels(_checked(path)) > 1
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode" if several else "vtkMRMLScalarVolumeNode", name)
    _load(scene, node, "vtkMRMLNRRDStorageNode", path)
    if node.GetImageData() is None:
        raise SceneError(f"{path.name} has no voxels. Explain the image again.")
    return node


def refuse_other_place(source: Any, node: Any, role: str) -> None:
    """Raise a SceneError where a volume has another grid than the image."""
    (shape, affine), (other_shape, other_affine) = geometry_of(source), geometry_of(node)
    if shape != other_shape or np.abs(affine - other_affine).max() > 1e-4:
        raise SceneError(f"The {role} lies elsewhere than the image. It may have been moved or cropped meanwhile.")


def load_regions(scene: Any, path: Path, source: Any) -> Any:
    """Load the decisive regions as a segmentation, one segment each."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Decisive regions")
    _load(scene, node, "vtkMRMLSegmentationStorageNode", path)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(source)
    return node


def load_path(scene: Any, path: Path, content: dict) -> Any:
    """Load the images of the path as a sequence."""
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Path")
    _load(scene, node, "vtkMRMLVolumeSequenceStorageNode", path)
    if node.GetNumberOfDataNodes() != len(content["counterfactual"]["path"]):
        raise SceneError("The path is incomplete. Explain the image again.")
    return node


def sequence_proxies(scene: Any) -> UpdateProxies:
    """What the Sequences module does, where the module itself is not there."""
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    return logic.UpdateProxyNodesFromSequences


def browse(scene: Any, sequence: Any, update_proxies: UpdateProxies) -> tuple:
    """Make a browser of the path, and the volume that its slider moves."""
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Path")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(0)
    update_proxies(browser)
    frame = browser.GetProxyNode(sequence)
    if frame is None:
        raise SceneError("The path cannot be shown.")
    frame.SetName("Image on the path")
    return browser, frame


def load_report(scene: Any, path: Path) -> Any:
    """The page to read, so that it is saved with the scene."""
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "Report")
    try:
        node.SetText(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError("The report cannot be read. Explain the image again.") from error
    node.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
    return node


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
