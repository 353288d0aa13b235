"""Display of volumes: the same window for all images, and colours centred at zero for signed maps."""

from __future__ import annotations

from typing import Any

import vtk

from ..files.explanation_files import ExplanationFiles, typical
from . import colours
from .volumes import voxels_of

GRID_LINES = 36
"""Number of grid lines along the longest side of a displacement field, about twice the classifier's field of view."""
FLOOR = "Otherwise.floor"
"""Attribute of the floor's volume: its median, which takes time to compute."""


def show_images(scene: Any, nodes: dict[str, Any], files: ExplanationFiles) -> None:
    """Show all images of an explanation with the same window and level, change and effect in diverging colours.

    Args:
        scene: Gets display nodes and colour tables.
        nodes: The explanation's volumes by role; only the original has a display node.
        files: Holds the largest values and the floor.
    """
    original = nodes["original"]
    if original.GetDisplayNode() is None:
        original.CreateDefaultDisplayNodes()
    window = original.GetDisplayNode()
    for role in ("counterfactual", "minimal", "frame", "floor"):
        _show(scene, nodes[role])
        display = nodes[role].GetDisplayNode()
        if role != "floor" and hasattr(display, "SetWindowLevel") and hasattr(window, "GetWindow"):
            display.SetWindowLevel(window.GetWindow(), window.GetLevel())
    nodes["floor"].SetAttribute(FLOOR, repr(files.floor))
    nodes["floor"].GetDisplayNode().SetWindowLevel(4 * files.floor or 1.0, 2 * files.floor)
    largest = files.largest
    show_signed(scene, nodes["difference"], "Otherwise change", colours.CHANGE, largest["difference"], files.floor)
    show_signed(scene, nodes["effect"], "Otherwise effect", colours.EFFECT, largest["effect"])


def show_signed(
    scene: Any, node: Any, name: str, hues: colours.Hues, largest: float, floor: float | None = None
) -> None:
    """Colour a map of signed values, transparent about zero.

    Args:
        scene: Gets display node and colour table.
        node: The volume.
        name: Name of the colour table.
        hues: Colours of both signs.
        largest: Largest absolute value, which gets the full colour.
        floor: In the map's units: nothing is shown below it; None: a twentieth of the largest value.
    """
    _show(scene, node)
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    table.SetHideFromEditors(True)
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    scale = max(largest, 2 * floor) if floor is not None else largest
    set_floor(node, 0.05 * largest if floor is None else floor, scale or 1.0, hues)


def _show(scene: Any, node: Any) -> None:
    """Give a volume a display node without an automatic window, which would take a look at every voxel."""
    if node.GetDisplayNode() is not None:
        node.GetDisplayNode().SetAutoWindowLevel(False)
        return
    vector = node.IsA("vtkMRMLVectorVolumeNode")
    display = scene.AddNewNodeByClass(f"vtkMRML{'Vector' if vector else 'Scalar'}VolumeDisplayNode")
    display.SetAutoWindowLevel(False)
    display.SetDefaultColorMap()
    node.SetAndObserveDisplayNodeID(display.GetID())


def show_grid(transform: Any, visible: bool) -> None:
    """Show or hide a deformation in all slice views, as the lines of a grid that is regular in the original.

    Args:
        transform: Transform node of the displacement field.
        visible: Whether to show it.
    """
    shown = transform.GetDisplayNode()
    box = transform.GetTransformFromParent().GetDisplacementGrid().GetBounds()
    colour = vtk.vtkColorTransferFunction()
    colour.AddRGBPoint(0.0, *colours.GRID)
    shown.SetColorMap(colour)
    shown.SetVisualizationMode(shown.VIS_MODE_GRID)
    spacing = max(box[1] - box[0], box[3] - box[2], box[5] - box[4]) / GRID_LINES
    shown.SetGridSpacingMm(spacing)
    shown.SetGridResolutionMm(spacing / 5)
    shown.SetVisibility(visible)
    shown.SetVisibility2D(visible)
    shown.SetVisibility3D(False)


def show_surfaces(regions: Any) -> None:
    """Show the regions of a volume in 3-D views as well; a single slice has no surface.

    Args:
        regions: Segmentation node.
    """
    display, segmentation = regions.GetDisplayNode(), regions.GetSegmentation()
    if display is None or segmentation.GetNumberOfSegments() == 0 or _is_flat(regions):
        return
    if regions.CreateClosedSurfaceRepresentation():
        display.SetVisibility3D(True)
        display.SetPreferredDisplayRepresentationName3D("Closed surface")


def _is_flat(regions: Any) -> bool:
    segment = regions.GetSegmentation().GetNthSegment(0)
    data = segment.GetRepresentation("Binary labelmap")
    return data is None or min(data.GetDimensions()) < 2


def set_floor(node: Any, floor: float, scale: float | None = None, hues: colours.Hues = colours.CHANGE) -> None:
    """Colour a map of signed values: full colour at ``scale``, nothing below ``floor``.

    Args:
        node: The volume of the difference or the effect.
        floor: In its units.
        scale: In its units; None: unchanged.
        hues: Colours of both signs.
    """
    display = node.GetDisplayNode()
    scale = display.GetWindow() / 2 if scale is None else scale
    display.SetWindowLevel(2 * scale, 0.0)
    colours.fill(display.GetColorNode(), min(1.0, floor / scale), hues)


def typical_floor(volume: Any) -> float:
    """Return the median reconstruction error where the classifier looked, in the image's units; 0 without a volume."""
    if volume is None:
        return 0.0
    known = volume.GetAttribute(FLOOR)
    return float(known) if known else typical(voxels_of(volume))
