"""Statistics of units over a whole data set, in one pass and in constant memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from datasketches import vector_of_kll_floats_sketches

from otherwise.concepts.units import UnitError, UnitMaps
from otherwise.images.atomic import atomic_path

QUANTILES = (0.9, 0.95, 0.99)
"""How rare what a unit answers to is, from its widest masks to its narrowest. Network Dissection has the last one only,
which is far smaller than a lesion that fills a tenth of its image."""
SKETCH = 2048
"""Size of the quantile sketches (KLL, Karnin et al., arXiv 1603.05346): ranks are right to within 0.2 %."""
KEPT_PATCHES = 10
"""Images that are kept for each unit, as many as Lu & Perer show."""


@dataclass(frozen=True, eq=False)
class UnitTable:
    """Statistics of each unit, in the order of ``UnitMaps.names``.

    Attributes:
        version: Of the network, see ``UnitReader``.
        images: How many were looked at.
        names: One for each unit.
        thresholds: ``(levels, units)``: ``QUANTILES`` of the activation over all places of all images.
        mean: ``(units,)`` of the strongest activation in an image.
        deviation: ``(units,)`` its standard deviation, never zero.
        places: ``(units, 2)``: units that are strong in the same images lie close together.
        patches: For each unit the images that excite it most, ``(image id, fractional centre, activation)``, the
            strongest first; a centre is a place in [0, 1] along each axis.
    """

    version: str
    images: int
    names: tuple[str, ...]
    thresholds: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    places: np.ndarray
    patches: tuple[tuple[tuple[str, tuple[float, ...], float], ...], ...]


class UnitStatistics:
    """Running statistics of units; they can be saved and continued.

    Args:
        version: Of the network.
        names: One for each unit.
    """

    def __init__(self, version: str, names: Sequence[str]) -> None:
        self.version, self.names = version, tuple(names)
        count = len(self.names)
        self.seen: dict[str, None] = {}
        self._sketches: dict[str, vector_of_kll_floats_sketches] = {}
        self._sum = np.zeros(count)
        self._products = np.zeros((count, count))
        self._best = np.full((count, KEPT_PATCHES), -np.inf, np.float32)
        self._best_image = np.full((count, KEPT_PATCHES), -1, np.int64)
        self._best_place: np.ndarray | None = None

    def add(self, ids: Sequence[str], maps: UnitMaps) -> None:
        """Add a batch.

        Args:
            ids: Of the images; each image counts once, whoever adds it again.
            maps: What the units say of them.
        """
        new = [n for n, id in enumerate(ids) if id not in self.seen]
        if not new:
            return
        layers = {layer: np.ascontiguousarray(values[new]) for layer, values in maps.layers.items()}
        first = len(self.seen)
        self.seen.update(dict.fromkeys(ids[n] for n in new))
        for layer, values in layers.items():
            count = values.shape[1]
            sketch = self._sketches.setdefault(layer, vector_of_kll_floats_sketches(SKETCH, count))
            sketch.update(np.ascontiguousarray(np.moveaxis(values, 1, -1).reshape(-1, count), dtype=np.float32))
        peaks = UnitMaps(layers).peaks().astype(np.float64)
        self._sum += peaks.sum(0)
        self._products += peaks.T @ peaks
        self._keep_best(peaks, _peak_places(layers), first)

    def table(self) -> UnitTable:
        """Return the statistics so far.

        Raises:
            UnitError: if nothing was added.
        """
        count = len(self.seen)
        if not count:
            raise UnitError("No image has been looked at.", "Add images to the studies.")
        mean = self._sum / count
        covariance = self._products / count - np.outer(mean, mean)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
        ids = list(self.seen)
        assert self._best_place is not None
        patches = tuple(
            tuple(
                (ids[n], tuple(float(x) for x in place), float(value))
                for n, place, value in zip(images, places, values, strict=True)
                if n >= 0
            )
            for images, places, values in zip(self._best_image, self._best_place, self._best, strict=True)
        )
        return UnitTable(
            version=self.version,
            images=count,
            names=self.names,
            thresholds=np.concatenate([_quantiles(sketch) for sketch in self._sketches.values()], axis=1),
            mean=mean.astype(np.float32),
            deviation=deviation.astype(np.float32),
            places=_principal_places(covariance / np.outer(deviation, deviation)),
            patches=patches,
        )

    def save(self, path: Path) -> None:
        """Write everything to one file that appears whole or not at all.

        Raises:
            WriteError: if the disk is full or the place cannot be written.
        """
        lengths: dict[str, list[int]] = {}
        arrays: dict[str, np.ndarray] = {
            "sum": self._sum,
            "products": self._products,
            "best": self._best,
            "best_image": self._best_image,
        }
        if self._best_place is not None:
            arrays["best_place"] = self._best_place
        for layer, sketch in self._sketches.items():
            parts = sketch.serialize()
            lengths[layer] = [len(part) for part in parts]
            arrays[f"sketch {layer}"] = np.frombuffer(b"".join(parts), np.uint8)
        header = {"version": self.version, "names": self.names, "seen": list(self.seen), "layers": lengths}
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> UnitStatistics:
        """Read what ``save`` wrote.

        Raises:
            UnitError: if the file is damaged; what it held can be gathered again.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                header = json.loads(arrays["header"].tobytes())
                made = cls(header["version"], header["names"])
                made.seen = dict.fromkeys(header["seen"])
                made._sum, made._products = arrays["sum"], arrays["products"]
                made._best, made._best_image = arrays["best"], arrays["best_image"]
                made._best_place = arrays.get("best_place")
                for layer, lengths in header["layers"].items():
                    made._sketches[layer] = _deserialized(arrays[f"sketch {layer}"].tobytes(), lengths)
        except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, BadZipFile) as error:
            raise UnitError(f"The unit statistics in {path.name} are damaged.", "Remove the file.") from error
        return made

    def _keep_best(self, peaks: np.ndarray, places: np.ndarray, first: int) -> None:
        """Merge a batch's peaks ``(b, units)`` at ``(b, units, dims)`` into the strongest ones."""
        if self._best_place is None:
            self._best_place = np.zeros((*self._best.shape, places.shape[2]), np.float32)
        numbers = np.broadcast_to(np.arange(first, first + len(peaks)), (peaks.shape[1], len(peaks)))
        values = np.concatenate([self._best, peaks.T.astype(np.float32)], axis=1)
        images = np.concatenate([self._best_image, numbers], axis=1)
        where = np.concatenate([self._best_place, np.swapaxes(places, 0, 1)], axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :KEPT_PATCHES]
        self._best, self._best_image = np.take_along_axis(values, order, 1), np.take_along_axis(images, order, 1)
        self._best_place = np.take_along_axis(where, order[..., None], 1)


