"""Host a MONAI bundle with its own preprocessing, which MONAI itself carries out.

The preprocessing is split in two: its geometric part makes the view that is shown and edited; the intensity steps at
its end are applied to every view that the network is asked about. Deterministic transforms of MONAI with literal
arguments need no trust; anything else does, and what cannot be followed is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandomizableTrait
from torch import nn

from otherwise.blackbox.bundle import Bundle, bundle_version, leaves, refuse_code
from otherwise.blackbox.hosted import HostedClassifier
from otherwise.blackbox.networks import load_network, trusted_code
from otherwise.blackbox.protocol import InputSpec, Prepared
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.blackbox.tensor import TensorSpec
from otherwise.blackbox.torch_host import check_device
from otherwise.errors import BundleError, ClassifierError, ImageError
from otherwise.images.image import Geometry, Image

_READ_HERE = ("LoadImage", "EnsureChannelFirst")
"""Steps that this package does itself."""
_NEUTRAL = ("EnsureType", "ToTensor", "CastToType")
_INTENSITY = ("NormalizeIntensity", "ScaleIntensity", "ScaleIntensityRange", *_NEUTRAL)
_REFUSED = re.compile(r"Lambda|Adaptor|TorchVision|Save|Load|SimulateDelay|Invert|DataStats|TorchIO|Identity")
_TYPE = re.compile(r"\$\s*(?:np|numpy|torch)\.(float16|float32|float64|uint8|int16|int32|int64)")
_EDGE = re.compile(r"\s*(\d+)\s*\*\s*n\s*")
_MULTIPLE = 64
"""About so many voxels stand for an edge that may be any multiple."""
_TRUST = "If you trust whoever made it, allow it with --trust-code."


@dataclass(frozen=True)
class _Step:
    """One step of a preprocessing: its name without the ``d`` of dictionary transforms, and its arguments."""

    name: str
    target: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class MonaiPipeline:
    """A bundle's own preprocessing; implements ``protocol.Pipeline``.

    Attributes:
        head: Geometric part.
        size: What it should give.
        channels: Likewise.
        window: Fixed ``(low, high)``; None: each image's own.
        through_zero: Whether an image's own window has to begin at zero, since zero is background.
    """

    head: Compose
    size: tuple[int, ...]
    channels: int
    window: tuple[float, float] | None
    through_zero: bool

    def prepare(self, image: Image) -> Prepared:
        """Carry out the geometric part; see ``protocol.Pipeline``."""
        flat = len(self.size) == 2
        array = image.array[..., 0] if flat else image.array
        tensor = MetaTensor(
            torch.from_numpy(np.array(array, np.float32)), affine=torch.from_numpy(np.array(image.geometry.affine))
        )
        try:
            done = self.head({"image": tensor})["image"]
        except Exception as error:  # whatever a transform may raise
            cause = error.__cause__ or error
            fault = (str(cause).strip().splitlines() or [type(cause).__name__])[-1][:200]
            raise ImageError(f"The bundle's preprocessing failed: {fault}", "Give an image of its kind.") from error
        values = np.asarray(torch.as_tensor(done).float().numpy())
        if values.shape != (self.channels, *self.size):
            raise ImageError(
                f"The bundle's preprocessing makes {values.shape} of image {image.id}, and its network is declared for "
                f"{(self.channels, *self.size)}.",
                "Give an image of that kind, or correct spatial_shape in configs/metadata.json.",
            )
        low, high = self.window or (float(values.min()), float(values.max()))
        if self.window is None and self.through_zero:
            low = min(low, 0.0)
        affine = np.asarray(getattr(done, "affine", image.geometry.affine), np.float64)
        i, j, k = (*values.shape[1:], 1) if flat else values.shape[1:]
        return Prepared(values[..., None] if flat else values, Geometry((i, j, k), affine), (low, high))


def monai_host(bundle: Bundle, device: str = "cpu", trust_code: bool = False) -> HostedClassifier:
    """Host the bundle.

    Raises:
        BundleError: if a step cannot be followed, or needs a trust that is not given, or something is not declared.
    """
    if bundle.scripts and not trust_code:
        refuse_code(bundle)
    image = bundle.metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    pred = bundle.metadata.get("network_data_format", {}).get("outputs", {}).get("pred", {})
    steps = _steps(bundle, "preprocessing", trust_code)
    _check_inferer(bundle)
    first_of_tail = len(steps)
    while first_of_tail and steps[first_of_tail - 1].name in _INTENSITY:
        first_of_tail -= 1
    head, tail = steps[:first_of_tail], steps[first_of_tail:]
    window, through_zero = _window(bundle, tail)
    size = _size(bundle, image.get("spatial_shape"), head)
    channels = int(image.get("num_channels", 1))
    pipeline = MonaiPipeline(_compose(bundle, head, trust_code), size, channels, window, through_zero)
    activation, several = _activation(bundle, trust_code)
    classes = _classes(bundle, pred)
    outputs = int(pred.get("num_channels", len(classes)))
    inputs = InputSpec(
        size,
        channels,
        intensity=window or (0.0, 1.0),
        modality=str(bundle.own.get("modality", image.get("modality", "OT"))),
        own_window=window is None,
        pipeline=pipeline,
    )
    spec = ClassifierSpec(
        bundle.name,
        bundle_version(bundle),
        classes,
        inputs,
        activation,
        bool(bundle.own.get("multi_label", several and outputs > 1)),
        TensorSpec("columns,rows" if len(size) == 2 else "x,y,z", value_range=window or (0.0, 1.0)),
    )
    where = check_device(device)
    network = load_network(_without_imports(bundle, trust_code), where, trust_code)
    return HostedClassifier(spec, _scores(network, _compose(bundle, tail, trust_code), where))


def _scores(network: nn.Module, tail: Compose, device: torch.device) -> Any:
    def scores(images: np.ndarray) -> np.ndarray:
        try:
            with torch.inference_mode():
                each = [torch.as_tensor(tail({"image": MetaTensor(torch.from_numpy(one))})["image"]) for one in images]
                answer = network(torch.stack(each).float().to(device))
        except Exception as error:  # whatever a network's own code may raise
            fault = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ClassifierError(f"The network failed: {fault}.", "Check the bundle's size and channels.") from error
        answer = answer[0] if isinstance(answer, (tuple, list)) else answer
        return answer.double().cpu().numpy()

    return scores


def _steps(bundle: Bundle, part: str, trust_code: bool) -> list[_Step]:
    """Steps of a part of the configuration, checked."""
    definition = bundle.inference.get(part) or {}
    listed = definition.get("transforms", []) if isinstance(definition, Mapping) else definition
    if not isinstance(listed, list):
        raise BundleError(f"{part} of {bundle.folder} is no Compose with a list of transforms.", "Correct it.")
    steps = []
    for number, step in enumerate(listed):
        target = str(step.get("_target_", "")) if isinstance(step, Mapping) else str(step)
        if isinstance(step, Mapping) and step.get("_disabled_"):
            continue
        short = target.rpartition(".")[2]
        name = re.sub(r"(d|D|Dict)$", "", short)
        if name in _READ_HERE:
            continue
        arguments = {key: value for key, value in step.items() if not key.startswith("_")} if target else {}
        arguments = {key: _typed(value) for key, value in arguments.items()}
        risky = [place for place, value in leaves(arguments) if str(value).lstrip().startswith(("$", "%", "@"))]
        if (risky or not _is_safe(target)) and not trust_code:
            what = f"{short} ({risky[0]})" if risky else short
            raise BundleError(f"Step {number + 1} of {part}, {what}, is no deterministic transform of MONAI.", _TRUST)
        steps.append(_Step(name, target, arguments))
    return steps


def _typed(value: Any) -> Any:
    """``$np.float32`` and the like are harmless: the name of the type."""
    found = _TYPE.fullmatch(value) if isinstance(value, str) else None
    return getattr(torch, found[1]) if found else value


def _is_safe(target: str) -> bool:
    import monai.transforms

    module, _, short = target.rpartition(".")
    if (module and not module.startswith("monai.transforms")) or _REFUSED.search(short):
        return False
    found = getattr(monai.transforms, short, None)
    native = str(getattr(found, "__module__", "")).startswith("monai.transforms")
    return native and isinstance(found, type) and not issubclass(found, RandomizableTrait)


def _compose(bundle: Bundle, steps: list[_Step], trust_code: bool) -> Compose:
    """Build the steps through MONAI's ConfigParser."""
    from monai.bundle.config_parser import ConfigParser

    definitions = [{"_target_": step.target, **step.arguments} for step in steps]
    config: dict[str, Any] = dict(bundle.inference) if trust_code else {}
    config["_steps"] = definitions
    try:
        parser = ConfigParser(config)
        if trust_code:
            with trusted_code(bundle.folder):
                return Compose(parser.get_parsed_content("_steps"))
        return Compose(parser.get_parsed_content("_steps"))
    except Exception as error:
        fault = " ".join(str(error.__cause__ or error).split())[:200]
        raise BundleError(f"The preprocessing of {bundle.folder} cannot be built: {fault}", "Correct it.") from error


