"""The panels of a report: pictures with outlines and numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from otherwise.explain.explanation import Explanation, Place, Region
from otherwise.images.image import Image
from otherwise.report import figures
from otherwise.report.deformed_grid import grid_lines
from otherwise.report.planes import ViewPlane, planes_through, strongest_voxel

SMALL_SIDE = 480
"""Longest side in pixels of pictures that are never shown large."""
WEAK = 0.05
"""Effects below this share of the strongest are left uncoloured."""


@dataclass(frozen=True)
class Outline:
    """The border of a region over a panel.

    Attributes:
        label: The region's number.
        d: SVG path in the panel's units.
        left, top: Where its number stands, in per cent of the panel.
        evidence: False: drawn dashed, its change is below the reconstruction floor.
    """

    label: int
    d: str
    left: float
    top: float
    evidence: bool


@dataclass(frozen=True)
class FigurePanel:
    """One picture.

    Attributes:
        src: PNG as data URI.
        alt: What it shows, for those who cannot see it.
        width, height: In the proportions of the patient, the longer one 100.
        caption: Which plane; empty for 2-D.
        letters: Patient directions at the left, right, top and bottom edge; empty for 2-D.
        outlines: Borders of regions.
        grid: Lines over the picture: an SVG path in its units; empty: none.
    """

    src: str
    alt: str
    width: float
    height: float
    caption: str = ""
    letters: tuple[str, ...] = ()
    outlines: tuple[Outline, ...] = ()
    grid: str = ""


@dataclass(frozen=True)
class ColourBar:
    """The colour bar of a panel, in the units of the values."""

    src: str
    scale: float


def extent(axis: int, flipped: bool, low: np.ndarray, high: np.ndarray, image: Image) -> tuple[float, float]:
    """Return where a box of voxels begins and ends on the screen along one axis, as shares of the picture."""
    count = image.geometry.shape[axis]
    begin, end = float(low[axis]) / count, float(high[axis]) / count
    return (1 - end, 1 - begin) if flipped else (begin, end)


class Panels:
    """All pictures of one explanation, with the same window, planes and scales.

    Args:
        explanation: What to draw; 2-D or 3-D, any number of channels (three channels are shown in colour).

    Attributes:
        planes: Those that are shown, the first one where there is place for only one.
        window: Values that become black and white.
    """

    def __init__(self, explanation: Explanation) -> None:
        volumes = explanation.volumes
        self._explanation = explanation
        self._geometry = volumes.original.geometry
        self.window = figures.intensity_window(volumes.original.array, volumes.counterfactual.array)
        self._floor = typical_floor(volumes.floor)
        magnitude = np.abs(figures.sample(volumes.difference.array).astype(np.float64))
        self._change_scale = max(float(np.quantile(magnitude, 0.999)), 2 * self._floor) or 1.0
        effect = volumes.effect.array
        self._effect_scale = max(float(effect.max()), -float(effect.min())) or 1.0
        self._effect_floor = WEAK * self._effect_scale
        voxel, shown = strongest_voxel(explanation), explanation.slice_index
        if shown is not None:
            voxel = (*voxel[:2], shown)
        planes = planes_through(self._geometry, volumes.original.dimension, voxel)
        # Where the classifier saw a single slice, planes across it have nothing to show.
        self.planes = planes if shown is None else planes[:1]

    @property
    def change_bar(self) -> ColourBar:
        """Return the colour bar of ``change``."""
        pixels = figures.colour_bar(self._change_scale, self._floor, figures.CHANGE_HUES)
        return ColourBar(figures.data_uri(figures.png(pixels)), self._change_scale)

    @property
    def effect_bar(self) -> ColourBar:
        """Return the colour bar of ``effect``."""
        pixels = figures.colour_bar(self._effect_scale, self._effect_floor, figures.EFFECT_HUES)
        return ColourBar(figures.data_uri(figures.png(pixels)), self._effect_scale)

    def image(self, image: Image, alt: str, outlined: bool = False) -> tuple[FigurePanel, ...]:
        """Show an image in every plane, on request with the regions' outlines."""
        return tuple(self._panel(plane, self._grey(plane, image), alt, outlined) for plane in self.planes)

    def deformed(self, image: Image, displacement: Image, alt: str) -> tuple[FigurePanel, ...]:
        """Show a deformed image in every plane, with the lines of a grid that is regular in the original."""
        pictures = zip(self.image(image, alt), self.planes, strict=True)
        return tuple(
            replace(each, grid=grid_lines(displacement, self._geometry, plane, each.width, each.height))
            for each, plane in pictures
        )

    def overview(self, image: Image, place: Place) -> tuple[FigurePanel, ...]:
        """Show the larger image that a patch lies in, with the patch outlined."""
        (plane,) = planes_through(image.geometry, 2, (0, 0, 0))
        assert place.patch_low is not None
        assert place.patch_high is not None
        whole, shape = np.array(place.shape), np.array(image.geometry.shape)
        low, high = (np.array(edge) * shape / whole for edge in (place.patch_low, place.patch_high))
        unit = 100 / max(plane.width_mm, plane.height_mm)
        width, height = plane.width_mm * unit, plane.height_mm * unit
        left, right = extent(plane.columns, plane.flip_columns, low, high, image)
        top, bottom = extent(plane.rows, plane.flip_rows, low, high, image)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        d = "M" + "L".join(f"{x * width:.2f} {y * height:.2f}" for x, y in corners) + "Z"
        outline = Outline(1, d, 100 * left + 0.6, 100 * top + 2.5, True)
        pixels = figures.grey(figures.reduce(plane.cut(image.array)), self.window)
        source = figures.data_uri(figures.png(pixels))
        return (FigurePanel(source, "The whole image with the patch outlined", width, height, outlines=(outline,)),)

    def seen(self, image: Image) -> tuple[FigurePanel, ...]:
        """Show what the classifier saw, on its own grid, black at 0 and white at 1; of a volume the middle planes."""
        i, j, k = (edge // 2 for edge in image.geometry.shape)
        pictures = []
        for plane in planes_through(image.geometry, image.dimension, (i, j, k)):
            unit = 100 / max(plane.width_mm, plane.height_mm)
            pixels = figures.grey(figures.reduce(plane.cut(image.array)), (0.0, 1.0))
            source = figures.data_uri(figures.png(pixels))
            width, height, alt = plane.width_mm * unit, plane.height_mm * unit, "As the classifier sees it"
            caption = "" if plane.name == "image" else f"{plane.name}, its middle"
            pictures.append(FigurePanel(source, alt, width, height, caption, plane.letters))
        return tuple(pictures)

    def small(self, image: Image, alt: str) -> FigurePanel:
        """Show an image in the first plane only, small."""
        return self._panel(self.planes[0], self._grey(self.planes[0], image, SMALL_SIDE), alt)

    def change(self, difference: Image, alt: str) -> tuple[FigurePanel, ...]:
        """Lay a change over the original in every plane; what is below the reconstruction floor stays grey."""
        return tuple(self._panel(plane, self._change(plane, difference), alt, outlined=False) for plane in self.planes)

    def small_change(self, difference: Image, alt: str) -> FigurePanel:
        """Lay a change over the original in the first plane only, small."""
        return self._panel(self.planes[0], self._change(self.planes[0], difference, SMALL_SIDE), alt)

    def effect(self, alt: str) -> tuple[FigurePanel, ...]:
        """Lay the measured effect over the original, with the regions' outlines, in every plane."""
        return tuple(self._panel(plane, self._effect(plane), alt, outlined=True) for plane in self.planes)

    def before_and_after(self, region: Region) -> tuple[FigurePanel, ...]:
        """Show where a region lies in the original and in the counterfactual; empty if the label map lacks it."""
        volumes = self._explanation.volumes
        if not (volumes.regions.array[0] == region.label).any():
            return ()
        voxel = strongest_voxel(self._explanation, region.label)
        plane = planes_through(self._geometry, volumes.original.dimension, voxel)[0]
        mask = plane.cut(volumes.regions.array[0] == region.label)
        rows, columns = surroundings(mask, plane, 0.25 * min(plane.height_mm, plane.width_mm))
        cropped = replace(
            plane,
            width_mm=plane.width_mm * (columns.stop - columns.start) / mask.shape[1],
            height_mm=plane.height_mm * (rows.stop - rows.start) / mask.shape[0],
            letters=(),
        )
        pictures = []
        for image, word in ((volumes.original, "original"), (volumes.counterfactual, "counterfactual")):
            part = figures.reduce(plane.cut(image.array)[:, rows, columns], SMALL_SIDE)
            pixels = figures.grey(part, self.window)
            pictures.append(self._panel(cropped, pixels, f"Region {region.label} in the {word}"))
        return tuple(replace(picture, caption="") for picture in pictures)

    def _grey(self, plane: ViewPlane, image: Image, longest: int = figures.LONGEST_SIDE) -> np.ndarray:
        return figures.grey(figures.reduce(self._cut(plane, image), longest), self.window)

    def _cut(self, plane: ViewPlane, image: Image) -> np.ndarray:
        """Take a plane ``(channels, rows, columns)`` out of an image, which may lie on a coarser grid."""
        own, full = image.geometry.shape[plane.axis], self._geometry.shape[plane.axis]
        return replace(plane, index=min(own - 1, int((plane.index + 0.5) * own / full))).cut(image.array)

    def _change(self, plane: ViewPlane, difference: Image, longest: int = figures.LONGEST_SIDE) -> np.ndarray:
        volumes = self._explanation.volumes
        values = figures.reduce(_strongest_channel(self._cut(plane, difference)), longest, peak=True)
        background = figures.grey(figures.reduce(plane.cut(volumes.original.array), longest), self.window)
        floor = figures.reduce(plane.cut(volumes.floor.array)[0], longest, peak=True)
        if floor.shape != values.shape:
            background, floor = (figures.nearest(part, values.shape) for part in (background, floor))
        return figures.overlay(background, values, self._change_scale, floor, figures.CHANGE_HUES)

    def _effect(self, plane: ViewPlane) -> np.ndarray:
        volumes = self._explanation.volumes
        values = figures.reduce(plane.cut(volumes.effect.array[0]), peak=True)
        background = self._grey(plane, volumes.original)
        return figures.overlay(background, values, self._effect_scale, self._effect_floor, figures.EFFECT_HUES)

    def _panel(self, plane: ViewPlane, pixels: np.ndarray, alt: str, outlined: bool = False) -> FigurePanel:
        unit = 100 / max(plane.width_mm, plane.height_mm)
        width, height = plane.width_mm * unit, plane.height_mm * unit
        if plane.name == "image":
            caption = ""
        else:
            caption = f"{plane.name}, slice {plane.index + 1} of {self._geometry.shape[plane.axis]}"
            alt = f"{alt}, {caption}"
        outlines = self._outlines(plane, width, height) if outlined else ()
        return FigurePanel(figures.data_uri(figures.png(pixels)), alt, width, height, caption, plane.letters, outlines)

    def _outlines(self, plane: ViewPlane, width: float, height: float) -> tuple[Outline, ...]:
        labels = plane.cut(self._explanation.volumes.regions.array[0])
        outlines = []
        for region in self._explanation.regions:
            mask = figures.reduce((labels == region.label).astype(np.uint8), peak=True) > 0
            if not mask.any():
                continue
            rows, columns = np.nonzero(mask)
            left, top = 100 * (columns.max() + 1) / mask.shape[1], 100 * rows.min() / mask.shape[0]
            path = figures.outline(mask, width, height)
            outlines.append(Outline(region.label, path, min(left, 94.0), max(top, 6.0), region.above_floor))
        return tuple(outlines)


def typical_floor(floor: Image) -> float:
    """Return the median of the reconstruction floor within the classifier's field, where alone it is above zero."""
    values = figures.sample(floor.array)
    field = values[values > 0]
    return float(np.median(field)) if field.size else 0.0


def _strongest_channel(planes: np.ndarray) -> np.ndarray:
    """Keep at every pixel of ``(channels, rows, columns)`` the value of largest magnitude."""
    if planes.shape[0] == 1:
        return planes[0]
    channel = np.abs(planes.astype(np.float64)).argmax(axis=0)
    return np.take_along_axis(planes, channel[None], axis=0)[0]


def surroundings(mask: np.ndarray, plane: ViewPlane, least: float) -> tuple[slice, slice]:
    """Choose rows and columns around a mask: a square in millimetres, half as large again as the mask.

    Args:
        mask: ``(rows, columns)`` bool as displayed; at least one of them true.
        plane: What the mask was cut out of.
        least: Shortest side of the square in millimetres. At the plane's edges the square becomes a rectangle.
    """
    spacing = (plane.height_mm / mask.shape[0], plane.width_mm / mask.shape[1])
    found = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
    extents = [(places[-1] - places[0] + 1) * step for places, step in zip(found, spacing, strict=True)]
    side = max(1.5 * max(extents), least)
    slices = []
    for places, step, size in zip(found, spacing, mask.shape, strict=True):
        count = min(size, max(1, round(side / step)))
        start = int(np.clip((places[0] + places[-1] + 1 - count) // 2, 0, size - count))
        slices.append(slice(start, start + count))
    return slices[0], slices[1]
