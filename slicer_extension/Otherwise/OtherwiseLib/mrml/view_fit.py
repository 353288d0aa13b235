"""Fit slice views to an image: all of it is seen, in the middle, whatever its size, position and direction.

Only MRML nodes are changed: the field of view and the origin of each slice node. A view that changes its size is fitted
again, until the user zooms or pans in it.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Callable

import numpy as np
import slicer
import vtk

from .volumes import geometry_of

MARGIN = 1.04
"""Field of view as a multiple of the image's extent."""


def fit(node: Any, volume: Any) -> None:
    """Show the whole of a volume in a slice view; the slice that is shown stays.

    Args:
        node: ``vtkMRMLSliceNode``; its orientation is kept.
        volume: The volume, also under a transform.
    """
    corners = _corners(volume)
    to_ras = _matrix(node.GetSliceToRAS())
    in_plane = (corners - to_ras[:3, 3]) @ to_ras[:3, :2]
    low, high = in_plane.min(axis=0), in_plane.max(axis=0)
    width, height, _depth = (max(1, edge) for edge in node.GetDimensions())
    per_pixel = MARGIN * max((high[0] - low[0]) / width, (high[1] - low[1]) / height)
    if per_pixel <= 0:
        return
    node.SetFieldOfView(per_pixel * width, per_pixel * height, node.GetFieldOfView()[2])
    move_in_plane(node, to_ras[:3, 3] + to_ras[:3, :2] @ ((low + high) / 2))


def move_in_plane(node: Any, ras: np.ndarray) -> None:
    """Pan a slice view to a place without changing the slice."""
    to_ras = _matrix(node.GetSliceToRAS())
    moved = to_ras[:3, 3] + to_ras[:3, :2] @ ((np.asarray(ras) - to_ras[:3, 3]) @ to_ras[:3, :2])
    # Somebody's panning is kept apart from the slice's place, and would be added to it.
    node.SetXYZOrigin(0.0, 0.0, 0.0)
    for row in range(3):
        node.GetSliceToRAS().SetElement(row, 3, float(moved[row]))
    node.UpdateMatrices()


def is_in_view(node: Any, ras: tuple[float, float, float]) -> bool:
    """Return whether a place lies within the field of view, as seen along the view's direction."""
    to_ras = _matrix(node.GetSliceToRAS())
    off = (np.asarray(ras) - to_ras[:3, 3]) @ to_ras[:3, :2] - np.array(node.GetXYZOrigin()[:2])
    return bool((np.abs(off) <= np.array(node.GetFieldOfView()[:2]) / 2).all())


class ViewFit:
    """Keeps slice views fitted while their size changes; a view that the user zoomed or panned is left alone.

    A view is fitted once its event is over: what an observer changes within the event reaches the node, but not the
    layers that Slicer draws.

    Args:
        nodes: Returns the slice nodes to keep fitted.
        later: Calls back on the main thread as soon as the present event is over.
    """

    def __init__(self, nodes: Callable[[], list], later: Callable[[Callable[[], None]], None]) -> None:
        self._nodes, self._later = nodes, later
        self._resized: dict[str, Any] = {}
        self._volume: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._fitted: dict[str, tuple] = {}

    def show(self, volume: Any) -> None:
        """Fit every view to a volume, and keep it fitted; None keeps nothing fitted."""
        self.close()
        self._volume = volume
        if volume is None:
            return
        for node in self._nodes():
            self._fit(node)
            self._observed.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._changed)))

    def close(self) -> None:
        """Remove all observers."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed, self._fitted, self._volume = [], {}, None
        self._resized.clear()

    def _changed(self, node: Any, *_unused: object) -> None:
        before = self._fitted.get(node.GetID())
        if before is None or self._volume is None or self._volume.GetScene() is None:
            return
        size, scale, middle = before
        resized = tuple(node.GetDimensions()[:2]) != size
        if not resized and (not np.isclose(scale, _scale(node)) or not np.allclose(middle, _middle(node), atol=0.5)):
            del self._fitted[node.GetID()]
        elif resized:
            if not self._resized:
                self._later(self._fit_resized)
            self._resized[node.GetID()] = node

    def _fit_resized(self) -> None:
        nodes, self._resized = self._resized, {}
        for node in nodes.values() if self._volume is not None and self._volume.GetScene() is not None else ():
            self._fit(node)

    def _fit(self, node: Any) -> None:
        self._fitted.pop(node.GetID(), None)  # so that its own changes do not count as the user's
        fit(node, self._volume)
        self._fitted[node.GetID()] = (tuple(node.GetDimensions()[:2]), _scale(node), _middle(node))


def _scale(node: Any) -> float:
    """Return the millimetres per pixel."""
    return float(node.GetFieldOfView()[0] / max(1, node.GetDimensions()[0]))


def _middle(node: Any) -> np.ndarray:
    """Return the middle of the view in its own plane, in millimetres."""
    to_ras = _matrix(node.GetSliceToRAS())
    return to_ras[:3, :2].T @ to_ras[:3, 3] + np.array(node.GetXYZOrigin()[:2])


def _corners(volume: Any) -> np.ndarray:
    """Return the ``(8, 3)`` outer corners of a volume in the world's RAS millimetres."""
    shape, affine = geometry_of(volume)
    to_world = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(volume.GetParentTransformNode(), None, to_world)
    index = np.array([[*corner, 1.0] for corner in product(*((-0.5, edge - 0.5) for edge in shape))])
    return (index @ (_matrix(to_world) @ affine).T)[:, :3]


def _matrix(matrix: Any) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
