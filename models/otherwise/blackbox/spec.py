"""Read and write a classifier's specification in its bundle: classes, inputs, outputs.

The contract has a version, ``otherwise.contract``. Bundles without one are of the first version: their networks take
columns first, in the file's own orientation, and are resampled as ``images.kernels.gaussian`` does. From the third
version on, the placement of patches is not part of a classifier's version; see ``bundle.bundle_version``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from otherwise.blackbox.bundle import Bundle, bundle_version, common_metadata
from otherwise.blackbox.concern import check_wanted
from otherwise.blackbox.output_kind import LABELS, NO_VALUE, OutputKind
from otherwise.blackbox.outputs import ACTIVATIONS
from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.blackbox.tensor import AXES, TensorSpec
from otherwise.errors import BundleError

CONTRACT = 4
"""Latest version of the contract; this package reads it and all earlier ones."""
CLASS_CONTRACT = 3
"""Version that bundles of classes are written in; those of values are of the latest."""
LEAST_TISSUE = 0.25
"""Least share of tissue in a patch, for bundles of contract 1 and 2, which do not declare it."""


@dataclass(frozen=True)
class ClassifierSpec:
    """Specification of a hosted model: its inputs and outputs.

    Attributes:
        name: Display name.
        version: Content version, 64 hexadecimal characters.
        classes: Class names in the order of the outputs; of a value those of ``answer``.
        inputs: Conversion of an image to its view.
        activation: One of ``outputs.ACTIVATIONS``.
        multi_label: Whether each class is a yes or no of its own.
        tensor: The network's input tensor; by default the view's own axes in [0, 1].
        output: Key or index of the answer where the network returns several things; None: the only one.
        batch_size: Fixed number of images in a batch; None: any number.
        thresholds: Least probability of each class for its prediction; None: the most probable class, or 0.5 for each
            of several labels.
        contract: Version of the contract of its bundle.
        answer: What it says: one of classes, labels, or a value, whose two classes follow from it.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    inputs: InputSpec
    activation: str = "softmax"
    multi_label: bool = False
    tensor: TensorSpec = field(default_factory=TensorSpec)
    output: str | int | None = None
    batch_size: int | None = None
    thresholds: tuple[float, ...] | None = None
    contract: int = 1
    answer: OutputKind = NO_VALUE

    def __post_init__(self) -> None:
        if self.multi_label and self.answer == NO_VALUE:
            object.__setattr__(self, "answer", OutputKind(LABELS))
        if self.answer.is_value:
            object.__setattr__(self, "classes", self.answer.classes)
        if self.inputs.spatial_dims == 3 and self.tensor == TensorSpec():
            object.__setattr__(self, "tensor", TensorSpec(axes=AXES[3][0]))
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise BundleError(f"Classes {list(self.classes)} are not two or more different names.", "Name each class.")
        if self.activation not in ACTIVATIONS:
            raise BundleError(f"Activation {self.activation!r} is unknown.", f"Give one of {', '.join(ACTIVATIONS)}.")
        if self.inputs.patches is not None:
            check_wanted(self.inputs.patches, self.classes, self.multi_label, self.answer)
        if self.thresholds is not None and (
            len(self.thresholds) != len(self.classes) or not all(0 < each < 1 for each in self.thresholds)
        ):
            raise BundleError(f"Thresholds {self.thresholds} do not fit.", "Give one in (0, 1) for each class.")


