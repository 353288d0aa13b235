"""The layouts of the views, what each slice view shows, and the place that all of them show.

Only MRML nodes are changed: Slicer's layout manager follows the layout node, and tests need no layout manager.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from .explanations import ShownExplanation
from .view_fit import is_in_view, move_in_plane
from .view_nodes import composite_of, slice_nodes
from .volumes import geometry_of

ORIGINAL, COUNTERFACTUAL, CHANGE, EFFECT = (
    "OtherwiseOriginal",
    "OtherwiseCounterfactual",
    "OtherwiseChange",
    "OtherwiseEffect",
)
"""Names of our slice views."""
VIEWS = (ORIGINAL, COUNTERFACTUAL, CHANGE, EFFECT)
PLOT = "OtherwisePlot"
SURVIVAL = "OtherwiseSurvival"
"""Names of our charts; the second is seen beside the first where a model predicts survival."""
SOLID = "OtherwiseSolid"
"""Name of our 3-D view."""
SIDE_BY_SIDE, FOUR, ONE, WITH_SOLID = 73101, 73102, 73103, 73104
"""Numbers of our layouts; Slicer's own are below 1000."""
WITH_SURVIVAL = 10
"""Added to the number of a layout that shows survival beside the path."""
GROUP = 731
"""Views of this group are linked with each other, and not with Slicer's own."""
_COLOURS = {ORIGINAL: "#8CB4D2", COUNTERFACTUAL: "#E8A23D", CHANGE: "#D27DB4", EFFECT: "#6FB98F"}
_LABELS = {ORIGINAL: "O", COUNTERFACTUAL: "CF", CHANGE: "Δ", EFFECT: "E"}


def install_layouts(layout_node: Any) -> None:
    """Add our layouts to the layout node; a second call changes nothing.

    Args:
        layout_node: The scene's ``vtkMRMLLayoutNode``.
    """
    for more, plots in ((0, _plot()), (WITH_SURVIVAL, _beside(_plot(), _plot(SURVIVAL, "S")))):
        for number, description in (
            (SIDE_BY_SIDE, _rows(_row(ORIGINAL, COUNTERFACTUAL), plots, heights=(700, 300))),
            (FOUR, _rows(_row(ORIGINAL, COUNTERFACTUAL), _row(CHANGE, EFFECT), plots)),
            (ONE, _rows(_row(ORIGINAL), plots, heights=(700, 300))),
            (WITH_SOLID, _rows(_row(ORIGINAL, COUNTERFACTUAL), _beside(_slice(CHANGE), _solid()), plots)),
        ):
            if not layout_node.IsLayoutDescription(number + more):
                layout_node.AddLayoutDescription(number + more, description)


def set_layout(scene: Any, number: int, survival: bool = False) -> None:
    """Arrange the views.

    Args:
        scene: The scene.
        number: ``SIDE_BY_SIDE``, ``FOUR``, ``ONE`` or ``WITH_SOLID``.
        survival: Whether the chart of survival is shown beside that of the path.
    """
    node = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is not None:
        install_layouts(node)
        node.SetViewArrangement(number + WITH_SURVIVAL * survival)


def fill(scene: Any, shown: ShownExplanation, on_path: bool = False, method: str = "") -> None:
    """Set what each of our slice views shows; all are linked and lie in the image's own plane.

    Args:
        scene: The scene.
        shown: The explanation.
        on_path: The second view shows the image on the path instead of the counterfactual.
        method: The last view shows this other method's map instead of the measured effect.
    """
    original = shown.get("original")
    layers = {
        ORIGINAL: (original, None),
        COUNTERFACTUAL: (shown.get("frame" if on_path else "counterfactual"), None),
        CHANGE: (original, shown.get("difference")),
        EFFECT: (original, (shown.overlay(method) if method else None) or shown.get("effect")),
    }
    for name, (background, foreground) in layers.items():
        composite = composite_of(scene, name)
        if composite is None:
            continue
        # Hot-linked, so that slice, zoom and position go together; layers that are set here are not passed on.
        composite.SetHotLinkedControl(True)
        composite.SetLinkedControl(True)
        composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
        composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        composite.SetForegroundOpacity(1.0)
        composite.SetLabelVolumeID(None)
    if original is not None:
        align(scene, original)
    for name, role in ((PLOT, "chart"), (SURVIVAL, "survival")):
        plot, chart = scene.GetSingletonNode(name, "vtkMRMLPlotViewNode"), shown.get(role)
        if plot is not None and chart is not None:
            plot.SetPlotChartNodeID(chart.GetID())


