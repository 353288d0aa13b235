"""The pictures of a report as pure functions: planes in, pixels, PNG bytes or SVG paths out.

A plane is ``(rows, columns)`` or, of an image with channels, ``(channels, rows, columns)``, as it is displayed. Pixels
are ``(rows, columns, 3)`` uint8. Signed values run between two hues that all kinds of colour vision keep apart; the
magnitude is both brightness and opacity.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Picture
from skimage.measure import find_contours


@dataclass(frozen=True)
class Hues:
    """Colours of signed values, red, green and blue from 0 to 255.

    Attributes:
        negative, positive: Each the colour of a small and of the largest magnitude.
    """

    negative: tuple[tuple[int, int, int], tuple[int, int, int]]
    positive: tuple[tuple[int, int, int], tuple[int, int, int]]


CHANGE_HUES = Hues(negative=((120, 60, 200), (215, 180, 255)), positive=((0, 130, 70), (150, 255, 180)))
"""Darker is violet, brighter is green."""
EFFECT_HUES = Hues(negative=((20, 95, 215), (130, 215, 255)), positive=((215, 85, 0), (255, 205, 110)))
"""Towards the target is orange, the target's colour everywhere in a report; against it is blue, see ``colours``."""
LONGEST_SIDE = 800
DIMMED = 0.45
"""How much of an image's brightness stays when colours are laid over it."""
_STRIP = 2**19  # pixels that are reduced at once


def intensity_window(*images: np.ndarray) -> tuple[float, float]:
    """Choose black and white so that all images can be compared.

    Args:
        images: Arrays of any shape in the same units.

    Returns:
        ``(low, high)``, the 0.5 and 99.5 percentiles of all voxels (of large images: of a sample of them, see
        :func:`sample`); ``low < high`` always.
    """
    low, high = np.percentile(np.concatenate([sample(image) for image in images]).astype(np.float64), (0.5, 99.5))
    if not low < high:
        low, high = min(float(image.min()) for image in images), max(float(image.max()) for image in images)
    return (float(low), float(high)) if low < high else (float(low), float(low) + 1.0)


def sample(array: np.ndarray, most: int = 2**19) -> np.ndarray:
    """Return all voxels of an array as one axis or, of more than ``most``, evenly spaced ones."""
    step = math.ceil(array.size / most)
    # An odd prime step walks across rows and columns rather than along one of them.
    while step > 1 and any(count % step == 0 for count in array.shape if count > 1):
        step += 1
    return array.reshape(-1)[::step] if array.flags.c_contiguous else array.T.reshape(-1)[::step]