def read_spec(bundle: Bundle) -> ClassifierSpec:
    """Read a classifier's specification from its bundle.

    A bundle of another origin (no key ``otherwise``) is read where MONAI's fields and its preprocessing are sufficient.

    Raises:
        BundleError: if fields are missing or contradict each other, or the contract is of a later version.
    """
    own, missing = bundle.own, []
    contract = own.get("contract", 1)
    if not isinstance(contract, int) or contract > CONTRACT:
        raise BundleError(
            f"{bundle.folder} was written by a later version (contract {contract}; this one reads up to {CONTRACT}).",
            "Update Otherwise.",
        )
    image = _mapping(bundle.metadata, "network_data_format", "inputs", "image")
    pred = _mapping(bundle.metadata, "network_data_format", "outputs", "pred")
    window = _window(bundle.inference)
    found: dict[str, Any] = {
        "network_data_format.inputs.image.spatial_shape": image.get("spatial_shape"),
        "network_data_format.inputs.image.num_channels": image.get("num_channels"),
        "network_data_format.outputs.pred.channel_def": pred.get("channel_def"),
        "otherwise.intensity": own.get("intensity", window.get("intensity")),
        "otherwise.activation": own.get("activation", _activation(bundle.inference)),
    }
    missing = [key for key, value in found.items() if value is None]
    if missing:
        raise BundleError(f"{bundle.folder} does not say {', '.join(missing)}.", "Add that to configs/metadata.json.")
    size, channels, classes, intensity, activation = found.values()
    value_range = own.get("value_range", window.get("value_range", image.get("value_range", (0.0, 1.0))))
    try:
        answer = OutputKind.from_dict(own.get("answer") or {})
        tensor = TensorSpec(
            axes=str(own.get("axes", "columns,rows" if len(size) == 2 else "x,y,z")),
            channels_last=bool(own.get("channels_last", False)),
            colours=str(own.get("colours", "RGB")),
            value_range=_pair(value_range),
            mean=_numbers(own.get("mean")),
            deviation=_numbers(own.get("deviation")),
            per_image=str(own.get("per_image", "none")),
            all_channels=bool(own.get("all_channels", False)),
            dtype=str(own.get("dtype", "float32")),
        )
        inputs = InputSpec(
            size=_in_our_order(size, tensor) if contract > 1 else tuple(int(edge) for edge in size),
            channels=int(channels),
            spacing=_numbers(own.get("spacing")),
            intensity=_pair(intensity),
            modality=str(own.get("modality", image.get("modality", "OT"))),
            patches=_patches(own.get("patches"), contract),
            orientation=own.get("orientation"),
            fit=str(own.get("fit", "stretch")),
            interpolation=str(own.get("interpolation", "gaussian")),
            own_window=bool(own.get("own_window", False)),
            grey=str(own.get("grey", "refuse")),
        )
        tensor.check(inputs.spatial_dims, inputs.channels)
        return ClassifierSpec(
            name=bundle.name,
            version=bundle_version(bundle),
            classes=answer.classes if answer.is_value else _classes(bundle, classes, pred.get("num_channels")),
            inputs=inputs,
            activation=str(activation),
            multi_label=bool(own.get("multi_label", False)),
            tensor=tensor,
            output=own.get("output"),
            batch_size=int(own["batch_size"]) if own.get("batch_size") else None,
            thresholds=_numbers(own.get("thresholds")),
            contract=contract,
            answer=answer,
        )
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise BundleError(
            f"{bundle.folder}: configs/metadata.json has a wrong value ({error}).", "Correct it."
        ) from error


def classifier_metadata(
    *,
    name: str,
    classes: Sequence[str],
    inputs: InputSpec,
    weights: str | None,
    activation: str = "softmax",
    multi_label: bool = False,
    value_range: tuple[float, float] | None = None,
    tensor: TensorSpec | None = None,
    outputs: int | None = None,
    description: str = "",
    own: Mapping[str, Any] | None = None,
    answer: OutputKind = NO_VALUE,
    **more: Any,
) -> dict[str, Any]:
    """Return the metadata of a classifier's bundle, the inverse of ``read_spec``.

    Args:
        name: Display name.
        classes: Class names in the order of the outputs.
        inputs: Its input specification.
        weights: Path of the weights within the bundle.
        activation: One of ``outputs.ACTIVATIONS``.
        multi_label: Whether each class is a yes or no of its own.
        value_range: The network's input range, if ``tensor`` is not given.
        tensor: The network's input tensor; default: columns first, in ``value_range``.
        outputs: Number of outputs where that is not the number of classes (1: probability of the second of two).
        description: Description.
        own: Further fields under ``otherwise``, such as ``output``, ``batch_size`` and ``thresholds``.
        answer: What it says; of a value its classes follow, and ``classes`` are those of ``answer``.
        more: Further top-level fields.
    """
    plain = TensorSpec("columns,rows" if inputs.spatial_dims == 2 else "x,y,z", value_range=value_range or (0.0, 1.0))
    tensor = tensor or plain
    classes = answer.classes if answer.is_value else classes
    tensor.check(inputs.spatial_dims, inputs.channels)
    network_data_format: dict[str, Any] = {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude" if inputs.modality != "CT" else "hounsfield",
                "modality": inputs.modality,
                "num_channels": inputs.channels,
                "spatial_shape": [inputs.size[axis] for axis in tensor.order],
                "dtype": tensor.dtype,
                "value_range": list(tensor.value_range),
                "is_patch_data": inputs.patches is not None,
                "channel_def": {str(channel): "image" for channel in range(inputs.channels)},
            }
        },
        "outputs": {
            "pred": {
                "type": "probabilities",
                "format": "classes",
                "num_channels": outputs or len(classes),
                "spatial_shape": [],
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": False,
                "channel_def": {str(index): label for index, label in enumerate(classes)},
            }
        },
    }
    if answer.is_value:
        network_data_format["outputs"]["pred"].update(_value_format(answer, outputs or 1))
    declared = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(tensor).items()}
    return common_metadata(
        name=name,
        task=f"Say the {answer.name} of {inputs.modality} images"
        if answer.is_value
        else f"Classify {inputs.modality} images: {' against '.join(classes)}",
        description=description or f"A classifier of {inputs.modality} images.",
        network_data_format=network_data_format,
        own={
            "kind": "classifier",
            "contract": CONTRACT if answer.is_value else CLASS_CONTRACT,
            "weights": weights,
            "orientation": inputs.orientation,
            "fit": inputs.fit,
            "spacing": list(inputs.spacing) if inputs.spacing else None,
            "interpolation": inputs.interpolation,
            "grey": inputs.grey,
            "intensity": list(inputs.intensity),
            "own_window": inputs.own_window,
            **declared,
            "activation": activation,
            "multi_label": multi_label,
            "modality": inputs.modality,
            **({"patches": asdict(inputs.patches)} if inputs.patches else {}),
            **({"answer": answer.to_dict()} if answer.is_value else {}),
            **(own or {}),
        },
        **more,
    )


