"""DICOM sources of every shape, explanations of them, and how another program would read what we write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

from otherwise.explain.explanation import Explanation, Place, Volumes
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.phantoms.dicom import write_dicom as write_phantom
from support.enhanced_dicom import enhanced

Box = tuple[tuple[int, int, int], tuple[int, int, int]]
Explained = Callable[..., Explanation]
KINDS = ("oblique CT", "plane in space", "mammogram", "enhanced CT")


@pytest.fixture
def source(explain: Callable[..., Explanation], tmp_path: Path) -> Callable[[str], Path]:
    """Write a source of one of the ``KINDS``."""

    def write(kind: str) -> Path:
        dimension = 2 if kind in ("plane in space", "mammogram") else 3
        image = explain(dimension).volumes.original
        if dimension == 2:
            path = write_phantom(image.with_array(image.array.clip(0, 1)), tmp_path / "plane.dcm")
            return _as_mammogram(path) if kind == "mammogram" else path
        series = write_phantom(image.with_array(image.array.clip(-1024, 3071)), tmp_path / "series")
        return _as_enhanced(series) if kind == "enhanced CT" else series

    return write


def _as_mammogram(path: Path) -> Path:
    """Without a place in space, as mammograms are (PS3.3 A.26)."""
    data = pydicom.dcmread(path)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "SliceThickness"):
        delattr(data, name)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    data.ImagerPixelSpacing = data.PixelSpacing
    del data.PixelSpacing
    data.PatientOrientation = ["A", "F"]
    data.save_as(path, write_like_original=False)
    return path


def _as_enhanced(series: Path) -> Path:
    path = series.with_suffix(".dcm")
    enhanced(sorted(series.iterdir())).save_as(path, write_like_original=False)
    return path


@pytest.fixture
def explained(explain: Callable[..., Explanation]) -> Explained:
    """Explain an image, or a box of it: two regions with odd borders, one of them unnamed, labelled 3 and 1."""

    def make(path: Path, box: Box | None = None, **changes: Any) -> Explanation:
        image, base = read_image(path), explain(2)
        original = image.crop(*box) if box else image
        shape = original.geometry.shape
        axes = [(np.linspace(-1, 1, count) if count > 1 else np.zeros(1)).astype(np.float32) for count in shape]
        i, j, k = np.meshgrid(*axes, indexing="ij", sparse=True)
        labels = np.zeros(shape, np.uint8)
        labels[np.hypot(i - 0.2, j) + np.abs(k) < 0.4] = 3
        labels[np.hypot(i + 0.5, j + 0.3) + np.abs(k - 0.2) / 2 < 0.3] = 1
        effect = np.zeros(shape, np.float32)  # log-odds of one voxel
        effect[labels > 0] = 0.004 * np.random.default_rng(5).standard_normal(int((labels > 0).sum()))
        change = np.repeat((37.5 * effect)[None], image.array.shape[0], axis=0)

        def on(array: np.ndarray) -> Image:
            return original.with_array(array)

        counterfactual = on(original.array + change)
        regions = tuple(
            replace(region, label=label, volume_mm3=float((labels == label).sum() * original.geometry.voxel_volume))
            for region, label in zip(base.regions, (3, 1), strict=True)
        )
        volumes = Volumes(
            original=original,
            counterfactual=counterfactual,
            difference=on(change),
            effect=on(effect[None]),
            floor=on(np.ones_like(effect)[None]),
            regions=on(labels[None]),
            minimal=counterfactual,
            path=(original,) * len(base.path),
        )
        whole = {"benign": 0.2, "malignant": 0.8}, {"benign": 0.7, "malignant": 0.3}
        place = Place(image.geometry.shape, *box, *whole) if box else None
        fields = {"image_sha256": image.sha256, "volumes": volumes, "regions": regions, "place": place}
        return replace(base, **{"alternatives": (), **fields, **changes})

    return make


@pytest.fixture
def put_back() -> Callable[..., np.ndarray]:
    return put_frames_back


def put_frames_back(data: Dataset, frames: np.ndarray, whole: Geometry, onto: np.ndarray) -> np.ndarray:
    """Put frames ``(n, rows, columns)`` where their own headers say, in the grid of the source, to a millionth of a mm.

    Args:
        data: The object, as pydicom reads it.
        frames: Its pixels, in its order.
        whole: Grid of the source.
        onto: ``(i, j, k)``; each frame replaces what is there, but zeros do not.
    """
    shared = data.SharedFunctionalGroupsSequence[0]
    right, down = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    flip = np.array([-1.0, -1.0, 1.0])  # LPS to RAS
    np.testing.assert_allclose(flip * right * between_columns, whole.affine[:3, 0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(flip * down * between_rows, whole.affine[:3, 1], rtol=0, atol=1e-6)
    for frame, pixels in zip(data.PerFrameFunctionalGroupsSequence, frames, strict=True):
        position = flip * np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        i, j, k = (int(x) for x in np.rint(whole.to_index(position)))
        np.testing.assert_allclose(whole.to_ras(np.array([i, j, k])), position, rtol=0, atol=1e-6)
        rows, columns = pixels.shape
        part = onto[i : i + columns, j : j + rows, k]
        part[pixels.T != 0] = pixels.T[pixels.T != 0]
    return onto


def whole_volume(explanation: Explanation, volume: np.ndarray) -> np.ndarray:
    """A volume ``(i, j, k)`` of an explanation in the grid of the whole image, zero elsewhere."""
    if explanation.place is None:
        return volume
    whole = np.zeros(explanation.place.shape, volume.dtype)
    box = zip(explanation.place.low, explanation.place.high, strict=True)
    whole[tuple(slice(low, high) for low, high in box)] = volume
    return whole


@pytest.fixture
def in_whole() -> Callable[[Explanation, np.ndarray], np.ndarray]:
    return whole_volume
