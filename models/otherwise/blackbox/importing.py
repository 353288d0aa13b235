"""Make a bundle of a bare model: a TorchScript or ONNX file, a Python function, or a model on another server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from otherwise.blackbox.bundle import Bundle, refuse_existing, write_bundle
from otherwise.blackbox.checked import TOLERANCE
from otherwise.blackbox.loading import host
from otherwise.blackbox.model_card import classifier_card
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import ACTIVATIONS, classifier_metadata, read_spec
from otherwise.errors import BundleError, ClassifierError

FOREIGN_LICENSE = "This model was imported from elsewhere. Its licence is that of its source; ask whoever made it.\n"


@dataclass(frozen=True)
class _Source:
    """Where a model comes from.

    Attributes:
        weights: Path of the weights within the bundle; None where there are none.
        copy: Writes the weights to a path.
        own: Fields under ``otherwise`` that say how to reach it.
    """

    weights: str | None = None
    copy: Callable[[Path], None] | None = None
    own: dict[str, Any] = field(default_factory=dict)


def import_classifier(
    model: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str],
    inputs: InputSpec,
    activation: str = "auto",
    multi_label: bool = False,
    value_range: tuple[float, float] = (0.0, 1.0),
    name: str | None = None,
    trust_code: bool = False,
    replace: bool = False,
) -> Bundle:
    """Make a classifier's bundle of a bare model. The model is asked once, to see that it answers as described.

    Args:
        model: A TorchScript or ONNX file, ``package.module:function`` (needs ``trust_code``), or the address of a model
            in the Open Inference Protocol, ``http://host:port/v2/models/NAME``.
        out: The bundle to write.
        classes: Class names in the order of the outputs. One output for two classes stands for the second class.
        inputs: The images it wants.
        activation: ``softmax``, ``sigmoid``, ``none``, or ``auto``: what its answers look like.
        multi_label: Whether each class is a yes or no of its own.
        value_range: The range that the network itself wants its input in.
        name: Name for people; default: the model's.
        trust_code: Whether Python code that ``model`` names may be run.
        replace: Whether an existing bundle may be replaced.

    Raises:
        BundleError: if the model cannot be loaded, or its outputs do not match the classes.
        ClassifierError: if it fails, returns NaN, or cannot be reached.
        WriteError: if the bundle cannot be written.
    """
    out = Path(out)
    refuse_existing(out, replace)
    if activation not in (*ACTIVATIONS, "auto"):
        raise BundleError(f"Activation {activation!r} is unknown.", f"Give auto or one of {', '.join(ACTIVATIONS)}.")
    source = _source(str(model))
    name = name or (Path(str(model)).stem if source.weights else str(model).rpartition("/")[2].rpartition(":")[2])

    def write(folder: Path, activation: str, outputs: int | None, replace: bool) -> Bundle:
        metadata = classifier_metadata(
            name=name,
            classes=classes,
            inputs=inputs,
            weights=source.weights,
            activation=activation,
            multi_label=multi_label,
            value_range=value_range,
            outputs=outputs,
            own=source.own,
            authors="Unknown (imported)",
            copyright="Unknown (imported)",
        )
        rows = {"Value range of the network": f"{value_range[0]:g} to {value_range[1]:g}", "Origin": "imported"}
        card = classifier_card(name, classes, inputs, activation, rows, "How it was trained is not known here.")
        return write_bundle(folder, metadata, {}, source.copy, card, license_text=FOREIGN_LICENSE, replace=replace)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        draft = write(Path(folder) / "draft", "none", None, False)
        scores = _ask(draft, trust_code)
    if activation == "auto":
        activation = detect_activation(scores, multi_label)
    return write(out, activation, scores.shape[1], replace)


def detect_activation(scores: np.ndarray, multi_label: bool = False) -> str:
    """Say what would turn raw outputs into probabilities.

    Args:
        scores: ``(count, outputs)`` answers to images of many kinds.
        multi_label: Whether each class is a yes or no of its own.

    Returns:
        ``none`` if they are probabilities already; else ``sigmoid`` for yes-or-no outputs, and ``softmax`` for others.
    """
    yes_or_no = multi_label or scores.shape[1] == 1
    within = scores.min() >= -TOLERANCE and scores.max() <= 1 + TOLERANCE
    if within and (yes_or_no or np.abs(scores.sum(axis=1) - 1).max() <= TOLERANCE):
        return "none"
    return "sigmoid" if yes_or_no else "softmax"


def probe_images(inputs: InputSpec, count: int = 8) -> np.ndarray:
    """Images of many kinds: black, grey, white, ramps along each axis, then noise of growing contrast.

    Returns:
        ``(count, channels, *size)`` float32 in [0, 1], the same at every call.
    """
    shape = (inputs.channels, *inputs.size)
    plain = [np.full(shape, value) for value in (0.0, 0.5, 1.0)]
    ramps = [
        np.broadcast_to(
            np.linspace(0, 1, edge).reshape([edge if k == axis else 1 for k in range(len(inputs.size))]), shape
        )
        for axis, edge in enumerate(inputs.size)
    ]
    rng = np.random.default_rng(0)
    noise = [rng.random(shape) * (step + 1) / count for step in range(count)]
    return np.stack([*plain, *ramps, *noise][:count]).astype(np.float32)


def _ask(draft: Bundle, trust_code: bool) -> np.ndarray:
    spec = read_spec(draft)
    hosted = host(draft, spec, trust_code=trust_code)
    images = probe_images(spec.inputs, 16)
    scores = np.asarray(hosted.scores(hosted.scale(images)), dtype=np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if scores.ndim != 2 or len(scores) != len(images):
        raise ClassifierError(
            f"The model returned shape {scores.shape} for {len(images)} images.", "It should return a row for each."
        )
    if scores.shape[1] != len(spec.classes) and (scores.shape[1], len(spec.classes)) != (1, 2):
        raise BundleError(
            f"The model has {scores.shape[1]} outputs for {len(spec.classes)} classes ({', '.join(spec.classes)}).",
            "Name one class per output.",
        )
    broken = int((~np.isfinite(scores)).any(axis=1).sum())
    if broken:
        raise ClassifierError(
            f"The model returned NaN or infinity for {broken} of {len(images)} images.", "Check its value range."
        )
    return scores


def _source(model: str) -> _Source:
    if model.startswith(("http://", "https://")):
        from otherwise.blackbox.remote_host import RemoteModel

        told = {key: value for key, value in asdict(RemoteModel.parse(model)).items() if value is not None}
        return _Source(own={"remote": told})
    module, colon, function = model.partition(":")
    if colon and function.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return _Source(own={"callable": model})
    path = Path(model)
    if not path.is_file():
        raise BundleError(f"There is no model file {path}.", "Check the path.")
    if path.suffix.lower() == ".onnx":
        return _Source("models/model.onnx", lambda target: _copy_with_companions(path, target))
    if path.suffix.lower() == ".safetensors":
        raise BundleError(f"{path} holds weights without a network.", "Make a MONAI bundle with its network_def.")
    return _Source("models/model.ts", lambda target: _copy(path, target))


def _copy(path: Path, target: Path) -> None:
    shutil.copyfile(path, target)


def _copy_with_companions(path: Path, target: Path) -> None:
    """Copy an ONNX file, and the files beside it that hold its tensors; those keep the names that it knows them by."""
    _copy(path, target)
    for suffix in (".data", "_data"):
        companion = path.with_name(path.name + suffix)
        if companion.is_file():
            _copy(companion, target.with_name(companion.name))