def _value_format(answer: OutputKind, outputs: int) -> dict[str, Any]:
    """Return what MONAI's metadata says of the outputs of a model that says a value."""
    return {
        "type": answer.kind,
        "format": answer.unit,
        "num_channels": outputs,
        "value_range": list(answer.range or ()),
        "channel_def": {str(index): answer.name for index in range(outputs)},
    }


def _in_our_order(size: Sequence[Any], tensor: TensorSpec) -> tuple[int, ...]:
    """Return columns, rows and slices of a network's own spatial shape."""
    if len(size) != len(tensor.order):  # refused where the size is checked
        return tuple(int(edge) for edge in size)
    edges = dict(zip(tensor.order, size, strict=True))
    return tuple(int(edges[axis]) for axis in range(len(size)))


def _numbers(value: Any) -> tuple[float, ...] | None:
    return tuple(float(number) for number in value) if value is not None else None


def _patches(content: Mapping[str, Any] | None, contract: int) -> PatchSpec | None:
    if content is None:
        return None
    fields = dict(content)
    if contract < 3:
        fields["share"] = max(float(fields.get("share", 0.0)), LEAST_TISSUE)
    return PatchSpec(**{**fields, "wanted": tuple(str(name) for name in fields["wanted"])})


def _mapping(content: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        content = content.get(key, {})
        if not isinstance(content, Mapping):
            return {}
    return content


def _pair(value: Any) -> tuple[float, float]:
    low, high = value
    return (float(low), float(high))


def _classes(bundle: Bundle, channel_def: Any, outputs: int | None) -> tuple[str, ...]:
    if not isinstance(channel_def, Mapping) or sorted(channel_def) != sorted(str(i) for i in range(len(channel_def))):
        raise BundleError(
            f"{bundle.folder}: channel_def does not number the classes from 0.", 'Write {"0": ..., "1": ...}.'
        )
    classes = tuple(str(channel_def[str(index)]) for index in range(len(channel_def)))
    if outputs is not None and outputs != len(classes) and (outputs, len(classes)) != (1, 2):
        raise BundleError(
            f"{bundle.folder} names {len(classes)} classes ({', '.join(classes)}) for {outputs} outputs.",
            "Make num_channels and channel_def of outputs.pred agree.",
        )
    return classes


def _transforms(inference: Mapping[str, Any], *names: str) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of the bundle's own processing with these names; they are read but not run."""
    for part in ("preprocessing", "postprocessing"):
        steps = inference.get(part, {})
        listed = steps.get("transforms") if isinstance(steps, Mapping) else None
        for step in listed if isinstance(listed, list) else ():
            if isinstance(step, Mapping) and str(step.get("_target_", "")).rpartition(".")[2] in names:
                yield step


def _window(inference: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    for step in _transforms(inference, "ScaleIntensityRange", "ScaleIntensityRanged"):
        return {
            "intensity": (step.get("a_min"), step.get("a_max")),
            "value_range": (step.get("b_min", 0.0), step.get("b_max", 1.0)),
        }
    return {}


def _activation(inference: Mapping[str, Any]) -> str | None:
    for step in _transforms(inference, "Activations", "Activationsd"):
        for activation in ("softmax", "sigmoid"):
            if step.get(activation) is True:
                return activation
    return None
