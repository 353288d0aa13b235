"""Turns a 3-D view towards the decisive regions, so that all of them are seen. Only its camera node is touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from .volumes import geometry_of

MARGIN = 1.2
"""Distance of the camera in units of what is just needed."""


def face(scene: Any, name: str, regions: Any, volume: Any) -> None:
    """Look at regions from the front; at those of a single slice from where slice views look, not at its edge.

    Args:
        scene: The scene.
        name: Singleton tag of the ``vtkMRMLViewNode``. Where it has no camera yet nothing happens.
        regions: ``vtkMRMLSegmentationNode``.
        volume: The image of the regions.
    """
    camera = camera_of(scene, name)
    bounds = [0.0] * 6
    regions.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    if camera is None or (low > high).any():
        return
    middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    towards, up = _front(volume)
    distance = MARGIN * radius / np.sin(np.radians(camera.GetViewAngle() / 2))
    before = camera.StartModify()
    camera.SetFocalPoint(*middle)
    camera.SetPosition(*(middle + distance * towards))
    camera.SetViewUp(*up)
    camera.ResetClippingRange()
    camera.EndModify(before)


def camera_of(scene: Any, name: str) -> Any:
    """Return the ``vtkMRMLCameraNode`` of a 3-D view, or None where there is none yet."""
    view = scene.GetSingletonNode(name, "vtkMRMLViewNode")
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLCameraNode") if view is not None else 0):
        camera = scene.GetNthNodeByClass(number, "vtkMRMLCameraNode")
        if camera.GetLayoutName() == view.GetLayoutName():
            return camera
    return None


def _front(volume: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return where the camera stands and what is up, as directions in RAS.

    A volume is seen from the patient's front. A single slice is seen along its normal from the side on which slice
    views stand: from below, from the front or from the left, whichever is nearest.
    """
    front, up = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    shape, affine = geometry_of(volume)
    if shape[2] > 1:
        return front, up
    normal = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    axis = int(np.abs(normal).argmax())
    stands = np.array([(-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)][axis])
    upward = np.array([0.0, 1.0, 0.0]) if axis == 2 else up
    normal = normal if normal @ stands > 0 else -normal
    upward = upward - (upward @ normal) * normal
    return normal, upward / np.linalg.norm(upward)
