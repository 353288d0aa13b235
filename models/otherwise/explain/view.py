"""One image as the classifier sees it, and the mapping of an edit back onto the image's own grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from otherwise.agent.editing.deformation import deformed_native, displacement_in_space
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import View, of_declared_size, view, view_on
from otherwise.explain.explanation import LOOKED_AT, is_large
from otherwise.explain.fine_detail import fade_weights, faded_detail
from otherwise.images.image import Geometry, Image
from otherwise.images.resampling import (
    change_to_native,
    model_grid,
    precompensated,
    precompensation,
    resample,
)
from otherwise.images.rounding import round_in_place, rounded_map, step_within

CHANGE_LEVELS = 4096
"""Steps of the classifier's window in a change: far less than the autoencoder's own error."""
LOOKED_AT_LEVELS = 512
"""Steps of the classifier's window in a coarser copy of the original."""
WHOLE_LEVELS = 255
"""Whole numbers in the classifier's window from which on changed images keep to whole numbers."""
_BLOCK = 2**20  # voxels that are worked on at once


@dataclass(frozen=True, eq=False)
class ClassifierView:
    """One image as the classifier sees it, and the mapping back to the image's own grid.

    Args:
        image: The image, in its own units and geometry.
        classifier: Its inputs say size, spacing and intensity.
        slice_index: For a 2-D classifier and a volume: the slice that is shown.
        centre: For a classifier of patches: the middle of the patch, RAS millimetres; None: the image's middle.

    Attributes:
        seen: What the classifier sees, where, and in which window.
        strengthening: Correction for the smoothing of two resamplings, see ``precompensation``.
        seam: ``size`` in [0, 1]; a change fades out towards the border of a patch.

    Raises:
        ImageError: if the image does not suit the classifier.
    """

    image: Image
    classifier: BlackBox
    slice_index: int | None
    centre: tuple[float, float, float] | None = None
    seen: View = field(init=False)
    strengthening: tuple[np.ndarray, ...] = field(init=False)
    seam: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        spec = self.classifier.inputs
        seen = of_declared_size(self.image, view(self.image, spec, self.slice_index, self.centre), spec)
        object.__setattr__(self, "seen", seen)
        object.__setattr__(self, "strengthening", precompensation(seen.grid, self.image.geometry))
        object.__setattr__(
            self, "seam", _seam(spec.size) if self.centre is not None else np.ones(spec.size, np.float32)
        )

    @property
    def array(self) -> np.ndarray:
        """Return what the classifier sees: ``(channels, *size)`` float32 in [0, 1]."""
        return self.seen.array

    @property
    def grid(self) -> Geometry:
        """Return where in space that lies."""
        return self.seen.grid

    def see(self, image: Image) -> np.ndarray:
        """Return a changed image on the same grid, in the same window: ``(channels, *size)`` float32 in [0, 1]."""
        return view_on(image, self.grid, self.classifier.inputs, self.seen.window).array

    def change(
        self, edited: np.ndarray, onto: Image | None = None, displacement: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what an edit changes in the original; fine detail fades where it changes much, see ``fine_detail``.

        Where something changes, the original is first brought into the classifier's intensity window: beyond it a
        change would not be seen. A change is a multiple of a small step (see ``step``), so that it compresses well.

        Args:
            edited: ``(channels, *size)`` in [0, 1].
            onto: The original on another grid; None: on its own.
            displacement: Of an edit that only deforms: the original is deformed on its own grid, with all its detail.

        Returns:
            ``(channels, i, j, k)`` float32 in the image's units.
        """
        image = self.image if onto is None else onto
        if displacement is not None:
            moved = deformed_native(image, self.grid, self.faded(displacement))
            return round_in_place(moved - image.array.astype(np.float32), self.step)
        low, high = self.seen.window
        meant = precompensated((edited - self.array) * self.seam, self.strengthening)
        change = change_to_native(meant.astype(np.float32), self.grid, image, self.seen.window)
        if self.strengthening:
            self._fade_detail(change, edited, image)
        for rows in _blocks(change.shape):
            part, native = change[:, rows], image.array[:, rows].astype(np.float32)
            noticed = np.abs(part) > 1e-3 * (high - low)
            moved = (native.clip(low, high) + part).clip(low, high) - native
            np.copyto(part, moved, where=noticed)
            round_in_place(part, self.step)
            if self.whole:
                limits = np.iinfo(image.array.dtype)
                part[...] = (native + part).clip(limits.min, limits.max) - native
        return change

    def _fade_detail(self, change: np.ndarray, edited: np.ndarray, image: Image) -> None:
        """Take the original's fine detail out where an edit changes much, see ``fine_detail``."""
        weights = fade_weights(self.array, edited) * self.seam
        found = faded_detail(image, self.grid, self._shown, weights, self.seen.window)
        if found is not None:
            places, detail = found
            change[(slice(None), *places)] -= detail

    @cached_property
    def _shown(self) -> np.ndarray:
        """Return the original as it is carried back to the image's grid, see ``precompensated``."""
        return precompensated(self.array, self.strengthening).astype(np.float32)

    def put(self, change: np.ndarray, onto: Image | None = None) -> Image:
        """Return the original with a change ``(channels, i, j, k)``.

        The voxels are of the original's type where that is whole numbers and the step is 1, else float32.
        """
        image = self.image if onto is None else onto
        array = np.empty(image.array.shape, image.array.dtype if self.whole else np.float32)
        for rows in _blocks(array.shape):
            array[:, rows] = image.array[:, rows].astype(np.float32) + change[:, rows]
        return image.with_array(array)

    def carry(self, edited: np.ndarray, onto: Image | None = None, displacement: np.ndarray | None = None) -> Image:
        """Return the original with the change of an edited ``(channels, *size)``; see ``change`` and ``put``."""
        return self.put(self.change(edited, onto, displacement), onto)

    def displacement(self, displacement: np.ndarray) -> Image:
        """Return the displacement field of a deformation in physical space, RAS in the image's unit."""
        return replace(displacement_in_space(self.faded(displacement), self.grid), unit=self.image.unit)

    def faded(self, displacement: np.ndarray) -> np.ndarray:
        """Return a displacement ``(dimensions, *size)`` as it is used: it fades towards the border of a patch."""
        return displacement * self.seam

    @cached_property
    def step(self) -> float:
        """Return the smallest change in the image's units: 1 for whole numbers with at least 255 in the window."""
        width = self.seen.window[1] - self.seen.window[0]
        whole = np.issubdtype(self.image.array.dtype, np.integer) and width >= WHOLE_LEVELS
        return 1.0 if whole else step_within(width, CHANGE_LEVELS)

    @property
    def whole(self) -> bool:
        """Return whether changed images have the original's own whole numbers."""
        dtype = self.image.array.dtype
        return np.issubdtype(dtype, np.integer) and dtype.itemsize <= 2 and self.step == 1.0

    @cached_property
    def small(self) -> Image:
        """Return the original on the grid of images that are only looked at: a coarser one if it is large."""
        geometry = self.image.geometry
        if not is_large(geometry):
            return self.image
        dims = 2 if geometry.shape[2] == 1 else 3
        ratio = (LOOKED_AT[dims] / int(np.prod(geometry.shape))) ** (1 / dims)
        grid = model_grid(geometry, tuple(max(1, int(edge * ratio)) for edge in geometry.shape[:dims]), None)
        array = resample(self.image, grid, interpolation="area").array
        if self.whole:
            array = np.rint(array).astype(self.image.array.dtype)
        else:
            array = round_in_place(array, step_within(self.seen.window[1] - self.seen.window[0], LOOKED_AT_LEVELS))
        return Image(array, grid, self.image.id, self.image.dimension, self.image.modality, self.image.unit)

    def back(self, values: np.ndarray, window: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
        """Carry a map onto the image's own grid: ``(1, i, j, k)`` float32, zero outside the classifier's field.

        Args:
            values: ``size``, as a share of the window.
            window: ``(low, high)`` in the units of the map.
        """
        geometry = self.image.geometry
        grey = Image(np.broadcast_to(np.float32(0), (1, *geometry.shape)), geometry)
        return rounded_map(change_to_native(values[None].astype(np.float32), self.grid, grey, window))

    def labels_back(self, labels: np.ndarray) -> Image:
        """Carry a label map ``size`` onto the image's own grid."""
        flat = labels[..., None] if labels.ndim == 2 else labels
        onto = resample(Image(flat[None].astype(np.uint8), self.grid, "regions"), self.image.geometry, order=0)
        return self.image.with_array(onto.array.astype(np.uint8), "regions")


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut ``(channels, i, j, k)`` along i into parts of about a million voxels, so that temporary copies stay small."""
    rows = max(1, _BLOCK * shape[1] // int(np.prod(shape)))
    for start in range(0, shape[1], rows):
        yield slice(start, start + rows)


def _seam(size: tuple[int, ...], share: float = 0.08) -> np.ndarray:
    """Return weights ``size``: 1 inside a patch, a cosine ramp to 0 over the outer ``share`` of each edge."""
    weights = np.ones(size, np.float32)
    for axis, edge in enumerate(size):
        distance = np.minimum(np.arange(edge), np.arange(edge)[::-1])
        ramp = np.clip(distance / max(1.0, share * edge), 0, 1)
        weights *= (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32).reshape(-1, *[1] * (len(size) - 1 - axis))
    return weights