def blend(scene: Any, shown: ShownExplanation, share: float) -> None:
    """Show the original and the counterfactual in the first view, one over the other.

    Args:
        share: 0: the original alone; 1: the counterfactual alone.
    """
    composite = composite_of(scene, ORIGINAL)
    counterfactual = shown.get("counterfactual")
    if composite is not None and counterfactual is not None:
        composite.SetForegroundVolumeID(counterfactual.GetID())
        composite.SetForegroundOpacity(min(1.0, max(0.0, share)))


def align(scene: Any, volume: Any) -> None:
    """Turn our views into the plane of the volume's slices, whatever its directions."""
    _, affine = geometry_of(volume)
    # The nearest anatomical plane first, so that left, right, up and down are where radiologists expect them.
    nearest = ("Sagittal", "Coronal", "Axial")[int(np.abs(affine[:3, 2]).argmax())]
    for name in VIEWS:
        node = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if node is None:
            continue
        # One event at the end: a half-turned view is not shown.
        before = node.StartModify()
        node.SetViewGroup(GROUP)
        node.SetOrientation(nearest)
        node.RotateToVolumePlane(volume)
        node.EndModify(before)


def same_window(shown: ShownExplanation) -> None:
    """Set the window and level of the original for every image of an explanation."""
    original = shown.get("original")
    window = original.GetDisplayNode() if original is not None else None
    if not hasattr(window, "GetWindow"):
        return
    for role in ("counterfactual", "minimal", "frame"):
        node = shown.get(role)
        display = node.GetDisplayNode() if node is not None else None
        if hasattr(display, "SetWindowLevel"):
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(window.GetWindow(), window.GetLevel())


def jump_to(scene: Any, ras: tuple[float, float, float]) -> None:
    """Move all slice views to a place in RAS millimetres, and pan those whose edge it lies beyond."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *ras, slicer.vtkMRMLSliceNode.OffsetJumpSlice)
    for node in slice_nodes(scene):
        if not is_in_view(node, ras):
            move_in_plane(node, np.array(ras))


def highlight(shown: ShownExplanation, label: int | None) -> None:
    """Outline one region strongly and the others faintly; None outlines all strongly."""
    regions = shown.get("regions")
    display = regions.GetDisplayNode() if regions is not None else None
    if display is None:
        return
    segmentation = regions.GetSegmentation()
    chosen = f"region {label}"
    for number in range(segmentation.GetNumberOfSegments()):
        id = segmentation.GetNthSegmentID(number)
        name = segmentation.GetSegment(id).GetName().split(":")[0]
        strong = label is None or name == chosen
        display.SetSegmentOpacity2DFill(id, 0.0)
        display.SetSegmentOpacity2DOutline(id, 1.0 if strong else 0.25)
        display.SetSegmentOpacity3D(id, 1.0 if strong else 0.2)


def _rows(*items: str, heights: tuple[int, ...] = ()) -> str:
    return _split("vertical", items, heights)


def _row(*names: str) -> str:
    return _beside(*(_slice(name) for name in names))


def _beside(*items: str) -> str:
    return _split("horizontal", items)


def _split(direction: str, items: tuple[str, ...], sizes: tuple[int, ...] = ()) -> str:
    """Arrange items; without a size of its own, each would be as large as its widget likes, a chart above all."""
    sized = zip(items, sizes or (1000 // len(items),) * len(items))
    inner = "".join(f'<item splitSize="{size}">{item}</item>' for item, size in sized)
    return f'<layout type="{direction}" split="true">{inner}</layout>'


def _slice(name: str) -> str:
    return (
        f'<view class="vtkMRMLSliceNode" singletontag="{name}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{_LABELS[name]}</property>'
        f'<property name="viewcolor" action="default">{_COLOURS[name]}</property>'
        "</view>"
    )


def _solid() -> str:
    return (
        f'<view class="vtkMRMLViewNode" singletontag="{SOLID}">'
        '<property name="viewlabel" action="default">3D</property></view>'
    )


def _plot(name: str = PLOT, label: str = "P") -> str:
    return (
        f'<view class="vtkMRMLPlotViewNode" singletontag="{name}">'
        f'<property name="viewlabel" action="default">{label}</property></view>'
    )
