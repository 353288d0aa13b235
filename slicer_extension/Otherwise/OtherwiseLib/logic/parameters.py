"""What is chosen in the panel, kept in the scene and saved with it; never an address, a user or a secret."""

from __future__ import annotations

import slicer
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class Parameters:
    """Typed view of the module's parameter node.

    Attributes:
        volume: The image to explain; None: one of the server's.
        region: Only this part of it.
        sliceIndex: Which slice, where the classifier looks at single ones.
        study: Id of an image of the server.
        target: Class to flip to; empty: the nearest other one.
    """

    volume: slicer.vtkMRMLVolumeNode
    region: slicer.vtkMRMLMarkupsROINode
    sliceIndex: int  # noqa: N815 - Slicer's way
    study: str
    target: str
