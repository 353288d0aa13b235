"""The views of a scene: which there are, which of them somebody looks at, and what they show."""

from __future__ import annotations

from typing import Any

import numpy as np

from .volumes import geometry_of


def slice_nodes(scene: Any, names: tuple[str, ...] = ()) -> list:
    """Every slice view, or those of these names that a layout has made."""
    nodes = [
        scene.GetNthNodeByClass(number, "vtkMRMLSliceNode")
        for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"))
    ]
    return [node for node in nodes if not names or node.GetSingletonTag() in names]


def node_in_view(scene: Any, volume: Any) -> Any:
    """The slice view that somebody looks at a volume in; None: no view of the present layout shows it.

    Views of other layouts are still there, and point elsewhere. Of several views, that one counts whose slices are the
    volume's own.
    """
    _, affine = geometry_of(volume)
    across = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    found = []
    for node in slice_nodes(scene):
        composite = composite_of(scene, node.GetSingletonTag() or node.GetName())
        if node.IsMappedInLayout() and composite is not None and composite.GetBackgroundVolumeID() == volume.GetID():
            normal = [node.GetSliceToRAS().GetElement(row, 2) for row in range(3)]
            found.append((abs(float(np.dot(normal, across))), node))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def release(scene: Any, ids: set[str]) -> None:
    """Let no slice view or chart show these nodes: a view would give a volume whose display is gone a new one."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
        for layer in ("Background", "Foreground", "Label"):
            if getattr(composite, f"Get{layer}VolumeID")() in ids:
                getattr(composite, f"Set{layer}VolumeID")(None)
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLPlotViewNode")):
        plot = scene.GetNthNodeByClass(number, "vtkMRMLPlotViewNode")
        if plot.GetPlotChartNodeID() in ids:
            plot.SetPlotChartNodeID(None)


def composite_of(scene: Any, name: str) -> Any:
    """The layers of one of our slice views; None where the layout has not made it."""
    return scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
