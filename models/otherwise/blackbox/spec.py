"""What a classifier's bundle says about the classifier: its classes, its inputs, and how to read its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from otherwise.blackbox.bundle import Bundle, bundle_version, common_metadata
from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.errors import BundleError

ACTIVATIONS = ("softmax", "sigmoid", "none")
"""What turns a model's outputs into probabilities; ``none``: they are probabilities already."""


@dataclass(frozen=True)
class ClassifierSpec:
    """How to ask a hosted model, and how to read its answer.

    Attributes:
        name: Name for people.
        version: Content version, 64 hexadecimal characters.
        classes: Class names in the order of the outputs.
        inputs: The images it wants.
        activation: One of ``ACTIVATIONS``.
        multi_label: Whether each class is a yes or no of its own.
        value_range: The network's own input range; images in [0, 1] are mapped to it linearly.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    inputs: InputSpec
    activation: str = "softmax"
    multi_label: bool = False
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise BundleError(f"Classes {list(self.classes)} are not two or more different names.", "Name each class.")
        if self.activation not in ACTIVATIONS:
            raise BundleError(f"Activation {self.activation!r} is unknown.", f"Give one of {', '.join(ACTIVATIONS)}.")
        if not self.value_range[0] < self.value_range[1]:
            raise BundleError(f"Value range {self.value_range} is empty.", "Give low,high with low < high.")


def read_spec(bundle: Bundle) -> ClassifierSpec:
    """Read a classifier's specification from its bundle.

    A bundle that was not made for us (no key ``otherwise``) is understood where MONAI's own fields and its
    preprocessing say enough.

    Raises:
        BundleError: naming the fields that are missing, or that contradict each other.
    """
    own, missing = bundle.own, []
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
        return ClassifierSpec(
            name=bundle.name,
            version=bundle_version(bundle),
            classes=_classes(bundle, classes, pred.get("num_channels")),
            inputs=InputSpec(
                size=tuple(int(edge) for edge in size),
                channels=int(channels),
                spacing=tuple(float(step) for step in own["spacing"]) if own.get("spacing") else None,
                intensity=_pair(intensity),
                modality=str(own.get("modality", image.get("modality", "OT"))),
                patches=_patches(own.get("patches")),
            ),
            activation=str(activation),
            multi_label=bool(own.get("multi_label", False)),
            value_range=_pair(value_range),
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
    value_range: tuple[float, float] = (0.0, 1.0),
    outputs: int | None = None,
    description: str = "",
    own: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Metadata of a classifier's bundle, the reverse of ``read_spec``.

    Args:
        name: Name for people.
        classes: Class names in the order of the outputs.
        inputs: The images it wants.
        weights: Path of the weights within the bundle.
        activation: One of ``ACTIVATIONS``.
        multi_label: Whether each class is a yes or no of its own.
        value_range: The network's own input range.
        outputs: Number of outputs where that is not the number of classes (1: probability of the second of two).
        description: For people.
        own: Further fields under ``otherwise``.
        more: Further top-level fields.
    """
    network_data_format = {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude" if inputs.modality != "CT" else "hounsfield",
                "modality": inputs.modality,
                "num_channels": inputs.channels,
                "spatial_shape": list(inputs.size),
                "dtype": "float32",
                "value_range": list(value_range),
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
    return common_metadata(
        name=name,
        task=f"Classify {inputs.modality} images: {' against '.join(classes)}",
        description=description or f"A classifier of {inputs.modality} images.",
        network_data_format=network_data_format,
        own={
            "kind": "classifier",
            "weights": weights,
            "spacing": list(inputs.spacing) if inputs.spacing else None,
            "intensity": list(inputs.intensity),
            "value_range": list(value_range),
            "activation": activation,
            "multi_label": multi_label,
            "modality": inputs.modality,
            **({"patches": asdict(inputs.patches)} if inputs.patches else {}),
            **(own or {}),
        },
        **more,
    )


def _patches(content: Mapping[str, Any] | None) -> PatchSpec | None:
    if content is None:
        return None
    fields = dict(content)
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
    """Steps of the bundle's own processing, which we read but never run."""
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
