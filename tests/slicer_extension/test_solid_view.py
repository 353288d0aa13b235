"""The 3-D view shows the decisive regions whole and from their front, wherever they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")

from OtherwiseLib.mrml import explanations, layouts, solid_view  # noqa: E402
from OtherwiseLib.samples import self_test  # noqa: E402

ASPECT = 1.5
TURNED = np.array([[0.8, 0.0, 0.6], [0.0, 1.0, 0.0], [-0.6, 0.0, 0.8]])
"""About the A axis, by 37 degrees."""
PLANES = {
    "axial": np.diag([1.0, 1.0, 1.0]),
    "sagittal": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    "coronal": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
    "oblique": TURNED,
}


def seen_corners(camera: Any, regions: Any, axes: np.ndarray) -> np.ndarray:
    """``(8, 2)``: where corners of the regions' box are seen; -1 and 1 are the edges of the view."""
    bounds = [0.0] * 6
    regions.GetRASBounds(bounds)
    vtk_camera = camera.GetCamera()
    matrix = vtk_camera.GetCompositeProjectionTransformMatrix(ASPECT, -1, 1)
    places = []
    for number in range(8):
        corner = [bounds[2 * axis + (number >> axis & 1)] for axis in range(3)]
        x, y, _z, w = matrix.MultiplyPoint([*corner, 1.0])
        places.append((x / w, y / w))
    return np.array(places)


@pytest.mark.parametrize("slices", [1, 24])
@pytest.mark.parametrize("offset", [0.0, 140.0])
@pytest.mark.parametrize("plane", PLANES)
def test_regions_fill_the_view_and_are_seen_from_the_front(
    scene: Any, tmp_path: Path, plane: str, offset: float, slices: int
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = PLANES[plane]
    affine[:3, 3] = [offset, -offset, offset / 2]
    voxels = np.random.default_rng(3).normal(size=(slices, 48, 48)).astype(np.float32)
    shown = explanations.show(scene, self_test.write_synthetic_explanation(tmp_path, voxels, affine))
    view = slicer.vtkMRMLViewNode()
    view.SetSingletonTag(layouts.SOLID)
    view.SetLayoutName(layouts.SOLID)
    scene.AddNode(view)
    solid_view.face(scene, layouts.SOLID, shown.get("regions"), shown.get("original"))
    camera = slicer.vtkMRMLCameraNode()
    camera.SetLayoutName(layouts.SOLID)
    scene.AddNode(camera)
    solid_view.face(scene, layouts.SOLID, shown.get("regions"), shown.get("original"))
    corners = seen_corners(camera, shown.get("regions"), affine)
    assert np.abs(corners).max() <= 1.0, "nothing is cut off"
    assert np.abs(corners.mean(axis=0)).max() < 0.1, "in the middle"
    width, height = np.ptp(corners, axis=0) * [ASPECT, 1.0]
    assert max(width, height) > 0.8, "and not a speck"
    if slices == 1:
        assert min(width, height) > 0.5, "not from the edge"
