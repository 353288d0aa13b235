"""Read and check an explanation's folder. It takes time, so call it on a job's thread."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import nrrd

SCHEMA = "otherwise.explanation/1"
VALUE_SCHEMA = "otherwise.explanation/2"
"""Of models that say a value."""
SCHEMAS = (SCHEMA, VALUE_SCHEMA)
VOLUMES = ("original", "counterfactual", "difference", "effect", "floor", "minimal")
LOOKED_AT = ("minimal", "path")
"""Roles whose images may have a coarser grid of the same extent."""
READERS = 4
"""Files that are read at the same time; most of the work is decompression, which releases Python's lock."""


class SceneError(Exception):
    """An explanation is damaged, or does not fit the scene; the text is for people."""


class Grid(NamedTuple):
    """Voxels with their geometry.

    Attributes:
        voxels: ``(k, j, i)`` or ``(k, j, i, channels)``.
        affine: ``(4, 4)`` from voxel index to RAS millimetres.
    """

    voxels: np.ndarray
    affine: np.ndarray

    def same_place(self, other: Grid) -> bool:
        """Return whether both have the same grid, to a ten thousandth of a millimetre."""
        return self.voxels.shape[:3] == other.voxels.shape[:3] and np.allclose(self.affine, other.affine, 0, 1e-4)

    def same_extent(self, other: Grid) -> bool:
        """Return whether both fill the same box, to a hundredth of the other's voxel; this one may be coarser."""
        corners = []
        for grid in (self, other):
            counts = np.array(grid.voxels.shape[2::-1], float)
            index = np.array([[-0.5, -0.5, -0.5], counts - 0.5, [counts[0] - 0.5, -0.5, -0.5]])
            corners.append(index @ grid.affine[:3, :3].T + grid.affine[:3, 3])
        step = np.linalg.norm(other.affine[:3, :3], axis=0).min()
        return bool(np.abs(corners[0] - corners[1]).max() < 0.01 * step)


@dataclass(frozen=True)
class ExplanationFiles:
    """The contents of an explanation's files.

    Attributes:
        content: ``explanation.json``.
        volumes: Volumes by role, see ``VOLUMES``; all of the same extent.
        path: Images from the original over the boundary and beyond, of the same extent.
        path_affine: ``(4, 4)`` from voxel index of the path's images to RAS millimetres.
        regions: Label map of the decisive regions; a file, since Slicer itself reads segmentations.
        report: The page to read.
        floor: Median reconstruction error where the classifier looked, in the image's units.
        largest: Largest absolute value of the difference and of the effect.
        displacement: Of an image that was only deformed: the field, a file, since Slicer itself reads transforms.
    """

    content: dict
    volumes: dict[str, Grid]
    path: list[np.ndarray]
    path_affine: np.ndarray
    regions: Path
    report: str
    floor: float
    largest: dict[str, float]
    displacement: Path | None = None


class ExplanationReader:
    """Reads an explanation while its files are downloaded."""

    def __init__(self) -> None:
        self._readers = ThreadPoolExecutor(READERS)
        self._volumes: dict[str, Future[nrrd.Voxels]] = {}

    def begin(self, path: Path) -> None:
        """Begin to read a volume or a list of volumes; other files are read by ``finish``."""
        if path.name.endswith(".nrrd") and not path.name.endswith(".seg.nrrd") and path.name not in self._volumes:
            self._volumes[path.name] = self._readers.submit(nrrd.read, path)

    def finish(self, folder: Path) -> ExplanationFiles:
        """Read the rest, and check that all fits together.

        Raises:
            SceneError: if a file is missing, damaged, or lies elsewhere than the others.
        """
        content = read_json(folder)
        names = content["files"]
        try:
            for role in ("path", *VOLUMES):
                self.begin(folder / names[role])
            regions = folder / names["regions"]
            nrrd.check(regions)
            displacement = folder / names["displacement"] if "displacement" in names else None
            if displacement is not None:
                self._check_displacement(displacement)
            report = (folder / "report.html").read_text(encoding="utf-8")
            frames = self._volumes[names["path"]].result()
            found = {role: _grid(self._volumes[names[role]].result(), names[role]) for role in VOLUMES}
        except nrrd.NrrdError as error:
            raise SceneError(f"{error} Explain the image again.") from error
        except (OSError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise SceneError("The explanation is incomplete. Explain the image again.") from error
        if not frames.listed or len(frames.voxels) != len(content["counterfactual"]["path"]):
            raise SceneError("The path is incomplete. Explain the image again.")
        for name, grid in {**found, "path": Grid(frames.voxels[0], frames.affine)}.items():
            # Of a large image, what is only looked at lies on a coarser grid.
            coarse = name in LOOKED_AT and grid.same_extent(found["original"])
            if not (coarse or grid.same_place(found["original"])):
                raise SceneError(f"The {name} lies elsewhere than the image. Explain the image again.")
        largest = {role: float(np.abs(found[role].voxels).max()) for role in ("difference", "effect")}
        floor = typical(found["floor"].voxels)
        images = list(frames.voxels)
        return ExplanationFiles(content, found, images, frames.affine, regions, report, floor, largest, displacement)

    def _check_displacement(self, path: Path) -> None:
        """Make sure that a file holds three components a voxel, as Slicer's reader of transforms expects."""
        self.begin(path)
        if self._volumes[path.name].result().voxels.shape[3:] != (3,):
            raise nrrd.NrrdError(f"{path.name} holds no displacements.")

    def close(self) -> None:
        """Stop the reading threads."""
        self._readers.shutdown()


def read(folder: Path) -> ExplanationFiles:
    """Read an explanation whose files are all there; see ``ExplanationReader``."""
    reading = ExplanationReader()
    try:
        return reading.finish(folder)
    finally:
        reading.close()


def place_of(region: dict, content: dict) -> tuple:
    """Return where a region's centre lies in the scene: of an image without millimetres, where its voxels are shown."""
    if region["centroid_ras"] is not None:
        return tuple(region["centroid_ras"])
    affine = np.array(content["geometry"]["affine"], float)
    return tuple((affine[:3, :3] @ region["centroid_index"] + affine[:3, 3]).tolist())


def read_json(folder: Path) -> dict:
    """Read and check ``explanation.json``."""
    try:
        content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
        if content["schema"] not in SCHEMAS:
            raise SceneError(f"The explanation has schema {content['schema']!r}, not {SCHEMA}. Update the module.")
        names = content["files"]
        _ = content["image"]["id"], content["counterfactual"]["path"][0], content["regions"], names["path"]
        _ = [names[role] for role in (*VOLUMES, "regions")]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise SceneError("The explanation cannot be read. Explain the image again.") from error
    return content


def read_grid(path: Path) -> Grid:
    """Read one volume.

    Raises:
        SceneError: if it is damaged, or no volume.
    """
    try:
        return _grid(nrrd.read(path), path.name)
    except nrrd.NrrdError as error:
        raise SceneError(f"{error} Ask again.") from error


def typical(floor: np.ndarray) -> float:
    """Return the median of the positive values; 0 if there is none."""
    return float(np.median(floor[floor > 0])) if (floor > 0).any() else 0.0


def _grid(image: nrrd.Voxels, name: str) -> Grid:
    if image.listed:
        raise nrrd.NrrdError(f"{name} is a list of volumes.")
    return Grid(image.voxels, image.affine)
