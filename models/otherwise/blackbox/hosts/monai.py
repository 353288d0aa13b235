"""Host a MONAI bundle as MONAI's own evaluator runs it: its preprocessing, network, inferer and postprocessing.

The preprocessing is split in two: the geometric part makes the view that is shown and edited; the intensity steps at
its end are applied to every view before the network. The postprocessing is run up to the step that makes answers
discrete, since probabilities are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import nn

from otherwise.blackbox.bundle import Bundle, bundle_version, refuse_code
from otherwise.blackbox.hosted import HostedClassifier
from otherwise.blackbox.hosts.layout import use_channels_last
from otherwise.blackbox.hosts.monai_config import (
    Step,
    build_inferer,
    build_steps,
    edge_of,
    is_lazy,
    listed_steps,
    read_steps,
    resolved,
)
from otherwise.blackbox.hosts.networks import load_network
from otherwise.blackbox.hosts.pytorch import check_device, without_gradients
from otherwise.blackbox.protocol import InputSpec, Prepared
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.blackbox.tensor import TensorSpec
from otherwise.errors import BundleError, ClassifierError, ImageError
from otherwise.images.image import Geometry, Image

_READ_HERE = ("LoadImage", "EnsureChannelFirst")
"""Steps that this package replaces by its own."""
_NEUTRAL = ("EnsureType", "ToTensor", "CastToType")
_INTENSITY = ("NormalizeIntensity", "ScaleIntensity", "ScaleIntensityRange", *_NEUTRAL)
_WRITING = ("SaveImage", "SaveClassification")
"""Steps of a postprocessing that do not change the answer."""
_CT = (-1024.0, 3071.0)
"""Range of Hounsfield units of a 12-bit CT image."""


@dataclass(frozen=True)
class MonaiPipeline:
    """A bundle's own preprocessing; implements ``protocol.Pipeline``.

    Attributes:
        head: Geometric part.
        size: Size of its result; None: any.
        dims: 2 or 3.
        channels: Channels of its result.
        window: Fixed ``(low, high)``; None: the window of each image.
        through_zero: Whether an image's own window has to begin at zero, since zero is background.
    """

    head: Compose
    size: tuple[int, ...] | None
    dims: int
    channels: int
    window: tuple[float, float] | None
    through_zero: bool

    def prepare(self, image: Image) -> Prepared:
        """Apply the geometric part; see ``protocol.Pipeline``."""
        flat = self.dims == 2
        array = image.array[..., 0] if flat else image.array
        tensor = MetaTensor(
            torch.from_numpy(np.array(array, np.float32)), affine=torch.from_numpy(np.array(image.geometry.affine))
        )
        try:
            done = self.head({"image": tensor})["image"]
        except Exception as error:  # any error of a transform
            cause = error.__cause__ or error
            fault = (str(cause).strip().splitlines() or [type(cause).__name__])[-1][:200]
            raise ImageError(f"The bundle's preprocessing failed: {fault}", "Give an image of its kind.") from error
        values = np.asarray(torch.as_tensor(done).float().numpy())
        wanted = (self.channels, *(self.size or values.shape[1:]))
        if values.ndim != self.dims + 1 or values.shape != wanted:
            raise ImageError(
                f"The bundle's preprocessing makes {values.shape} of image {image.id}, and its network is declared for "
                f"{(self.channels, *(self.size or ('any size',)))}.",
                "Give an image of that kind, or correct configs/metadata.json.",
            )
        low, high = self.window or (float(values.min()), float(values.max()))
        if self.window is None and self.through_zero:
            low = min(low, 0.0)
        affine = np.asarray(getattr(done, "affine", image.geometry.affine), np.float64)
        i, j, k = (*values.shape[1:], 1) if flat else values.shape[1:]
        return Prepared(values[..., None] if flat else values, Geometry((i, j, k), affine), (low, high))


@dataclass(frozen=True)
class _Reading:
    """Conversion of a network's outputs to probabilities.

    Attributes:
        steps: Steps of the postprocessing before the answer is made discrete.
        activation: Activation after them, see ``outputs.ACTIVATIONS``.
        several: Whether each output is a yes or no of its own.
        threshold: Least probability of a yes; None: one half.
    """

    steps: list[Step]
    activation: str
    several: bool
    threshold: float | None


def monai_host(bundle: Bundle, device: str = "cpu", trust_code: bool = False) -> HostedClassifier:
    """Host a bundle by its own processing.

    Raises:
        BundleError: if a step is not supported or needs ``trust_code``, or a declaration is missing.
    """
    if bundle.scripts and not trust_code:
        refuse_code(bundle)
    image = bundle.metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    pred = bundle.metadata.get("network_data_format", {}).get("outputs", {}).get("pred", {})
    steps = read_steps(bundle, "preprocessing", trust_code, _READ_HERE)
    first_of_tail = len(steps)
    while first_of_tail and steps[first_of_tail - 1].name in _INTENSITY:
        first_of_tail -= 1
    head, tail = steps[:first_of_tail], steps[first_of_tail:]
    modality = str(bundle.own.get("modality", image.get("modality", "OT")))
    window, through_zero = _window(bundle, head, tail, modality)
    size, fixed = _size(bundle, image.get("spatial_shape"), head)
    channels = int(image.get("num_channels", 1))
    composed = build_steps(bundle, head, trust_code, is_lazy(bundle, "preprocessing"))
    pipeline = MonaiPipeline(composed, size if fixed else None, len(size), channels, window, through_zero)
    reading = _reading(bundle, trust_code)
    classes = _classes(bundle, pred)
    outputs = int(pred.get("num_channels", len(classes)))
    inputs = InputSpec(
        size,
        channels,
        intensity=window or (0.0, 1.0),
        modality=modality,
        own_window=window is None,
        pipeline=pipeline,
        any_size=not fixed,
    )
    multi_label = bool(bundle.own.get("multi_label", reading.several and outputs > 1))
    spec = ClassifierSpec(
        bundle.name,
        bundle_version(bundle),
        classes,
        inputs,
        reading.activation,
        multi_label,
        TensorSpec("columns,rows" if len(size) == 2 else "x,y,z", value_range=window or (0.0, 1.0)),
        thresholds=_thresholds(bundle, reading.threshold, len(classes), multi_label),
    )
    where = check_device(device)
    network = load_network(_network_only(bundle, trust_code), where, trust_code)
    evaluator = _Evaluator(
        build_steps(bundle, tail, trust_code),
        build_inferer(bundle, trust_code),
        network,
        [(step.of_dictionary, build_steps(bundle, [step], trust_code)) for step in reading.steps],
        where,
    )
    hosted = HostedClassifier(spec, evaluator)
    use_channels_last(network, inputs, hosted.outputs)
    return hosted


@dataclass(frozen=True)
class _Evaluator:
    """Intensity steps, inferer and postprocessing, as ``monai.engines.SupervisedEvaluator`` applies them."""

    tail: Compose
    inferer: Any
    network: nn.Module
    post: list[tuple[bool, Compose]]
    device: torch.device

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Score ``(batch, channels, *size)`` images: ``(batch, outputs)``; see ``hosted.Scores``."""
        try:
            with without_gradients():
                each = [self.tail({"image": MetaTensor(torch.from_numpy(one))})["image"] for one in images]
                tensors = torch.stack([torch.as_tensor(one).float() for one in each])
                answer = self.inferer(tensors.to(self.device), self.network)
                answer = answer[0] if isinstance(answer, (tuple, list)) else answer
                answers = [self._processed(one, image) for one, image in zip(answer.double(), tensors, strict=True)]
        except Exception as error:  # any error of the network's own code
            fault = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ClassifierError(f"The network failed: {fault}.", "Check the bundle's size and channels.") from error
        shape = tuple(answers[0].shape)
        if any(edge != 1 for edge in shape[1:]) or not shape:
            raise ClassifierError(
                f"The network's answer to an image has shape {shape}, not a number for each class.",
                "Reduce it in the bundle's postprocessing.",
            )
        return np.stack([one.reshape(-1).cpu().numpy() for one in answers])

    def _processed(self, answer: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        data: dict[str, Any] = {"pred": answer, "image": image}
        for of_dictionary, step in self.post:
            data = step(data) if of_dictionary else {**data, "pred": step(data["pred"])}
        return torch.as_tensor(data["pred"])


def _reading(bundle: Bundle, trust_code: bool) -> _Reading:
    """Read the postprocessing up to the step that makes an answer discrete.

    Raises:
        BundleError: if it does not declare how outputs become probabilities, or a step is not supported.
    """
    every = read_steps(bundle, "postprocessing", True, _WRITING)
    discrete = next((place for place, step in enumerate(every) if step.name == "AsDiscrete"), None)
    count = len(every) if discrete is None else discrete
    before = [step for step in listed_steps(bundle, "postprocessing") if _name(step) not in _WRITING][:count]
    kept = Bundle(bundle.folder, bundle.metadata, {**bundle.inference, "postprocessing": {"transforms": before}})
    steps = read_steps(kept, "postprocessing", trust_code)
    asked = every[discrete].arguments if discrete is not None else {}
    threshold = asked.get("threshold")
    threshold = float(threshold) if isinstance(threshold, (int, float)) and 0 < threshold < 1 else None
    for step in steps:
        for name in ("softmax", "sigmoid"):
            if step.name == "Activations" and step.arguments.get(name) is True:
                return _Reading(steps, "none", name == "sigmoid", threshold if name == "sigmoid" else None)
    own = bundle.own.get("activation")
    if own is not None:
        return _Reading(steps, str(own), own == "sigmoid", threshold if own == "sigmoid" else None)
    if asked.get("argmax"):
        return _Reading(steps, "softmax", False, None)
    raise BundleError(
        f"The postprocessing of {bundle.folder} does not say how outputs become probabilities.",
        "Add otherwise.activation (softmax, sigmoid or none) to configs/metadata.json.",
    )


def _name(step: Any) -> str:
    target = str(step.get("_target_", "")) if isinstance(step, Mapping) else str(step)
    short = target.rpartition(".")[2]
    return next((short.removesuffix(ending) for ending in ("Dict", "d", "D") if short.endswith(ending)), short)


def _thresholds(bundle: Bundle, threshold: float | None, classes: int, multi_label: bool) -> tuple[float, ...] | None:
    own = bundle.own.get("thresholds")
    if own is not None:
        return tuple(float(each) for each in own)
    if threshold is None or threshold == 0.5:
        return None
    return (threshold,) * classes if multi_label else (1 - threshold, threshold)


def _network_only(bundle: Bundle, trust_code: bool) -> Bundle:
    """Return the bundle with its network alone, so that unused imports are not run and need no trust."""
    if trust_code:
        return bundle
    definition = dict(resolved(bundle.inference["network_def"], bundle.inference))
    target = str(definition.get("_target_", ""))
    if "." not in target:
        definition["_target_"] = f"monai.networks.nets.{target}"
    return Bundle(bundle.folder, bundle.metadata, {"network_def": definition})


def _window(
    bundle: Bundle, head: list[Step], tail: list[Step], modality: str
) -> tuple[tuple[float, float] | None, bool]:
    """Return the window of views (None: the window of each image), and whether it has to begin at zero.

    The network cannot see beyond the window, so a step that does not clip gets the range of its images.
    """
    step = next((step for step in tail if step.name not in _NEUTRAL), None)
    own = bundle.own.get("intensity")
    if step is not None and step.name == "ScaleIntensityRange":
        low, high = float(step.arguments["a_min"]), float(step.arguments["a_max"])
        if step.arguments.get("clip"):
            return (low, high), False
        wide = own or (_CT if modality.upper() == "CT" else (low, high))
        return (min(low, float(wide[0])), max(high, float(wide[1]))), False
    alone = step is not None and (
        (step.name == "NormalizeIntensity" and not {"subtrahend", "divisor"} & set(step.arguments))
        or (step.name == "ScaleIntensity" and step.arguments.get("minv", 0.0) is not None)
    )
    if alone and step is not None:
        return None, bool(step.arguments.get("nonzero", False))
    for step in reversed(head):  # an intensity step before the last geometric one
        if step.name == "ScaleIntensity" and step.arguments.get("minv", 0.0) is not None:
            return (float(step.arguments.get("minv", 0.0)), float(step.arguments.get("maxv", 1.0))), False
        ranged = step.name in ("ScaleIntensityRange", "ScaleIntensityRangePercentiles")
        least, most = step.arguments.get("b_min"), step.arguments.get("b_max")
        if ranged and step.arguments.get("clip") and least is not None and most is not None:
            return (float(least), float(most)), False
        if step.name in _INTENSITY and step.name not in _NEUTRAL:
            break
    if own is None:
        last = next((step for step in reversed(head) if step.name in _INTENSITY and step.name not in _NEUTRAL), None)
        after, example = (f" after {last.name}", "[-5, 5]") if last is not None else ("", "[0, 255]")
        raise BundleError(
            f"The preprocessing of {bundle.folder} does not say which values its images have{after}.",
            f"Add otherwise.intensity, such as {example}, to configs/metadata.json.",
        )
    return (float(own[0]), float(own[1])), False


def _size(bundle: Bundle, declared: Any, head: list[Step]) -> tuple[tuple[int, ...], bool]:
    """Return the size of a view (by the last resizing step or as declared), and whether it is fixed."""
    last = next((step for step in reversed(head) if step.name not in _INTENSITY), None)
    for step in reversed(head):
        edges = step.arguments.get("spatial_size", step.arguments.get("roi_size"))
        if isinstance(edges, (list, tuple)) and all(isinstance(edge, int) and edge > 0 for edge in edges):
            whole = step.name == "Resize" and step.arguments.get("size_mode", "all") == "all"
            return tuple(edges), step is last and (whole or step.name == "ResizeWithPadOrCrop")
    if not isinstance(declared, list) or not declared:
        raise BundleError(f"{bundle.folder} does not say network_data_format.inputs.image.spatial_shape.", "Add it.")
    size = []
    for edge in declared:
        length = edge_of(edge)
        if length is None:
            raise BundleError(
                f"spatial_shape {edge!r} of {bundle.folder} is no size.", "Write a whole number, * or 32*n."
            )
        size.append(length)
    return tuple(size), False


def _classes(bundle: Bundle, pred: Mapping[str, Any]) -> tuple[str, ...]:
    named = pred.get("channel_def")
    if not isinstance(named, Mapping) or sorted(named) != sorted(str(index) for index in range(len(named))):
        raise BundleError(
            f"{bundle.folder}: channel_def does not number the classes from 0.", 'Write {"0": ..., "1": ...}.'
        )
    classes = tuple(str(named[str(index)]) for index in range(len(named)))
    return (f"no {classes[0]}", *classes) if len(classes) == 1 else classes
