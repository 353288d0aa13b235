"""One explanation as a folder: ``explanation.json``, volumes that 3D Slicer opens by hand, and a page to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nrrd
import numpy as np

from otherwise.errors import OtherwiseError
from otherwise.explain.explanation import (
    SCHEMA,
    VALUE_SCHEMA,
    Explanation,
    PathPoint,
    Region,
    Seen,
    Volumes,
    is_large,
)
from otherwise.images.atomic import atomic_folder
from otherwise.images.displacement import read_displacement, write_displacement
from otherwise.images.formats.nrrd import affine_in
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.rounding import step_within
from otherwise.images.writing import SegmentInfo, write_image, write_label_map, write_sequence
from otherwise.report.colours import OKABE_ITO, red_green_blue
from otherwise.report.explanation_json import (
    SEEN_NAME,
    VOLUME_NAMES,
    explanation_from_json,
    explanation_json,
    geometry_from_json,
)
from otherwise.report.words import concept_name

JSON_NAME = "explanation.json"
REPORT_NAME = "report.html"
_WRITERS = 4
OVERVIEW_NAME = "overview.nrrd"


class ReportError(OtherwiseError):
    """An explanation folder is missing, damaged, or would be overwritten."""

    code = "report"
    status = 409


def write_explanation(explanation: Explanation, folder: Path, *, replace: bool = False) -> Path:
    """Write an explanation as a folder that appears whole or not at all.

    Args:
        explanation: What to write. Voxels of bool and float16, which NRRD lacks, come back as uint8 and float32. The
            images of the path, which are there to be looked at, come back in the original's own type. The file of a
            large counterfactual of floats is rounded to 1024 steps of its range, to be small; it is read as original
            plus difference, which are exact.
        folder: The folder to make; by custom its name is the explanation's id.
        replace: Whether an existing folder may be replaced, reports in it included.

    Returns:
        ``folder``.

    Raises:
        ReportError: if the folder exists and must not be replaced.
        WriteError: if the disk is full or the place cannot be written.
        ImageError: if the volumes do not fit each other.
    """
    from otherwise.report.html import write_report  # loads matplotlib, which readers of explanations need not wait for

    folder = Path(folder)
    if not replace:
        refuse_existing(folder)
    volumes = explanation.volumes
    content = explanation_json(explanation)
    with atomic_folder(folder) as temporary:
        names = content["files"]
        images = {names[name]: getattr(volumes, name) for name in VOLUME_NAMES}
        # A find is put back into its image, so that its file holds what the black box was asked about.
        steps = {} if explanation.place else {names["counterfactual"]: _step(volumes.counterfactual)}
        images |= dict(zip(names["alternatives"], volumes.alternatives, strict=True))
        path = _in_type_of(volumes.original, volumes.path)
        if volumes_seen := explanation.seen:
            images[SEEN_NAME] = volumes_seen.image
        if explanation.displacement is not None:
            write_displacement(explanation.displacement, temporary / names["displacement"])
        if explanation.overview is not None:
            images[OVERVIEW_NAME] = explanation.overview
        # Most of the time goes into compression, which does not hold Python's lock.
        with ThreadPoolExecutor(_WRITERS) as writers:
            done = [writers.submit(write_sequence, path, _index_values(explanation.path), temporary / names["path"])]
            done += [
                writers.submit(write_image, image, temporary / name, step=steps.get(name))
                for name, image in images.items()
            ]
            write_label_map(volumes.regions, temporary / names["regions"], _segments(explanation.regions))
            for writing in done:
                writing.result()
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / JSON_NAME).write_text(text + "\n", encoding="utf-8", newline="\n")
        write_report(explanation, temporary / REPORT_NAME)
    return folder


def refuse_existing(folder: Path) -> None:
    """Raise a ReportError if something is there; worth asking before the work."""
    if folder.exists():
        raise ReportError(f"There is already something in {folder.name}.", "Remove it, or choose another name.")


def read_explanation(folder: Path) -> Explanation:
    """Read what :func:`write_explanation` wrote, voxels and geometry to the last bit.

    Args:
        folder: The explanation's folder.

    Raises:
        ReportError: if there is no explanation, or it is damaged or of another schema.
        ImageError: if one of its volumes cannot be read.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
        if content["schema"] not in (SCHEMA, VALUE_SCHEMA):
            raise ReportError(f"{folder.name} has schema {content['schema']!r}, not {SCHEMA}.", "Update Otherwise.")
        found = explanation_from_json(content, _read_volumes(content, folder), _seen(content.get("seen"), folder))
        return replace(found, overview=_overview(folder, found), displacement=_displacement(folder, content["files"]))
    except FileNotFoundError:
        raise ReportError(f"There is no explanation in {folder.name}.", f"Give a folder with {JSON_NAME}.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # What the system says of a file starts with its whole path.
        words = error.strerror if isinstance(error, OSError) else str(error)
        reason = f"{type(error).__name__}: {words}".partition("\n")[0]
        raise ReportError(
            f"The explanation in {folder.name} is damaged ({reason}).", "Copy or make it again."
        ) from error


def _in_type_of(original: Image, images: Sequence[Image]) -> list[Image]:
    """Round images to the original's type where that is whole numbers: half the size for CT, and no less to see."""
    dtype = original.array.dtype
    if not np.issubdtype(dtype, np.integer):
        dtype = np.result_type(*(image.array for image in images)) if images else dtype
        return [image.with_array(image.array.astype(dtype, copy=False)) for image in images]
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return [image.with_array(np.rint(image.array).clip(low, high).astype(dtype)) for image in images]


def _step(image: Image) -> float | None:
    """Return the step to which a large image of floats is rounded; None: another one is written as it is."""
    if not is_large(image.geometry) or not np.issubdtype(image.array.dtype, np.floating):
        return None
    return step_within(float(image.array.max()) - float(image.array.min()))


def _index_values(path: Sequence[PathPoint]) -> list[float]:
    """Return the strengths, or step numbers if the strengths do not ascend, since Slicer sorts by them."""
    strengths = [float(point.strength) for point in path]
    ascending = all(before < after for before, after in pairwise(strengths))
    return strengths if ascending else [float(step) for step in range(len(strengths))]


def _segments(regions: Sequence[Region]) -> list[SegmentInfo]:
    """Name and colour every region; named ones keep their number, by which reports speak of them."""
    infos = []
    for place, region in enumerate(regions):
        name = concept_name(region)
        title = f"region {region.label}: {name}" if name else f"region {region.label}"
        infos.append(SegmentInfo(region.label, title, red_green_blue(OKABE_ITO[place % len(OKABE_ITO)])))
    return infos


def _read_volumes(content: dict[str, Any], folder: Path) -> Volumes:
    names, geometry = content["files"], geometry_from_json(content["geometry"])

    def image(name: str, looked_at: bool = False) -> Image:
        found = read_image(_inside(folder, name))
        return replace(found, geometry=placed(name, found.geometry, looked_at), id=content["image"]["id"])

    def placed(name: str, found: Geometry, looked_at: bool) -> Geometry:
        if found.shape == geometry.shape and np.allclose(found.affine, geometry.affine, atol=1e-6):
            return geometry
        if looked_at and is_large(geometry) and _same_extent(found, geometry):
            return found
        raise ReportError(f"{name} in {folder.name} lies on another grid.", "Copy or make the explanation again.")

    original = image(names["original"])
    difference = image(names["difference"])
    if is_large(geometry) and np.issubdtype(original.array.dtype, np.floating):
        counterfactual = original.with_array(original.array.astype(np.float32) + difference.array)
    else:
        counterfactual = image(names["counterfactual"])
    sequence, grid = _read_sequence(_inside(folder, names["path"]))
    lies = placed(names["path"], grid, looked_at=True)
    return Volumes(
        original=original,
        counterfactual=counterfactual,
        difference=difference,
        effect=image(names["effect"]),
        floor=image(names["floor"]),
        minimal=image(names["minimal"], looked_at=True),
        regions=image(names["regions"]),
        path=tuple(replace(original, array=array, geometry=lies) for array in sequence),
        alternatives=tuple(image(name, looked_at=True) for name in names["alternatives"]),
    )


def _same_extent(one: Geometry, other: Geometry) -> bool:
    """Return whether the outer corners of two grids lie within a hundredth of a voxel of each other."""
    corners = [
        grid.to_ras(np.array([[-0.5] * 3, np.array(grid.shape) - 0.5, [grid.shape[0] - 0.5, -0.5, -0.5]]))
        for grid in (one, other)
    ]
    return bool(np.abs(corners[0] - corners[1]).max() < 0.01 * min(other.spacing))


def _read_sequence(path: Path) -> tuple[list[np.ndarray], Geometry]:
    """Return the images of a sequence, each ``(channels, i, j, k)``, and their grid.

    Images with several channels are listed last.
    """
    try:
        with path.open("rb") as file:
            header = nrrd.read_header(file)
            if "data file" in header or "datafile" in header:  # it could be any file of this machine
                raise ValueError("its voxels lie in another file")
            axis = list(header["kinds"]).index("list")
            voxels = nrrd.read_data(header, file, str(path), index_order="F")
            affine = affine_in(header)
            if affine is None:
                raise ValueError("its grid is not given in full")
    except Exception as error:  # the parser of a damaged file raises anything
        raise ReportError(f"{path.name} is no sequence, or damaged.", "Copy or make the explanation again.") from error
    images = [np.ascontiguousarray(image) for image in np.moveaxis(voxels, axis, 0)]
    images = [image if image.ndim == 4 else image[None] for image in images]
    i, j, k = images[0].shape[1:]
    return images, Geometry((i, j, k), affine)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file of the folder; refuse names that lead outside it."""
    if Path(name).name != name or "\\" in name or name in ("", "..", "."):
        raise ReportError(f"{folder.name} names the file {name!r} outside of itself.", "Do not trust this explanation.")
    return folder / name


def _seen(content: dict[str, Any] | None, folder: Path) -> Seen | None:
    if content is None:
        return None
    low, high = content["window"]
    file = _inside(folder, content["file"])
    if not file.is_file():  # a client may leave it on the server
        return None
    return Seen(read_image(file), (low, high), content["below"], content["above"], content["contract"])


def _displacement(folder: Path, names: dict[str, Any]) -> Image | None:
    """Return the field of a deformation, which a client may leave on the server."""
    file = _inside(folder, names["displacement"]) if "displacement" in names else None
    return read_displacement(file) if file is not None and file.is_file() else None


def _overview(folder: Path, found: Explanation) -> Image | None:
    """Return the picture of the whole image, which a client may leave on the server."""
    file = folder / OVERVIEW_NAME
    if found.place is None or not file.is_file():
        return None
    return replace(read_image(file), id=found.image_id)
