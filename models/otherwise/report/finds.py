"""The finds of a large image: a picture of each in its surroundings, and a page that lists them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from otherwise.blackbox.protocol import BlackBox
from otherwise.explain.placed import around
from otherwise.finding.find import Find
from otherwise.images.atomic import atomic_folder
from otherwise.images.image import Image
from otherwise.report import figures, words
from otherwise.report.find_values import PROBABLE, Cell, FindWords
from otherwise.report.pages import pages
from otherwise.report.panels import FigurePanel, Outline, extent
from otherwise.report.planes import Voxel, planes_through
from otherwise.warning import AnswerWarning

CONTEXT = 0.5
"""Share of the patch that its picture shows around it on either side."""
SIDE = 200
"""Longest side of a picture in pixels."""
BOX = (94, 230, 255)
"""Colour of the patch's border."""
REPORT_NAME = "finds.html"
CONTENT_NAME = "finds.json"
Window = tuple[float, float]


@dataclass(frozen=True)
class _Row:
    """One find of the page."""

    find: Find
    panel: FigurePanel
    centre: str
    cells: list[Cell]


def thumbnail(image: Image, find: Find, window: Window) -> bytes:
    """Return the slice through a find's middle, with the patch's border and surroundings, in true proportions.

    Args:
        image: The whole image.
        find: One of its finds.
        window: Values that become black and white; the classifier's own shows what it sees.

    Returns:
        PNG; its longest side has ``SIDE`` pixels.
    """
    begin, stop = around(find, image, CONTEXT)
    part = image.crop(begin, stop)
    plane = planes_through(part.geometry, part.dimension, _middle(part, find))[0]
    pixels = figures.grey(figures.reduce(plane.cut(part.array), SIDE), window)
    scale = SIDE / max(plane.width_mm, plane.height_mm)
    size = (max(1, round(plane.width_mm * scale)), max(1, round(plane.height_mm * scale)))
    picture = Picture.fromarray(np.ascontiguousarray(pixels)).resize(size, Picture.Resampling.BICUBIC)
    low, high = np.array(find.low) - begin, np.array(find.high) - begin
    left, right = (share * size[0] for share in extent(plane.columns, plane.flip_columns, low, high, part))
    top, bottom = (share * size[1] for share in extent(plane.rows, plane.flip_rows, low, high, part))
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=BOX)
    return figures.png(np.asarray(picture))


def describe(image: Image, find: Find, window: Window) -> dict[str, Any]:
    """Return a find as JSON for clients that draw it: its box in RAS, its directions, its picture as a data URI.

    Returns:
        The find's own fields, ``box_ras`` (least, then largest R, A, S of its outer edges), ``axes`` (the unit vectors
        of i, j and k in RAS) and ``thumbnail``.
    """
    axes = image.geometry.affine[:3, :3] / image.geometry.spacing
    return {
        **asdict(find),
        "box_ras": box_ras(image, find),
        "axes": axes.T.tolist(),
        "thumbnail": figures.data_uri(thumbnail(image, find, window)),
    }


def box_ras(image: Image, find: Find) -> list[float]:
    """Return least, then largest R, A, S of a find's outer edges; exact if the image's axes are the patient's."""
    edges = np.array([find.low, find.high]) - 0.5
    places = image.geometry.to_ras(np.array(list(product(*edges.T))))
    return [*places.min(axis=0).tolist(), *places.max(axis=0).tolist()]


def write_finds(
    image: Image,
    finds: Sequence[Find],
    classifier: BlackBox,
    folder: Path,
    warnings: Sequence[AnswerWarning] = (),
) -> Path:
    """Write ``finds.json`` and a self-contained page ``finds.html``.

    Args:
        image: The whole image.
        finds: Best first.
        classifier: What found them.
        folder: New, or empty.
        warnings: Reasons to doubt the finds.

    Returns:
        The page.

    Raises:
        WriteError: if the disk refuses.
    """
    window, find_words = classifier.inputs.intensity, FindWords.of(classifier)
    described = [describe(image, find, window) for find in finds]
    content = {
        "image": {"id": image.id, "sha256": image.sha256, "unit": image.unit},
        "classifier": {"name": classifier.name, "version": classifier.version},
        "warnings": [asdict(warning) for warning in warnings],
        "finds": described,
    }
    page = (
        pages()
        .get_template("finds.html.j2")
        .render(
            image=image,
            classifier=classifier,
            find_words=find_words,
            result=find_words.result(finds),
            warnings=[warning.text for warning in warnings],
            overview=_overview(image, finds, window) if image.dimension == 2 else None,
            centre_heading=words.centre_heading(image.unit),
            rows=[
                _Row(
                    find, _panel(each["thumbnail"], find), words.centre(image, find.centre_ras), find_words.cells(find)
                )
                for find, each in zip(finds, described, strict=True)
            ],
        )
    )
    with atomic_folder(folder) as draft:
        (draft / CONTENT_NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (draft / REPORT_NAME).write_text(page, encoding="utf-8", newline="\n")
    return folder / REPORT_NAME


def _panel(thumbnail: str, find: Find) -> FigurePanel:
    return FigurePanel(thumbnail, f"Find {find.rank} and what is around it", *_proportions(thumbnail))


def _proportions(uri: str) -> tuple[float, float]:
    with Picture.open(io.BytesIO(figures.from_data_uri(uri))) as picture:
        width, height = picture.size
    return 100 * width / max(width, height), 100 * height / max(width, height)


def _overview(image: Image, finds: Sequence[Find], window: Window) -> FigurePanel:
    """Return the whole plane with the numbered boxes of its finds."""
    (plane,) = planes_through(image.geometry, 2, (0, 0, 0))
    longest = max(plane.width_mm, plane.height_mm)
    width, height = 100 * plane.width_mm / longest, 100 * plane.height_mm / longest
    outlines = []
    for find in finds:
        low, high = np.array(find.low), np.array(find.high)
        left, right = extent(plane.columns, plane.flip_columns, low, high, image)
        top, bottom = extent(plane.rows, plane.flip_rows, low, high, image)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        d = "M" + "L".join(f"{x * width:.2f} {y * height:.2f}" for x, y in corners) + "Z"
        outlines.append(Outline(find.rank, d, 100 * left + 0.6, 100 * top + 2.5, find.probability >= PROBABLE))
    pixels = figures.grey(figures.reduce(plane.cut(image.array)), window)
    src = figures.data_uri(figures.png(pixels))
    return FigurePanel(src, f"{image.id} with its finds", width, height, outlines=tuple(outlines))


def _middle(part: Image, find: Find) -> Voxel:
    index = np.round(part.geometry.to_index(np.array(find.centre_ras))).astype(int)
    i, j, k = (int(x) for x in np.clip(index, 0, np.array(part.geometry.shape) - 1))
    return (i, j, k)
