"""Sample data that is drawn here and never downloaded: a phantom mammogram and a phantom CT nodule.

They are simple pictures to try the module with; the phantoms with known truth are drawn by ``otherwise phantoms``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from ..mrml.volumes import add_volume

MAMMOGRAM, NODULE = "OtherwiseMammogram", "OtherwiseNodule"


def mammogram(seed: int = 7, edge: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """Draw a breast with a spiculated mass.

    Returns:
        ``(1, edge, edge)`` float32 in [0, 1], and the ``(4, 4)`` matrix from voxel index to RAS millimetres.
    """
    rng = np.random.default_rng(seed)
    j, i = np.mgrid[:edge, :edge] / edge
    inside = _smooth(1 - np.hypot(i / 0.85, (j - 0.5) / 0.46), 0.05)
    tissue = 0.35 + 0.12 * _clouds(rng, (edge, edge), 1.6)
    x, y = i - 0.42, j - 0.47
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    mass = 0.28 * _smooth(0.07 - distance, 0.02)
    for direction in rng.uniform(-np.pi, np.pi, 14):
        off = np.abs(np.angle(np.exp(1j * (angle - direction)))) * distance
        length = rng.uniform(0.1, 0.16)
        mass += 0.2 * np.exp(-((off / 0.006) ** 2)) * _smooth(length - distance, 0.03) * (distance > 0.05)
    image = inside * (tissue + mass) + 0.01 * rng.standard_normal((edge, edge))
    return image.clip(0, 1).astype(np.float32)[None], np.diag([48 / edge, 48 / edge, 1.0, 1.0])


def nodule(seed: int = 7, shape: tuple[int, int, int] = (24, 48, 48)) -> tuple[np.ndarray, np.ndarray]:
    """Draw lung with a solid, spiculated nodule and a vessel.

    Returns:
        ``shape`` int16 in HU, and the ``(4, 4)`` matrix from voxel index to RAS millimetres.
    """
    rng = np.random.default_rng(seed)
    spacing = np.array([1.25, 0.7, 0.7])
    index = np.mgrid[: shape[0], : shape[1], : shape[2]]
    place = [(axis - (edge - 1) / 2) * step for axis, edge, step in zip(index, shape, spacing)]
    distance = np.sqrt(sum(axis**2 for axis in place))
    solid = _smooth(5.0 - distance, 0.8)
    for direction in rng.standard_normal((10, 3)):
        direction /= np.linalg.norm(direction)
        along = sum(axis * part for axis, part in zip(place, direction))
        off = np.sqrt(np.maximum(distance**2 - along**2, 0))
        solid = np.maximum(solid, _smooth(0.7 - off, 0.4) * ((along > 0) & (along < 9)))
    vessel = _smooth(1.4 - np.hypot(place[0] - 4, place[1] + 7), 0.5)
    hu = -850 + 60 * _clouds(rng, shape, 1.2) + 900 * np.maximum(solid, vessel) + 15 * rng.standard_normal(shape)
    return hu.astype(np.int16), np.diag([-0.7, -0.7, 1.25, 1.0])


def add_sample(scene: Any, name: str, voxels: np.ndarray, affine: np.ndarray) -> Any:
    """Make a volume of ``(k, j, i)`` voxels with a default display."""
    node = add_volume(scene, name, voxels, affine)
    node.CreateDefaultDisplayNodes()
    return node


def register() -> None:
    """Offer both in the Sample Data module."""
    import SampleData

    for name, draw in ((MAMMOGRAM, mammogram), (NODULE, nodule)):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="Otherwise",
            sampleName=name,
            uris="",
            fileNames=None,
            nodeNames=name,
            customDownloader=lambda source, name=name, draw=draw: [add_sample(slicer.mrmlScene, name, *draw())],
        )


def _smooth(distance: np.ndarray, width: float) -> np.ndarray:
    """Return 1 where ``distance`` is positive, 0 where negative, with a soft step between."""
    return 1 / (1 + np.exp(-np.clip(distance / (width / 4), -50, 50)))


def _clouds(rng: np.random.Generator, shape: tuple[int, ...], slope: float) -> np.ndarray:
    """Return noise whose spectrum falls with the frequency, of mean 0 and standard deviation 1."""
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(edge) for edge in shape], indexing="ij")))
    frequency.flat[0] = np.inf
    noise = np.fft.ifftn(np.fft.fftn(rng.standard_normal(shape)) / frequency**slope).real
    return (noise - noise.mean()) / noise.std()
