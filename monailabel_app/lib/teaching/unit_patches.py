"""The patches that excite a unit most, as pictures."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from lib.storage.explanation_store import NotFoundError
from lib.teaching.activation_cache import NotYetError
from lib.teaching.service import TeachingService
from lib.teaching.unit_statistics import view_of_explanation, view_of_image

EDGE = 128
"""Pixels of a picture's side."""
SHOWN = 0.5
"""Share of the image's side that is shown about the place."""


def draw_unit_patch(teaching: TeachingService, unit: str, number: int) -> bytes:
    """A patch about the place where a unit is most active, as PNG, the place marked.

    Args:
        teaching: Knows the units.
        unit: Its name.
        number: 0: the patch that excites it most.

    Raises:
        NotFoundError: if there is no such unit or patch, or its image is no longer there.
        NotYetError: if units are still being gathered.
    """
    table = teaching.activations.table
    if table is None:
        raise NotYetError("The units are still being gathered.", "Ask again in a minute.")
    if unit not in table.names:
        raise NotFoundError(f"There is no unit {unit[:64]!r}.", "GET /otherwise/concepts/units lists them.")
    patches = table.patches[table.names.index(unit)]
    if not 0 <= number < len(patches):
        raise NotFoundError(f"Unit {unit} has no patch {number}.", f"Ask for 0 to {len(patches) - 1}.")
    id, place, _ = patches[number]
    classifier = teaching.host.classifier
    if classifier.inputs.patches is not None:
        view = view_of_explanation(classifier, teaching.explanation(id))
    else:
        view = view_of_image(classifier, teaching.images.read(id))
    return drawn(view, place)


def drawn(view: np.ndarray, place: tuple[float, ...]) -> bytes:
    """Cut a patch out, within the image, and mark its place.

    Args:
        view: ``(channels, *size)`` in [0, 1]; of a volume the plane along k is shown.
        place: Share of each axis, in [0, 1].
    """
    plane = view.mean(axis=0)
    if plane.ndim == 3:
        plane = plane[..., min(int(place[2] * plane.shape[2]), plane.shape[2] - 1)]
    grey = Picture.fromarray((plane.T * 255).round().astype(np.uint8))  # rows are j
    width, height = grey.size
    side = min(SHOWN * max(width, height), width, height)
    x, y = place[0] * width, place[1] * height
    # Within the image: beyond its border there is nothing to show.
    left, top = float(np.clip(x - side / 2, 0, width - side)), float(np.clip(y - side / 2, 0, height - side))
    cut = grey.transform(
        (EDGE, EDGE), Picture.Transform.EXTENT, (left, top, left + side, top + side), Picture.Resampling.BILINEAR
    )
    coloured = cut.convert("RGB")
    across, down, radius = (x - left) / side * EDGE, (y - top) / side * EDGE, EDGE / 10
    ring = (across - radius, down - radius, across + radius, down + radius)
    ImageDraw.Draw(coloured).ellipse(ring, outline=(230, 159, 0), width=2)
    buffer = io.BytesIO()
    coloured.save(buffer, "PNG")
    return buffer.getvalue()