def _without_imports(bundle: Bundle, trust_code: bool) -> Bundle:
    """The network alone: imports that nothing needs are not run, and need no trust."""
    if trust_code:
        return bundle
    definition = dict(bundle.inference["network_def"])
    target = str(definition.get("_target_", ""))
    if "." not in target:
        definition["_target_"] = f"monai.networks.nets.{target}"
    return Bundle(bundle.folder, bundle.metadata, {"network_def": definition})


def _window(bundle: Bundle, tail: list[_Step]) -> tuple[tuple[float, float] | None, bool]:
    """The window that a view is shown in, and whether an image's own has to begin at zero."""
    step = next((step for step in tail if step.name not in _NEUTRAL), None)
    if step is not None and step.name == "ScaleIntensityRange":
        return (float(step.arguments["a_min"]), float(step.arguments["a_max"])), False
    alone = step is not None and (
        (step.name == "NormalizeIntensity" and not {"subtrahend", "divisor"} & set(step.arguments))
        or (step.name == "ScaleIntensity" and step.arguments.get("minv", 0.0) is not None)
    )
    if alone and step is not None:
        return None, bool(step.arguments.get("nonzero", False))
    own = bundle.own.get("intensity")
    if own is None:
        raise BundleError(
            f"The preprocessing of {bundle.folder} does not say which values its images have.",
            "Add otherwise.intensity, such as [0, 255], to configs/metadata.json.",
        )
    return (float(own[0]), float(own[1])), False


