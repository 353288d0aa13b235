"""What is drawn in Slicer is the region that the server reads: the same voxels, in the same place of the patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")

from otherwise.annotations.region import RegionMask  # noqa: E402
from otherwise.images.image import Geometry  # noqa: E402
from OtherwiseLib.mrml import segments  # noqa: E402
from OtherwiseLib.samples import phantoms  # noqa: E402

OBLIQUE = np.array([[0.28, -0.96, 0, 12.5], [0.96, 0.28, 0, -7.0], [0, 0, 1.5, 3.25], [0, 0, 0, 1]])
PLACES = {"plain": np.diag([-0.7, -0.7, 1.25, 1.0]), "oblique": OBLIQUE}


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=7)).filter(np.any), st.sampled_from(list(PLACES)))
def test_every_mask_is_read_as_it_was_written(mask: np.ndarray, place: str) -> None:
    affine = PLACES[place]
    read = RegionMask.from_json(segments.mask_json(mask, affine))
    assert read == RegionMask(mask, Geometry(mask.shape, affine)).cropped()
    assert read.on(Geometry(mask.shape, affine)).mask.tolist() == mask.tolist()


@pytest.mark.parametrize("place", PLACES)
def test_a_segment_beside_another_lands_on_the_images_own_voxels(scene: Any, place: str) -> None:
    """Segments that do not overlap share one label map; each is sent alone."""
    affine = PLACES[place]
    volume = phantoms.add_sample(scene, "image", np.zeros((9, 20, 24), np.int16), affine)
    node = segments.new_drawing(scene, volume, "drawn")
    first, second = np.zeros((24, 20, 9), bool), np.zeros((24, 20, 9), bool)
    first[3:7, 2:5, 1:4] = first[5, 5, 5] = True
    second[15:20, 10:12, 7] = True
    ids = [add(node, name, mask, affine) for name, mask in (("first", first), ("second", second))]
    assert segments.segments_of(node) == list(zip(ids, ("first", "second"), strict=True))
    for id, mask in zip(ids, (first, second), strict=True):
        read = RegionMask.from_json(segments.region_of(node, id, volume))
        assert read.geometry.shape < mask.shape
        np.testing.assert_array_equal(read.on(Geometry(mask.shape, affine)).mask, mask)


def test_segments_of_one_label_map_are_told_apart(scene: Any) -> None:
    volume = phantoms.add_sample(scene, "image", np.zeros((4, 8, 8), np.int16), np.eye(4))
    node = segments.new_drawing(scene, volume, "drawn")
    masks = {name: np.zeros((8, 8, 4), bool) for name in ("a", "b")}
    masks["a"][1:3], masks["b"][5:7] = True, True
    ids = {name: add(node, name, mask, np.eye(4)) for name, mask in masks.items()}
    node.GetSegmentation().CollapseBinaryLabelmaps()
    for name, mask in masks.items():
        read = RegionMask.from_json(segments.region_of(node, ids[name], volume))
        np.testing.assert_array_equal(read.on(Geometry((8, 8, 4), np.eye(4))).mask, mask)


def test_transforms_of_drawing_and_image_are_taken_into_account(scene: Any) -> None:
    """The image was moved in the scene, and what was drawn on it was not; the server knows of no such move."""
    import vtk

    affine = PLACES["plain"]
    volume = phantoms.add_sample(scene, "image", np.zeros((9, 20, 24), np.int16), affine)
    moved = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 7.0)
    moved.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(moved.GetID())
    mask = np.zeros((24, 20, 9), bool)
    mask[4:9, 6:8, 2:4] = True
    together = segments.new_drawing(scene, volume, "under the same transform")
    apart = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "in the world")
    for node, seen in ((together, affine), (apart, moved_by(7.0) @ affine)):
        read = RegionMask.from_json(segments.region_of(node, add(node, "drawn", mask, seen), volume))
        np.testing.assert_array_equal(read.on(Geometry(mask.shape, affine)).mask, mask)


def test_what_bends_is_empty_or_gone_is_told(scene: Any) -> None:
    volume = phantoms.add_sample(scene, "image", np.zeros((4, 8, 8), np.int16), np.eye(4))
    node = segments.new_drawing(scene, volume, "drawn")
    empty = node.GetSegmentation().AddEmptySegment("empty")
    blank = add(node, "blank", np.zeros((8, 8, 4), bool), np.eye(4))
    for id in (empty, blank):
        with pytest.raises(segments.RegionError, match="empty"):
            segments.region_of(node, id, volume)
    with pytest.raises(segments.RegionError, match="no longer there"):
        segments.region_of(node, "gone", volume)
    bending = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "bending")
    node.SetAndObserveTransformNodeID(bending.GetID())
    with pytest.raises(segments.RegionError, match="bends"):
        segments.region_of(node, add(node, "one", np.ones((8, 8, 4), bool), np.eye(4)), volume)
    assert segments.segments_of(None) == []


def moved_by(right: float) -> np.ndarray:
    move = np.eye(4)
    move[0, 3] = right
    return move


def add(node: Any, name: str, mask: np.ndarray, affine: np.ndarray) -> str:
    """Add a segment, on a grid that begins elsewhere than at zero."""
    import vtk
    from vtk.util import numpy_support

    image = slicer.vtkOrientedImageData()
    i, j, k = mask.shape
    image.SetExtent(100, 99 + i, -5, j - 6, 3, 2 + k)
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(mask.T).astype(np.uint8).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    start = np.eye(4)
    start[:3, 3] = (-100, 5, -3)
    matrix = vtk.vtkMatrix4x4()
    for row, numbers in enumerate(affine @ start):
        for column, number in enumerate(numbers):
            matrix.SetElement(row, column, number)
    image.SetImageToWorldMatrix(matrix)
    return str(node.AddSegmentFromBinaryLabelmapRepresentation(image, name, [0.9, 0.6, 0.2]))
