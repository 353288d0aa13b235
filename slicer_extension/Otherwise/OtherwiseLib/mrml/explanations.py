"""Explanations in a scene: add them, find them again after saving and loading, and remove them without a trace.

One text node holds ``explanation.json`` and refers to every other node by a role. No Qt, no application: it works on
any ``vtkMRMLScene``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..files.explanation_files import SCHEMAS, VOLUMES, ExplanationFiles, Grid, SceneError, read
from . import charts, colours, display, nodes, tables, view_nodes
from .nodes import UpdateProxies
from .volumes import geometry_of

ATTRIBUTE = "Otherwise.explanation"
"""Attribute of an explanation's text node: its id."""
IMAGE = "Otherwise.image"
"""Attribute of an explanation's text node: the name of the image in this scene."""
PART = "Otherwise.part"
"""Attribute of every node that came into the scene with an explanation; its value is the explanation's ``key``."""
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
DISPLACEMENT = "displacement"
"""Role of the transform of an image that was only deformed."""
VALUE_ROLES = ("target", "survival-table", "survival")
"""Of a model that says a value: its shaded target; of survival: the curves before and after."""


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
            if self.content["schema"] not in SCHEMAS:
                raise ValueError("schema")
        except (TypeError, ValueError, KeyError) as error:
            raise SceneError("The explanation in this scene is damaged. Explain the image again.") from error

    @property
    def id(self) -> str:
        """The explanation's id."""
        return str(self.content["id"])

    @property
    def key(self) -> str:
        """A key of its own in this scene, also where another explanation has the same id."""
        return str(self.node.GetAttribute(PART) or self.id)

    @property
    def nodes(self) -> list:
        """Every node of the explanation that is still in the scene."""
        count = self.node.GetNumberOfNodeReferenceRoles()
        roles = [self.node.GetNthNodeReferenceRole(n) for n in range(count)]
        found = [self.node, *(self.get(role) for role in roles)]
        # A volume that was in the scene before is not part of the explanation.
        own = [node for node in found if node is not None and (node.GetAttribute(PART) or node is self.get("frame"))]
        return list(dict.fromkeys(own))

    @property
    def image_name(self) -> str:
        """Name of the image in this scene."""
        return str(self.node.GetAttribute(IMAGE) or self.content["image"]["id"])

    def get(self, role: str) -> Any:
        """Return the node of a role of ``ROLES``; None if it was deleted."""
        return self.node.GetNodeReference(role)

    def overlay(self, method: str) -> Any:
        """Return the map of another method; None if it is not in the scene."""
        return self.get(f"{OVERLAY}{method}")

    @property
    def overlays(self) -> dict[str, str]:
        """Titles of the other methods' maps in the scene, by name."""
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
    """Yield every explanation of a scene, oldest first; damaged ones are left out."""
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
    """Add an explanation to a scene, in a folder of the subject hierarchy.

    Args:
        scene: Gets the nodes.
        files: The explanation; or its folder, which is then read here.
        source: The volume that was sent; None: add the explanation's own copy of it.
        update_proxies: Function of the Sequences module; None: use a sequences logic of our own.

    Returns:
        The explanation in the scene.

    Raises:
        SceneError: if a file is missing, damaged, or lies elsewhere than the source; nothing is left in the scene then.
    """
    if isinstance(files, Path):
        files = read(files)
    # The same explanation of the same image is replaced.
    former = [
        shown
        for shown in all_shown(scene)
        if shown.id == files.content["id"] and (source is None or shown.get("original") is source)
    ]
    with _all_or_nothing(scene, uuid.uuid4().hex):
        # Not in the batch: slice views do not notice a transform that comes in one.
        transform = nodes.load_displacement(scene, files.displacement) if files.displacement is not None else None
        with _batch(scene):
            text = _fill(scene, files, source, update_proxies or nodes.sequence_proxies(scene), transform)
    for shown in former:
        remove(scene, shown)
    return ShownExplanation(text)


def add_overlay(scene: Any, shown: ShownExplanation, found: Grid, about: dict) -> Any:
    """Add the map of another method to an explanation.

    Args:
        scene: Scene of the explanation.
        shown: The explanation.
        found: The map on the image's grid; positive values speak for the class.
        about: ``method``, ``title`` and ``label``, as the server gives them.

    Returns:
        The volume; ``shown.overlay(about["method"])`` returns it from now on.

    Raises:
        SceneError: if it lies elsewhere; nothing is left in the scene then.
    """
    title = f"{about['title']}: speaks for {about['label']}"
    _refuse_other_place(shown.get("original") or shown.get("counterfactual"), found, about["title"])
    with _all_or_nothing(scene, shown.key), _batch(scene):
        node = nodes.add_grid(scene, found, title)
        display.show_signed(scene, node, title, colours.EFFECT, float(np.abs(found.voxels).max()))
        shown.node.SetNodeReferenceID(f"{OVERLAY}{about['method']}", node.GetID())
        _gather(scene, shown.node, [node])
    return node


