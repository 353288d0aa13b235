"""The user's choices in the panel, saved with the scene; never an address, a user or a secret."""

from __future__ import annotations

from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

MOST_NOISE = 0.5
"""Most noise that the server takes."""


@parameterNodeWrapper
class Parameters:
    """Typed view of the module's parameter node.

    Attributes:
        volume: The image to explain; None: one of the server's.
        region: Only this part of it.
        sliceIndex: Which slice, where the classifier looks at single ones.
        study: Id of an image of the server.
        target: Class to flip to; empty: the nearest other one.
        noise: Explain the mean answer under noise of this share of the intensity range; 0: the answer itself.
        shapeOnly: Whether the image may only be deformed.
    """

    volume: slicer.vtkMRMLVolumeNode
    region: slicer.vtkMRMLMarkupsROINode
    sliceIndex: int  # noqa: N815 - Slicer's way
    study: str
    target: str
    noise: Annotated[float, WithinRange(0.0, MOST_NOISE)] = 0.0
    shapeOnly: bool = False  # noqa: N815 - Slicer's way