def _peak_places(layers: dict[str, np.ndarray]) -> np.ndarray:
    """Return where each unit is strongest, as a share of each axis: ``(b, units, dims)`` float32."""
    found = []
    for values in layers.values():
        grid = values.shape[2:]
        index = np.unravel_index(values.reshape(*values.shape[:2], -1).argmax(2), grid)
        found.append(np.stack([(i + 0.5) / edge for i, edge in zip(index, grid, strict=True)], axis=-1))
    return np.concatenate(found, axis=1).astype(np.float32)


def _principal_places(correlation: np.ndarray) -> np.ndarray:
    """Return the two first principal components of units described by their correlations: ``(units, 2)`` float32."""
    values, vectors = np.linalg.eigh(correlation)
    return (vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))).astype(np.float32)


def _quantiles(sketch: vector_of_kll_floats_sketches) -> np.ndarray:
    """Return the quantiles ``(levels, units)``."""
    return np.stack([np.asarray(sketch.get_quantiles(each), dtype=np.float32).ravel() for each in QUANTILES])


def _deserialized(content: bytes, lengths: Sequence[int]) -> vector_of_kll_floats_sketches:
    sketch = vector_of_kll_floats_sketches(SKETCH, len(lengths))
    start = 0
    for unit, length in enumerate(lengths):
        sketch.deserialize(content[start : start + length], unit)
        start += length
    return sketch