def _size(bundle: Bundle, declared: Any, head: list[_Step]) -> tuple[int, ...]:
    """The network's input: what the last resizing step makes, or what the metadata declare."""
    for step in reversed(head):
        edges = step.arguments.get("spatial_size", step.arguments.get("roi_size"))
        if isinstance(edges, (list, tuple)) and all(isinstance(edge, int) and edge > 0 for edge in edges):
            return tuple(edges)
    if not isinstance(declared, list) or not declared:
        raise BundleError(f"{bundle.folder} does not say network_data_format.inputs.image.spatial_shape.", "Add it.")
    size = []
    for edge in declared:
        found = _EDGE.fullmatch(str(edge))
        if not found and not str(edge).isdecimal() and edge != "*":
            raise BundleError(f"spatial_shape {edge!r} of {bundle.folder} is no size.", "Write a whole number.")
        factor = int(found[1]) if found else 1
        size.append(int(edge) if str(edge).isdecimal() else max(factor, _MULTIPLE // factor * factor))
    return tuple(size)


def _activation(bundle: Bundle, trust_code: bool) -> tuple[str, bool]:
    """How outputs become probabilities, and whether each is a yes or no of its own."""
    for step in _steps(bundle, "postprocessing", True):
        if step.name == "Activations":
            for name in ("softmax", "sigmoid"):
                if step.arguments.get(name) is True:
                    return name, name == "sigmoid"
    own = bundle.own.get("activation")
    if own is not None:
        return str(own), own == "sigmoid"
    if any(step.arguments.get("argmax") for step in _steps(bundle, "postprocessing", True)):
        return "softmax", False
    raise BundleError(
        f"The postprocessing of {bundle.folder} does not say how outputs become probabilities.",
        "Add otherwise.activation (softmax, sigmoid or none) to configs/metadata.json.",
    )


def _classes(bundle: Bundle, pred: Mapping[str, Any]) -> tuple[str, ...]:
    named = pred.get("channel_def")
    if not isinstance(named, Mapping) or sorted(named) != sorted(str(index) for index in range(len(named))):
        raise BundleError(
            f"{bundle.folder}: channel_def does not number the classes from 0.", 'Write {"0": ..., "1": ...}.'
        )
    classes = tuple(str(named[str(index)]) for index in range(len(named)))
    return (f"no {classes[0]}", *classes) if len(classes) == 1 else classes


def _check_inferer(bundle: Bundle) -> None:
    inferer = bundle.inference.get("inferer")
    target = str(inferer.get("_target_", "")) if isinstance(inferer, Mapping) else ""
    if inferer is not None and target.rpartition(".")[2] != "SimpleInferer":
        raise BundleError(
            f"The inferer of {bundle.folder}, {target or inferer!r}, is not followed.", "Only SimpleInferer is."
        )
