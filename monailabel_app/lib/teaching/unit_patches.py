"""Pictures of a unit: the patches that excite it most, and what it answers to in one image, each with its contour."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

from lib.storage.explanation_store import NotFoundError
from lib.teaching.activation_cache import NotYetError
from lib.teaching.service import TeachingService
from lib.teaching.unit_masks import COLOUR, USUAL, region_mask, unit_mask
from otherwise.concepts.activations import ImageActivations
from otherwise.concepts.statistics import UnitTable

EDGE = 128
"""Pixels of a patch's side."""
LARGE = 384
"""Pixels of the longer side of a whole image."""
SHOWN = 0.5
"""Share of the image's side that is shown about the place."""
REGION_COLOUR = (86, 180, 233)


def draw_unit_patch(teaching: TeachingService, unit: str, number: int) -> bytes:
    """Draw a patch about the place where a unit is most active, as PNG, with the contour of its mask.

    Args:
        teaching: Knows the units.
        unit: Its name.
        number: 0: the patch that excites it most.

    Raises:
        NotFoundError: if there is no such unit or patch, or its image is no longer there.
        NotYetError: if units are still being gathered.
    """
    table = teaching.activations.table
    index = unit_index(table, unit)
    assert table is not None
    patches = table.patches[index]
    if not 0 <= number < len(patches):
        raise NotFoundError(f"Unit {unit} has no patch {number}.", f"Ask for 0 to {len(patches) - 1}.")
    id, place, _ = patches[number]
    look = teaching.look_at_example(id)
    return drawn(look.seen, place, look.levels[index] > USUAL)


def unit_index(table: UnitTable | None, unit: str) -> int:
    """Return the place of a unit in the table.

    Raises:
        NotFoundError: if there is no such unit.
        NotYetError: if units are still being gathered.
    """
    if table is None:
        raise NotYetError("The units are still being gathered.", "Ask again in a minute.")
    if unit not in table.names:
        raise NotFoundError(f"There is no unit {unit[:64]!r}.", "GET /otherwise/concepts/units lists them.")
    return table.names.index(unit)


def drawn(view: np.ndarray, place: tuple[float, ...], mask: np.ndarray) -> bytes:
    """Cut a patch out, within the image, and outline the unit's mask.

    Args:
        view: ``(channels, *size)`` in [0, 1]; of a volume the plane along k is shown.
        place: Share of each axis, in [0, 1].
        mask: bool ``size``.
    """
    plane, inside = _plane(view, mask, place[2] if view.ndim == 4 else 0.0)
    width, height = plane.shape
    side = min(SHOWN * max(width, height), width, height)
    x, y = place[0] * width, place[1] * height
    # Within the image: beyond its border there is nothing to show.
    left, top = float(np.clip(x - side / 2, 0, width - side)), float(np.clip(y - side / 2, 0, height - side))
    box = (left, top, left + side, top + side)
    return _png(_coloured(plane, box, (EDGE, EDGE), [(inside, COLOUR)]))


def draw_contour(look: ImageActivations, index: int, label: int | None) -> bytes:
    """Draw an image with the contour of what a unit answers to, as PNG; a decisive region is outlined, too.

    Args:
        look: The image.
        index: Of the unit.
        label: Of a decisive region, which says which of the unit's levels fits; of a volume its fullest plane is shown.
            None: the usual level, and the plane in which the unit answers most.

    Raises:
        NotFoundError: if there is no such region.
    """
    mask = unit_mask(look, index, label)
    region = np.zeros(mask.shape, bool) if label is None else region_mask(look, label)
    depth = 0.0
    if mask.ndim == 3:
        filled = (region if label is not None else mask).sum(axis=(0, 1))
        depth = (int(filled.argmax()) + 0.5) / len(filled)
    plane, inside = _plane(look.seen, mask, depth)
    _, chosen = _plane(look.seen, region, depth)
    scale = LARGE / max(plane.shape)
    size = (round(plane.shape[0] * scale), round(plane.shape[1] * scale))
    outlines = [(chosen, REGION_COLOUR), (inside, COLOUR)]
    return _png(_coloured(plane, (0.0, 0.0, float(plane.shape[0]), float(plane.shape[1])), size, outlines))


def _plane(view: np.ndarray, mask: np.ndarray, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the grey plane and the mask of it, both ``(width, height)``; ``depth``: share of the third axis."""
    grey = view.mean(axis=0)
    if grey.ndim == 2:
        return grey, mask
    k = min(int(depth * grey.shape[2]), grey.shape[2] - 1)
    return grey[..., k], mask[..., k]


def _coloured(
    plane: np.ndarray,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    outlines: list[tuple[np.ndarray, tuple[int, int, int]]],
) -> Picture.Image:
    def cut(values: np.ndarray, resampling: Picture.Resampling) -> Picture.Image:
        grey = Picture.fromarray((np.clip(values, 0, 1).T * 255).round().astype(np.uint8))  # rows are j
        return grey.transform(size, Picture.Transform.EXTENT, box, resampling)

    pixels = np.array(cut(plane, Picture.Resampling.BILINEAR).convert("RGB"))
    for mask, colour in outlines:
        inside = np.array(cut(mask.astype(np.float32), Picture.Resampling.BILINEAR)) > 127
        pixels[inside & ~ndimage.binary_erosion(inside, border_value=1, iterations=2)] = colour
    return Picture.fromarray(pixels)


def _png(picture: Picture.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