def nearest(plane: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Sample a plane ``(rows, columns, ...)`` at the nearest pixels of another number of rows and columns."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, plane.shape, strict=False))
    return plane[rows][:, columns]


def reduce(plane: np.ndarray, longest: int = LONGEST_SIDE, peak: bool = False) -> np.ndarray:
    """Shrink a plane by a whole factor so that no side is longer than ``longest``; small planes stay as they are.

    Args:
        plane: ``(..., rows, columns)``.
        peak: Keep the value of largest magnitude of each block, not its mean, so that small regions do not vanish.
    """
    rows, columns = plane.shape[-2:]
    factor = math.ceil(max(rows, columns) / longest)
    if factor == 1:
        return plane
    # A strip of rows at a time: a large plane has no memory for copies.
    strips = range(0, rows, factor * max(1, _STRIP // (factor * columns)))
    parts = [_reduced(plane[..., start : start + strips.step, :], factor, peak) for start in strips]
    return np.concatenate(parts, axis=-2)


def _reduced(plane: np.ndarray, factor: int, peak: bool) -> np.ndarray:
    rows, columns = plane.shape[-2:]
    margins = [(0, 0)] * (plane.ndim - 2) + [(0, -rows % factor), (0, -columns % factor)]
    padded = np.pad(plane, margins, mode="edge") if np.any(margins) else plane
    shape = (*plane.shape[:-2], padded.shape[-2] // factor, factor, padded.shape[-1] // factor, factor)
    blocks = np.moveaxis(padded.reshape(shape), -3, -2).reshape(*shape[:-3], shape[-2], factor * factor)
    if not peak:
        return np.asarray(blocks.mean(axis=-1))
    strongest = np.abs(blocks.astype(np.float64)).argmax(axis=-1)
    return np.asarray(np.take_along_axis(blocks, strongest[..., None], axis=-1)[..., 0])


def grey(plane: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Show a plane in grey, or in its own colours where it has exactly three channels.

    Args:
        plane: ``(channels, rows, columns)``; of other than three channels the first is shown.
        window: Values that become black and white.
    """
    low, high = window
    shown = plane if plane.shape[0] == 3 else np.repeat(plane[:1], 3, axis=0)
    scaled = np.clip((shown.astype(np.float64) - low) / (high - low), 0, 1)
    return np.round(255 * np.moveaxis(scaled, 0, -1)).astype(np.uint8)


def overlay(
    background: np.ndarray, values: np.ndarray, scale: float, floor: float | np.ndarray, hues: Hues
) -> np.ndarray:
    """Lay signed values in colour over a dimmed image; what lies below the floor stays grey.

    Args:
        background: Pixels of the image.
        values: ``(rows, columns)``, zero in the middle of the colour map.
        scale: Magnitude that gets the full colour, above 0; larger ones are clipped.
        floor: Magnitudes up to this are left grey; one for all, or ``(rows, columns)``.
        hues: Colours of both signs.
    """
    strength = np.clip(np.abs(values.astype(np.float64)) / scale, 0, 1)[..., None]
    weak, strong = (np.where(values[..., None] < 0, *pair) for pair in zip(hues.negative, hues.positive, strict=True))
    opacity = np.where((np.abs(values) > floor)[..., None], np.clip(0.2 + 1.6 * strength, 0, 1), 0)
    colour = weak + (strong - weak) * strength
    return np.round(opacity * colour + (1 - opacity) * DIMMED * background).astype(np.uint8)


def colour_bar(scale: float, floor: float, hues: Hues, width: int = 256) -> np.ndarray:
    """Draw what ``overlay`` makes of the values from ``-scale`` to ``scale``, over grey: ``(1, width, 3)`` pixels."""
    values = np.linspace(-scale, scale, width)[None]
    return overlay(np.full((1, width, 3), 160, dtype=np.uint8), values, scale, floor, hues)


def png(pixels: np.ndarray) -> bytes:
    """Encode ``(rows, columns, 3)`` uint8 as PNG."""
    buffer = io.BytesIO()
    colourless = bool((pixels == pixels[..., :1]).all())
    Picture.fromarray(np.ascontiguousarray(pixels[..., 0] if colourless else pixels)).save(buffer, "png")
    return buffer.getvalue()


def data_uri(encoded: bytes) -> str:
    """Make PNG bytes the ``src`` of an ``img``."""
    return "data:image/png;base64," + base64.b64encode(encoded).decode("ascii")


def from_data_uri(uri: str) -> bytes:
    """Return the PNG that ``data_uri`` encoded."""
    return base64.b64decode(uri.partition(",")[2])


def outline(mask: np.ndarray, width: float, height: float) -> str:
    """Trace the border of a mask.

    Args:
        mask: ``(rows, columns)`` bool.
        width, height: The plane's size in the units of the drawing.

    Returns:
        The ``d`` of an SVG path; empty where the mask is.
    """
    pieces = []
    for contour in contours(mask, width, height):
        pieces.append("M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in contour) + "Z")
    return "".join(pieces)


def contours(mask: np.ndarray, width: float, height: float) -> list[np.ndarray]:
    """Trace the border of a mask ``(rows, columns)``: closed lines ``(points, 2)`` of x and y in the drawing's units.

    The first point of a line is not repeated at its end.
    """
    rows, columns = mask.shape
    lines = []
    for contour in find_contours(np.pad(mask, 1).astype(np.uint8), 0.5):
        # Padding moved pixel centres by one; a pixel's centre lies half a pixel inside its edge.
        down, right = (contour[:-1] - 0.5).T
        lines.append(np.stack([right * width / columns, down * height / rows], axis=1))
    return lines
