"""How volumes look: the same window for all images, and colours centred at zero for signed maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import colours
from .volumes import voxels_of


def show_images(scene: Any, nodes: dict[str, Any]) -> None:
    """Same window and level for all images of an explanation; diverging colours for change and effect.

    Args:
        scene: Gets the colour tables.
        nodes: The explanation's volumes by role.
    """
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
    typical = typical_floor(nodes["floor"])
    show_signed(scene, nodes["difference"], "Otherwise change", colours.CHANGE, typical)
    show_signed(scene, nodes["effect"], "Otherwise effect", colours.EFFECT)
    nodes["floor"].CreateDefaultDisplayNodes()


def show_signed(scene: Any, node: Any, name: str, hues: colours.Hues, floor: float | None = None) -> None:
    """Colour a map of signed values, transparent about zero.

    Args:
        scene: Gets the colour table.
        node: The volume.
        name: Of the colour table.
        hues: Colours of both signs.
        floor: In the map's units: nothing is shown below it; None: a twentieth of the largest value.
    """
    largest = float(np.abs(voxels_of(node)).max())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    table.SetHideFromEditors(True)
    display.SetAndObserveColorNodeID(table.GetID())
    display.SetAutoWindowLevel(False)
    scale = max(largest, 2 * floor) if floor is not None else largest
    set_floor(node, 0.05 * largest if floor is None else floor, scale or 1.0, hues)


def show_surfaces(regions: Any) -> None:
    """Let the regions of a volume be seen in 3-D views as well; a single slice has no surface.

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
