"""Options of ``otherwise classifier import`` as an input contract, with what was assumed where nothing was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otherwise.errors import OtherwiseError

if TYPE_CHECKING:
    from otherwise.blackbox.protocol import InputSpec, PatchSpec
    from otherwise.blackbox.tensor import TensorSpec


class UsageError(OtherwiseError):
    """An option cannot be understood, or contradicts another."""

    code = "usage"


@dataclass(frozen=True)
class Contract:
    """The input contract of a model, with what was assumed.

    Attributes:
        inputs: From an image to the view.
        tensor: From the view to the network's tensor.
        assumed: What nobody said, one sentence each with the option that says it.
    """

    inputs: InputSpec
    tensor: TensorSpec
    assumed: tuple[str, ...]


def read_contract(
    *,
    size: str,
    channels: int,
    spacing: str | None,
    intensity: str | None,
    modality: str,
    patches: PatchSpec | None,
    axes: str | None,
    orientation: str | None,
    fit: str | None,
    interpolation: str | None,
    grey: str,
    layout: str,
    colours: str,
    value_range: str | None,
    mean: str | None,
    deviation: str | None,
    normalise: str,
    dtype: str,
) -> Contract:
    """Read the options; each is text as it was typed, None where it was not given.

    Raises:
        UsageError: if an option cannot be understood, is needed, or contradicts another.
        BundleError: if a value is unknown.
    """
    from otherwise.blackbox.protocol import InputSpec
    from otherwise.blackbox.tensor import IMAGENET, PER_IMAGE, TensorSpec

    edges = read_size(size)
    volume = len(edges) == 3
    steps = read_numbers("--spacing", spacing, len(edges)) if spacing else None
    assumed: list[str] = []

    def default(value: str | None, otherwise: str, sentence: str) -> str:
        if value is None:
            assumed.append(sentence)
        return otherwise if value is None else value

    axes = default(
        axes,
        "x,y,z" if volume else "rows,columns",
        "the tensor's axes are x,y,z (--axes)." if volume else "the tensor's axes are rows,columns (--axes).",
    )
    turns: str | None = None
    if volume:
        usual = "LPS" if axes.startswith(("slices", "z", "rows")) else "RAS"
        turns = default(orientation, usual, f"volumes are turned to {usual} (--orientation).")
    elif orientation is not None:
        turns = orientation
    turns = None if turns == "file" else turns
    if steps is None:
        fit = default(fit, "stretch", "the whole field of view is stretched to the size (--field-of-view, --spacing).")
    elif fit is not None:
        raise UsageError("--spacing and --field-of-view contradict each other.", "Give only one of them.")
    kernel = "linear" if volume else "antialias"
    interpolation = default(interpolation, kernel, f"images are resampled as {kernel} (--interpolation).")
    by_itself = normalise if normalise in PER_IMAGE else "none"
    if normalise not in (*PER_IMAGE, "imagenet"):
        raise UsageError(f"--normalise {normalise!r} is unknown.", f"Give imagenet or one of {', '.join(PER_IMAGE)}.")
    if normalise == "imagenet" and (mean is not None or deviation is not None):
        raise UsageError("--normalise imagenet and --mean or --deviation contradict each other.", "Give only one.")
    if normalise == "imagenet" and value_range is not None and read_numbers("--value-range", value_range, 2) != (0, 1):
        raise UsageError("--normalise imagenet is for images in [0, 1].", "Leave --value-range out.")
    if by_itself != "none" and intensity is None:
        intensity = "image"
    if intensity is None and volume:
        raise UsageError("--intensity is missing.", "Give low,high in the image's units, such as -1000,400 for CT.")
    own_window = default(intensity, "0,255", "images have values from 0 to 255 (--intensity).") == "image"
    if own_window and by_itself == "none":
        by_itself = "min-max"
    low, high = (0.0, 1.0) if own_window else read_numbers("--intensity", intensity or "0,255", 2)
    if dtype == "uint8" and value_range is None:
        value_range = "0,255"
    first, last = (0.0, 1.0)
    if value_range is not None:
        first, last = read_numbers("--value-range", value_range, 2)
    elif by_itself == "none":
        assumed.append("0 and 1 are what the network's range begins and ends with (--value-range).")
    if normalise == "none" and by_itself == "none" and mean is None and deviation is None and dtype != "uint8":
        assumed.append("no mean is subtracted (--normalise imagenet, z-score; --mean, --deviation).")
    if layout not in ("NCHW", "NHWC"):
        raise UsageError(f"--layout {layout!r} is unknown.", "Give NCHW or NHWC.")
    imagenet = normalise == "imagenet"
    if imagenet and channels == 1:
        raise UsageError("--normalise imagenet is for three channels.", "Give --channels 3.")
    tensor = TensorSpec(
        axes=axes,
        channels_last=layout == "NHWC",
        colours=colours,
        value_range=(first, last),
        mean=IMAGENET[0] if imagenet else _per_channel("--mean", mean, channels),
        deviation=IMAGENET[1] if imagenet else _per_channel("--deviation", deviation, channels),
        per_image=by_itself,
        dtype=dtype,
    )
    tensor.check(len(edges), channels)
    inputs = InputSpec(
        edges,
        channels,
        steps,
        (low, high),
        modality,
        patches,
        orientation=turns,
        fit=fit or "stretch",
        interpolation=interpolation,
        own_window=own_window,
        grey=grey,
    )
    return Contract(inputs, tensor, tuple(assumed))


def read_patches(
    find: str | None, foreground: float | None = None, overlap: float | None = None, share: float | None = None
) -> PatchSpec | None:
    """Read how patches are laid; None where the classifier looks at whole images.

    Raises:
        UsageError: if something is said of patches, and not what to find.
        BundleError: if a value is impossible.
    """
    from otherwise.blackbox.protocol import PatchSpec

    given = {"foreground": foreground, "overlap": overlap, "share": share}
    stated = {name: value for name, value in given.items() if value is not None}
    if find is not None:
        return PatchSpec(read_names(find), **stated)
    for name in stated:
        raise UsageError(
            f"--{name} is for classifiers of patches.",
            "Name the classes worth finding with --find; of a value higher, lower or a threshold.",
        )
    return None


def read_thresholds(texts: Sequence[str], classes: Sequence[str], multi_label: bool) -> tuple[float, ...] | None:
    """Read ``CLASS=0.3``, any number of them.

    Raises:
        UsageError: if a class is unknown, a number is none in (0, 1), or it is not clear when another class is said.
    """
    if not texts:
        return None
    given: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if name not in classes:
            raise UsageError(f"--threshold {text!r} names no class.", f"Give one of {', '.join(classes)}, as A=0.3.")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 < value < 1:
            raise UsageError(f"--threshold {text!r} is no probability.", "Give a number between 0 and 1.")
        given[name] = value
    if multi_label:
        return tuple(given.get(name, 0.5) for name in classes)
    if len(classes) == 2:
        first, second = classes
        if len(given) == 2 and abs(given[first] + given[second] - 1) > 1e-9:
            raise UsageError("The two thresholds contradict each other.", "Give one; the other is one minus it.")
        value = given.get(second, 1 - given.get(first, 0.5))
        return (1 - value, value)
    if len(given) != len(classes):
        raise UsageError("Some classes have no threshold.", "Give one for each class.")
    return tuple(given[name] for name in classes)


def read_fill(texts: Sequence[str]) -> dict[str, float]:
    """Read ``NAME=VALUE``, any number of them."""
    values = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name:
            raise UsageError(f"--fill {text!r} is not NAME=VALUE.", "Give the input's name and a number.")
        (values[name],) = read_numbers("--fill", number, 1)
    return values


def read_names(text: str) -> tuple[str, ...]:
    """Return names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_size(text: str) -> tuple[int, ...]:
    """Return two or three whole numbers: columns, rows, slices."""
    edges = read_numbers("--size", text, 2, 3)
    if any(edge != int(edge) for edge in edges):
        raise UsageError(f"--size {text!r} is not whole numbers.", "Give voxels, such as 96,96.")
    return tuple(int(edge) for edge in edges)


def read_numbers(option: str, text: str, *counts: int) -> tuple[float, ...]:
    """Return numbers between commas.

    Raises:
        UsageError: if there are other than so many.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise UsageError(f"{option} {text!r} is not {wanted} numbers.", "Separate them by commas, such as 0,1.")
    return values


def _per_channel(option: str, text: str | None, channels: int) -> tuple[float, ...] | None:
    return read_numbers(option, text, *{1, channels}) if text is not None else None
