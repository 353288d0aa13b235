"""Convert a view in [0, 1] to the input tensor of a network: axes, colours, range, normalisation, type.

Every step is differentiable and works on NumPy arrays and PyTorch tensors alike, so that gradients of a hosted network
are gradients of the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from otherwise.errors import BundleError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation per channel of images in [0, 1], as torchvision's and timm's pretrained networks want them."""
AXES = {
    2: ("rows,columns", "columns,rows"),
    3: ("x,y,z", "slices,rows,columns", "rows,columns,slices"),
}
"""Orders of a tensor's spatial axes; ``x,y,z`` is columns, rows, slices."""
PER_IMAGE = ("none", "z-score", "z-score-foreground", "min-max")
DTYPES = ("float32", "float16", "float64", "uint8")
_PLACE = {"columns": 0, "x": 0, "rows": 1, "y": 1, "slices": 2, "z": 2}


@dataclass(frozen=True)
class TensorSpec:
    """A network's input tensor, made of a view ``(batch, channels, columns, rows[, slices])`` in [0, 1].

    Attributes:
        axes: Order of the spatial axes, such as ``rows,columns``; see ``AXES``.
        channels_last: Whether channels are the last axis (NHWC, as Keras has it).
        colours: ``RGB`` or ``BGR``; of networks with three channels.
        value_range: Values that 0 and 1 are mapped to.
        mean: Subtracted per channel (or one for all), after ``value_range``; None: nothing.
        deviation: Divided by, likewise.
        per_image: Normalisation of each image by itself, before ``value_range``: ``none``; ``z-score`` per channel,
            of all voxels, or of the foreground (above zero; what is zero stays zero); ``min-max``.
        all_channels: Normalise an image by itself over all channels at once, not per channel.
        dtype: Type of the tensor. ``uint8`` is rounded.
    """

    axes: str = "columns,rows"
    channels_last: bool = False
    colours: str = "RGB"
    value_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    per_image: str = "none"
    all_channels: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not self.value_range[0] < self.value_range[1]:
            raise BundleError(f"Value range {self.value_range} is empty.", "Give low,high with low < high.")
        if self.colours not in ("RGB", "BGR"):
            raise BundleError(f"Colours {self.colours!r} are unknown.", "Give RGB or BGR.")
        if self.per_image not in PER_IMAGE:
            raise BundleError(f"Normalisation {self.per_image!r} is unknown.", f"Give {', '.join(PER_IMAGE)}.")
        if self.dtype not in DTYPES:
            raise BundleError(f"Type {self.dtype!r} is unknown.", f"Give {', '.join(DTYPES)}.")
        if self.deviation is not None and min(np.abs(self.deviation)) == 0:
            raise BundleError("A deviation of zero cannot be divided by.", "Give positive deviations.")
        if self.per_image != "none" and (self.mean is not None or self.deviation is not None):
            raise BundleError(
                f"{self.per_image} and a fixed mean or deviation contradict each other.", "Give only one of them."
            )
        order = [_PLACE.get(axis) for axis in self.axes.split(",")]
        if sorted(str(place) for place in order) != [str(place) for place in range(len(order))]:
            known = "; ".join(name for names in AXES.values() for name in names)
            raise BundleError(f"Axes {self.axes!r} are unknown.", f"Give one of: {known}.")

    @property
    def order(self) -> tuple[int, ...]:
        """Return for each spatial axis of the tensor its index in (columns, rows, slices)."""
        return tuple(_PLACE[axis] for axis in self.axes.split(","))

    def check(self, spatial_dims: int, channels: int) -> None:
        """Refuse a specification that does not fit a view.

        Raises:
            BundleError: if a field does not fit; the error names it.
        """
        if len(self.order) != spatial_dims:
            raise BundleError(
                f"Axes {self.axes!r} do not fit {spatial_dims} sizes.",
                f"Give one of: {'; '.join(AXES[spatial_dims])}.",
            )
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if values is not None and len(values) not in (1, channels):
                raise BundleError(
                    f"{len(values)} values of {name} do not fit {channels} channel(s).", "Give one for each channel."
                )
        if self.colours == "BGR" and channels != 3:
            raise BundleError(f"BGR does not fit {channels} channel(s).", "It is for three; leave it out.")

    def shape(self, size: tuple[int, ...], channels: int) -> tuple[int, ...]:
        """Return the shape of one image's tensor."""
        spatial = tuple(size[axis] for axis in self.order)
        return (*spatial, channels) if self.channels_last else (channels, *spatial)

    def of(self, view: Any) -> Any:
        """Convert a view to the tensor.

        Args:
            view: ``(batch, channels, columns, rows[, slices])`` in [0, 1]; NumPy array or PyTorch tensor.

        Returns:
            Tensor of the same library; NumPy arrays have the type ``dtype``, tensors of PyTorch keep theirs.
        """
        values = self._normalised(view)
        if self.colours == "BGR":
            values = values[:, [2, 1, 0]]
        places = [axis + 2 for axis in self.order]
        axes = (0, *places, 1) if self.channels_last else (0, 1, *places)
        if isinstance(values, np.ndarray):
            return self._typed(values.transpose(axes))
        return values.permute(axes)

    def _normalised(self, view: Any) -> Any:
        values = view
        if self.per_image != "none":
            values = self._by_itself(values)
        low, high = self.value_range
        if (low, high) != (0.0, 1.0):
            values = values * float(high - low) + float(low)
        if self.mean is not None:
            values = values - _per_channel(self.mean, values)
        if self.deviation is not None:
            values = values / _per_channel(self.deviation, values)
        return values

    def _by_itself(self, values: Any) -> Any:
        axes = tuple(range(1 if self.all_channels else 2, values.ndim))
        if self.per_image == "min-max":
            low, high = (_extreme(values, axes, name) for name in ("min", "max"))
            spread = high - low
            return (values - low) / (spread + (spread == 0))
        chosen = values > 0 if self.per_image == "z-score-foreground" else values == values
        count = _sum(chosen, axes)
        count = count + (count == 0)
        mean = _sum(values * chosen, axes) / count
        deviation = (_sum(chosen * (values - mean) ** 2, axes) / count) ** 0.5
        return chosen * (values - mean) / (deviation + (deviation == 0))

    def _typed(self, values: np.ndarray) -> np.ndarray:
        if self.dtype == "uint8":
            values = np.clip(np.rint(values), 0, 255)
        return np.ascontiguousarray(values, dtype=self.dtype)


def _sum(values: Any, axes: tuple[int, ...]) -> Any:
    if isinstance(values, np.ndarray):
        return values.sum(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
    return values.double().sum(dim=axes, keepdim=True).float()


def _extreme(values: Any, axes: tuple[int, ...], name: str) -> Any:
    if isinstance(values, np.ndarray):
        return getattr(values, name)(axis=axes, keepdims=True)
    return getattr(values, f"a{name}")(dim=axes, keepdim=True)


def _per_channel(numbers: tuple[float, ...], like: Any) -> Any:
    shape = (1, len(numbers), *([1] * (like.ndim - 2)))
    array = np.array(numbers, np.float32).reshape(shape)
    if isinstance(like, np.ndarray):
        return array
    return like.new_tensor(array)
