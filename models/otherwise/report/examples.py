"""Example patches: small pictures, cut out of images, that show the meaning of a term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from otherwise.annotations.region import RegionMask
from otherwise.annotations.vocabulary import Key
from otherwise.images.image import Image
from otherwise.report import figures
from otherwise.report.panels import surroundings
from otherwise.report.planes import ViewPlane, planes_through

SIDE = 192
"""Longest side of a patch in pixels."""
LEAST = 16
"""Least voxels across what is shown of the finer axis, so that a region of few voxels keeps something around it."""
_LINE, _HALO = (94, 230, 255), (11, 14, 19)


@dataclass(frozen=True, eq=False)
class ExamplePatch:
    """A small picture of a named region.

    Attributes:
        pixels: uint8 ``(rows, columns)``, or ``(rows, columns, 3)`` in colour, in true proportions.
        title: Where it comes from, in a few words; never a patient's name.
    """

    pixels: np.ndarray
    title: str

    @property
    def rgb(self) -> np.ndarray:
        """Return the picture: ``(rows, columns, 3)`` uint8."""
        return self.pixels if self.pixels.ndim == 3 else np.repeat(self.pixels[..., None], 3, axis=2)

    @property
    def src(self) -> str:
        """Return the picture as PNG in a data URI."""
        return figures.data_uri(figures.png(self.rgb))


Examples = Mapping[Key, Sequence[ExamplePatch]]
"""Patches by scheme and code of the term that they show, the best first."""


def cut_patch(image: Image, region: RegionMask, title: str, window: tuple[float, float] | None = None) -> ExamplePatch:
    """Cut out a region with what is around it, displayed as radiologists see it, its border drawn.

    A region of a volume is shown on the slice across k that holds most of it; one that was drawn on a slice across
    another axis, on that slice. What is around is half as large again as the whole region.

    Args:
        image: What the region lies in.
        region: On any grid.
        title: Of the patch.
        window: Values that become black and white; None: as in the report of this image.

    Returns:
        A patch whose longest side has ``SIDE`` pixels.

    Raises:
        RegionError: if the region lies outside the image.
    """
    inside = region.on(image.geometry).mask
    plane = _plane(image, inside)
    whole = replace(plane, index=0).cut(inside.any(axis=plane.axis, keepdims=True))
    millimetres = (plane.height_mm / whole.shape[0], plane.width_mm / whole.shape[1])
    rows, columns = surroundings(whole, plane, LEAST * min(millimetres))
    pixels = figures.grey(plane.cut(image.array)[:, rows, columns], window or figures.intensity_window(image.array))
    height, width = (step * (part.stop - part.start) for step, part in zip(millimetres, (rows, columns), strict=True))
    scale = SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Picture.fromarray(np.ascontiguousarray(pixels)).resize(size, Picture.Resampling.BICUBIC)
    _draw_border(picture, plane.cut(inside)[rows, columns])
    return ExamplePatch(np.asarray(picture), title)


def _plane(image: Image, inside: np.ndarray) -> ViewPlane:
    """Return the slice that shows a region best: across the axis along which it is one voxel thick, k before others."""
    counts = [inside.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    i, j, k = (int(count.argmax()) for count in counts)
    planes = planes_through(image.geometry, image.dimension, (i, j, k))
    return next((plane for plane in planes if np.count_nonzero(counts[plane.axis]) == 1), planes[0])


def _draw_border(picture: Picture.Image, mask: np.ndarray) -> None:
    """Draw a mask's border: a line in the colour of the report's outlines, on a dark one; thinner on a narrow strip,
    which it would hide otherwise."""
    share = min(1.0, min(picture.size) / (SIDE // 3))
    pen = ImageDraw.Draw(picture)
    lines = [[(x, y) for x, y in (*line, line[0])] for line in figures.contours(mask, *picture.size)]
    for colour, thickness in ((_HALO, 7), (_LINE, 4)):
        for line in lines:
            pen.line(line, fill=colour, width=max(1, round(thickness * share)), joint="curve")
