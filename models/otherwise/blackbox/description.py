"""Describe a classifier's declared inputs in words, for checks and reports."""

from __future__ import annotations

from collections.abc import Sequence

from otherwise.blackbox.decision import thresholds_of
from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.blackbox.tensor import TensorSpec


def tensor_of(classifier: BlackBox) -> TensorSpec:
    """Return the tensor specification of a classifier; columns first where none is declared."""
    while (inner := getattr(classifier, "inner", None)) is not None:
        classifier = inner
    spec = getattr(classifier, "spec", None)
    plain = TensorSpec("columns,rows" if classifier.inputs.spatial_dims == 2 else "x,y,z")
    return spec.tensor if spec is not None else plain


def describe_field(inputs: InputSpec) -> str:
    """Describe the field of view, such as ``64 x 64 at 0.4 x 0.4 mm``."""
    size = " x ".join(str(edge) for edge in inputs.size)
    if inputs.any_size:
        return "images of any size"
    if inputs.spacing:
        return f"{size} at {' x '.join(f'{step:g}' for step in inputs.spacing)} mm"
    return f"{size} of the whole field of view"


def describe_contract(classifier: BlackBox) -> str:
    """Describe in one sentence what a bundle declares beyond size and window."""
    inputs, tensor = classifier.inputs, tensor_of(classifier)
    if inputs.pipeline is not None:
        return _with_thresholds("prepared by the bundle's own preprocessing, which MONAI runs", classifier)
    low, high = tensor.value_range
    steps = [f"values {low:g} to {high:g}"]
    if tensor.per_image != "none":
        steps.append(f"{tensor.per_image} of each image")
    for name, values in (("mean", tensor.mean), ("deviation", tensor.deviation)):
        if values is not None:
            steps.append(f"{name} {' '.join(f'{value:g}' for value in values)}")
    field = "" if inputs.spacing else f", field of view {inputs.fit}"
    layout = f"axes {tensor.axes.replace(',', ', ')}, {'NHWC' if tensor.channels_last else 'NCHW'}, {tensor.colours}"
    contract = (
        f"{layout}, orientation {inputs.orientation or 'as stored'}{field}, interpolation {inputs.interpolation}, "
        f"{', '.join(steps)}, {tensor.dtype}"
    )
    return _with_thresholds(contract, classifier)


def describe_thresholds(classes: Sequence[str], thresholds: Sequence[float]) -> str:
    """Describe the threshold of each class."""
    return ", ".join(f"{name} from {value:g}" for name, value in zip(classes, thresholds, strict=True))


def _with_thresholds(contract: str, classifier: BlackBox) -> str:
    thresholds = thresholds_of(classifier)
    return f"{contract}; {describe_thresholds(classifier.classes, thresholds)}." if thresholds else f"{contract}."