def remove(scene: Any, shown: ShownExplanation) -> None:
    """Remove an explanation from a scene; the volume that was explained stays, if it was there before."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = _folder_of(scene, shown.node)
    ids = _with_helpers([*shown.nodes, *(n for n in _nodes(scene) if n.GetAttribute(PART) == shown.key)])
    # Before the batch: within it, a view does not notice that its volume is gone.
    view_nodes.release(scene, ids)
    with _batch(scene):
        _remove_nodes(scene, [id for id in _ids(scene) if id in ids])
        if folder:
            hierarchy.RemoveItem(folder, False, True)


def result_ids(scene: Any) -> list[str]:
    """Return the ids of all nodes of explanations; none of them is an image to explain."""
    known = {node.GetID() for shown in all_shown(scene) for node in shown.nodes}
    return [id for id in _ids(scene) if id in known or scene.GetNodeByID(id).GetAttribute(PART)]


def _with_helpers(nodes: list) -> set[str]:
    """Return the ids of nodes, and of their display and storage nodes."""
    found = {node.GetID() for node in nodes}
    for node in nodes:
        for kind in ("Display", "Storage"):
            count = getattr(node, f"GetNumberOf{kind}Nodes", lambda: 0)()
            helpers = [getattr(node, f"GetNth{kind}Node")(number) for number in range(count)]
            found |= {helper.GetID() for helper in helpers if helper is not None}
    return found


@contextmanager
def _all_or_nothing(scene: Any, key: str) -> Iterator[None]:
    """Mark every node that is added as part of an explanation; on an error, remove all of them."""
    before = set(_ids(scene))
    try:
        yield
    except BaseException:
        with _batch(scene):
            _remove_nodes(scene, [id for id in _ids(scene) if id not in before])
        raise
    for new in _ids(scene):
        if new not in before:
            scene.GetNodeByID(new).SetAttribute(PART, key)


@contextmanager
def _batch(scene: Any) -> Iterator[None]:
    """Let the application follow many changes of a scene at once."""
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def _fill(
    scene: Any, files: ExplanationFiles, source: Any, update_proxies: UpdateProxies, transform: Any = None
) -> Any:
    content = files.content
    # A volume's name is not sent; the server knows only the session's id.
    name = source.GetName() if source is not None else content["image"]["id"]
    if source is not None:
        _refuse_other_place(source, files.volumes["original"], "explanation")
    text = scene.AddNewNodeByClass("vtkMRMLTextNode", f"Explanation of {name}")
    text.SetText(json.dumps(content))
    text.SetAttribute(ATTRIBUTE, content["id"])
    text.SetAttribute(IMAGE, name)
    text.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
    made: dict[str, Any] = {}
    for role, grid in files.volumes.items():
        given = source if role == "original" else None
        made[role] = given or nodes.add_grid(scene, grid, f"{name} {role}")
    made["regions"] = nodes.load_regions(scene, files.regions, made["original"])
    if transform is not None:
        made[DISPLACEMENT] = transform
    made["path"] = nodes.add_path(scene, files)
    made["browser"], made["frame"] = nodes.browse(scene, made["path"], update_proxies)
    made["region-table"] = tables.region_table(scene, content)
    made["path-table"], made["chart"], made["here"], target = charts.path_chart(scene, content)
    if target is not None:
        made["target"] = target
    survival = charts.survival_chart(scene, content)
    if survival is not None:
        made["survival-table"], made["survival"] = survival
    made["bars"] = tables.answer_table(scene, content)
    made["report"] = nodes.add_page(scene, files.report)
    for role, node in made.items():
        text.SetNodeReferenceID(role, node.GetID())
    display.show_images(scene, made, files)
    _gather(scene, text, [node for node in made.values() if node is not source])
    return text


def _refuse_other_place(volume: Any, grid: Grid, what: str) -> None:
    shape, affine = geometry_of(volume)
    if shape != tuple(reversed(grid.voxels.shape[:3])) or np.abs(affine - grid.affine).max() > 1e-4:
        raise SceneError(f"The {what} lies elsewhere than the image. It may have been moved or cropped meanwhile.")


def _gather(scene: Any, text: Any, nodes: list) -> None:
    """Put nodes into the explanation's folder of the subject hierarchy, which is made if there is none."""
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
    """Return the folder of an explanation's text node; 0: none."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(text)
    folder = hierarchy.GetItemParent(item) if item else 0
    return 0 if folder == hierarchy.GetSceneItemID() else folder


def _nodes(scene: Any) -> list:
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    # The subject hierarchy belongs to the scene, also where it was first made for us.
    return [node for node in nodes if not node.IsA("vtkMRMLSubjectHierarchyNode")]


def _ids(scene: Any) -> list[str]:
    return [node.GetID() for node in _nodes(scene)]


def _remove_nodes(scene: Any, ids: list[str]) -> None:
    # Browsers first: a browser would make the node of its slider again.
    for id in sorted(reversed(ids), key=lambda id: "SequenceBrowser" not in id):
        node = scene.GetNodeByID(id)  # some go with others
        if node is not None:
            scene.RemoveNode(node)
