"""The views of a scene: list them, find the visible one that shows a volume, and empty them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .volumes import geometry_of


def slice_nodes(scene: Any, names: tuple[str, ...] = ()) -> list:
    """Return every slice node, or those of these names that a layout has made."""
    nodes = [
        scene.GetNthNodeByClass(number, "vtkMRMLSliceNode")
        for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"))
    ]
    return [node for node in nodes if not names or node.GetSingletonTag() in names]


def node_in_view(scene: Any, volume: Any) -> Any:
    """Return the visible slice node that shows a volume; None: no view of the present layout shows it.

    Views of other layouts are still in the scene. Of several views, the one whose plane is nearest to the volume's
    slices is returned.
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
    """Take nodes out of every slice view and chart: a view would give a volume without display node a new one."""
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
    """Return the composite node of a slice view; None where the layout has not made it."""
    return scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
