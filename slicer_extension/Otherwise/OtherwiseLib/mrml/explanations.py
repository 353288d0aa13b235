"""Explanations in a scene: brought in, found again after it was saved and loaded, and taken out without a trace.

One text node holds ``explanation.json`` and refers to every other node by a role. No Qt, no application: it works on
any ``vtkMRMLScene``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..files.explanation_files import SCHEMA, VOLUMES, ExplanationFiles, Grid, SceneError, read
from . import colours, display, nodes, tables
from .nodes import UpdateProxies
from .volumes import geometry_of

ATTRIBUTE = "Otherwise.explanation"
"""Marks the text node of an explanation; the value is its id."""
IMAGE = "Otherwise.image"
"""What the image is called here."""
PART = "Otherwise.part"
"""Marks every node that came into the scene with an explanation; the value is the explanation's id."""
OVERLAY = "overlay-"
"""Beginning of the role of another method's map; MRML separates roles by colons, so there is none in it."""
ROLES = (
    *VOLUMES,
    "regions",
    "path",
    "browser",
    "frame",
    "region-table",
    "path-table",
    "chart",
    "here",
    "bars",
    "report",
)
"""What an explanation's text node refers to; ``frame`` is the volume that the path's slider moves."""


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

    @property
    def image_name(self) -> str:
        """What the image is called in this scene."""
        return str(self.node.GetAttribute(IMAGE) or self.content["image"]["id"])

    def get(self, role: str) -> Any:
        """The node of a role of ``ROLES``; None if somebody deleted it."""
        return self.node.GetNodeReference(role)

    def overlay(self, method: str) -> Any:
        """The map of another method; None while it has not been brought in."""
        return self.get(f"{OVERLAY}{method}")

    @property
    def overlays(self) -> dict[str, str]:
        """Titles of the other methods' maps that have been brought in, by name."""
        roles = [self.node.GetNthNodeReferenceRole(n) for n in range(self.node.GetNumberOfNodeReferenceRoles())]
        names = [role[len(OVERLAY) :] for role in roles if role.startswith(OVERLAY)]
        there = {name: self.overlay(name) for name in names}
        return {name: node.GetName().split(":")[0] for name, node in there.items() if node is not None}

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
    scene: Any, files: ExplanationFiles | Path, source: Any = None, update_proxies: UpdateProxies | None = None
) -> ShownExplanation:
    """Bring an explanation into a scene, under one folder of the subject hierarchy.

    Args:
        scene: Where to.
        files: The explanation, read already; or its folder, which is then read here.
        source: The volume that was sent; None: the explanation's own copy of it is loaded.
        update_proxies: Of the Sequences module; None: a logic of our own.

    Returns:
        What is shown now.

    Raises:
        SceneError: if a file is missing, damaged, or lies elsewhere than the source; nothing is left in the scene then.
    """
    if isinstance(files, Path):
        files = read(files)
    with _all_or_nothing(scene, files.content["id"]):
        text = _fill(scene, files, source, update_proxies or nodes.sequence_proxies(scene))
    return ShownExplanation(text)


def add_overlay(scene: Any, shown: ShownExplanation, found: Grid, about: dict) -> Any:
    """Bring what another method says of the same image into an explanation.

    Args:
        scene: Of the explanation.
        shown: The explanation.
        found: On the image's grid; positive speaks for the class.
        about: ``method``, ``title`` and ``label``, as the server tells them.

    Returns:
        The volume, now found by ``shown.overlay(about["method"])``.

    Raises:
        SceneError: if it lies elsewhere; nothing is left in the scene then.
    """
    title = f"{about['title']}: speaks for {about['label']}"
    _refuse_other_place(shown.get("original") or shown.get("counterfactual"), found, about["title"])
    with _all_or_nothing(scene, shown.id):
        node = nodes.add_grid(scene, found, title)
        display.show_signed(scene, node, title, colours.EFFECT, float(np.abs(found.voxels).max()))
        shown.node.SetNodeReferenceID(f"{OVERLAY}{about['method']}", node.GetID())
        _gather(scene, shown.node, [node])
    return node


def remove(scene: Any, shown: ShownExplanation) -> None:
    """Take an explanation out of a scene again; the volume that was explained stays, if it was there before."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = _folder_of(scene, shown.node)
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        _remove_nodes(scene, [id for id in _ids(scene) if scene.GetNodeByID(id).GetAttribute(PART) == shown.id])
        if folder:
            hierarchy.RemoveItem(folder, False, True)
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


@contextmanager
def _all_or_nothing(scene: Any, id: str) -> Iterator[None]:
    """Mark every node that comes into the scene as part of an explanation, or take all of them out again."""
    before = set(_ids(scene))
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    except BaseException:
        _remove_nodes(scene, [id for id in _ids(scene) if id not in before])
        raise
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    for new in _ids(scene):
        if new not in before:
            scene.GetNodeByID(new).SetAttribute(PART, id)


def _fill(scene: Any, files: ExplanationFiles, source: Any, update_proxies: UpdateProxies) -> Any:
    content = files.content
    # A volume's name stays here; the server knows it by the number of a session.
    name = source.GetName() if source is not None else content["image"]["id"]
    if source is not None:
        _refuse_other_place(source, files.volumes["original"], "explanation")
    text = scene.AddNewNodeByClass("vtkMRMLTextNode", f"Explanation of {name}")
    text.SetText(json.dumps(content))
    text.SetAttribute(ATTRIBUTE, content["id"])
    text.SetAttribute(IMAGE, name)
    text.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
    nodes = {}
    for role, grid in files.volumes.items():
        given = source if role == "original" else None
        nodes[role] = given or nodes.add_grid(scene, grid, f"{name} {role}")
    nodes["regions"] = nodes.load_regions(scene, files.regions, nodes["original"])
    nodes["path"] = nodes.add_path(scene, files)
    nodes["browser"], nodes["frame"] = nodes.browse(scene, nodes["path"], update_proxies)
    nodes["region-table"] = tables.region_table(scene, content)
    nodes["path-table"], nodes["chart"], nodes["here"] = tables.path_chart(scene, content)
    nodes["bars"] = tables.probability_table(scene, content)
    nodes["report"] = nodes.add_page(scene, files.report)
    for role, node in nodes.items():
        text.SetNodeReferenceID(role, node.GetID())
    display.show_images(scene, nodes, files)
    _gather(scene, text, [node for node in nodes.values() if node is not source])
    return text


def _refuse_other_place(volume: Any, grid: Grid, what: str) -> None:
    shape, affine = geometry_of(volume)
    if shape != tuple(reversed(grid.voxels.shape[:3])) or np.abs(affine - grid.affine).max() > 1e-4:
        raise SceneError(f"The {what} lies elsewhere than the image. It may have been moved or cropped meanwhile.")


def _gather(scene: Any, text: Any, nodes: list) -> None:
    """Put nodes under the explanation's folder of the subject hierarchy; it is made if there is none yet."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = _folder_of(scene, text)
    if not folder:
        folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), text.GetName())
        hierarchy.SetItemExpanded(folder, False)
        nodes = [text, *nodes]
    for node in nodes:
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.SetItemParent(item, folder)
        else:
            hierarchy.CreateItem(folder, node)


def _folder_of(scene: Any, text: Any) -> int:
    """The folder that an explanation's text node lies in; 0: none."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(text)
    folder = hierarchy.GetItemParent(item) if item else 0
    return 0 if folder == hierarchy.GetSceneItemID() else folder


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
