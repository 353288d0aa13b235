"""Make a bundle of a bare model: a TorchScript, torch.export or ONNX file, a Python function, or a model elsewhere."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from otherwise.blackbox.bundle import Bundle, refuse_existing, write_bundle
from otherwise.blackbox.concern import check_wanted
from otherwise.blackbox.hosted import HostedClassifier, in_batches
from otherwise.blackbox.hosts.registry import load_hosted, recognise_model
from otherwise.blackbox.model_card import classifier_card
from otherwise.blackbox.output_kind import NO_VALUE, SURVIVAL, VALUE_KINDS, OutputKind, describe_kind, with_unit
from otherwise.blackbox.outputs import (
    ACTIVATIONS,
    READINGS,
    AmbiguousOutputError,
    InputTypeError,
    Reading,
    read_scores,
    reading_of,
)
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import classifier_metadata, read_spec
from otherwise.blackbox.survival import AUTO, read_survival
from otherwise.blackbox.tensor import TensorSpec
from otherwise.errors import BundleError, ClassifierError, OtherwiseError

FOREIGN_LICENSE = "This model was imported from elsewhere. Its licence is that of its source; ask whoever made it.\n"
STRESS = 1e3
"""Factor of inputs that shows whether outputs can leave [0, 1]."""


@dataclass(frozen=True)
class Imported:
    """A bundle that was made of a bare model.

    Attributes:
        bundle: The bundle.
        version: Content version of the classifier.
        activation: Activation of its outputs.
        found: What was found out about the model, a sentence each.
    """

    bundle: Bundle
    version: str
    activation: str
    found: tuple[str, ...]


@dataclass(frozen=True)
class _Answers:
    """A model's outputs for probe images.

    Attributes:
        scores: ``(images, outputs)``.
        stressed: The same for inputs far beyond the usual range; None where the model refuses them.
        batch_size: 1 if the model takes one image at a time; else None.
    """

    scores: np.ndarray
    stressed: np.ndarray | None
    batch_size: int | None


def import_classifier(
    model: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str] = (),
    inputs: InputSpec,
    answer: OutputKind = NO_VALUE,
    tensor: TensorSpec | None = None,
    activation: str = "auto",
    multi_label: bool = False,
    value_range: tuple[float, float] | None = None,
    output: str | None = None,
    thresholds: Sequence[float] | None = None,
    input_name: str | None = None,
    fill: Mapping[str, float] | None = None,
    name: str | None = None,
    trust_code: bool = False,
    replace: bool = False,
) -> Imported:
    """Make a classifier's bundle of a bare model, and check its answers to probe images.

    Args:
        model: A TorchScript, torch.export (``.pt2``) or ONNX file, ``package.module:function`` (needs ``trust_code``),
            or the address of a model in the Open Inference Protocol, ``http://host:port/v2/models/NAME``.
        out: The bundle to write.
        classes: Class names in the order of the outputs. One output for two classes stands for the second class. Of a
            value they follow from ``answer``.
        inputs: Conversion of images to views.
        answer: What it says, where that is a value.
        tensor: The network's input tensor; default: columns first, in ``value_range``.
        activation: One of ``outputs.ACTIVATIONS``, or ``auto``: found by its answers.
        multi_label: Whether each class is a yes or no of its own.
        value_range: The network's input range, if ``tensor`` is not given.
        output: Key, name or index of the answer where the model returns several things; or what its outputs are, one of
            ``outputs.READINGS``; or both, ``KEY:READING``. Of a value the reading is its kind.
        thresholds: See ``ClassifierSpec``.
        input_name: Name of the image among several inputs of an ONNX model.
        fill: Fixed values of the other inputs.
        name: Display name; default: the model's.
        trust_code: Whether Python code that ``model`` names may be run.
        replace: Whether an existing bundle may be replaced.

    Raises:
        BundleError: if the model cannot be loaded, its outputs do not match the classes, or two readings fit.
        ClassifierError: if it fails, returns NaN, or cannot be reached.
        WriteError: if the bundle cannot be written.
    """
    out = Path(out)
    refuse_existing(out, replace)
    if answer.is_value:
        classes = answer.classes
    if inputs.patches is not None:
        check_wanted(inputs.patches, classes, multi_label, answer)
    if activation not in (*ACTIVATIONS, "auto"):
        raise BundleError(f"Activation {activation!r} is unknown.", f"Give auto or one of {', '.join(ACTIVATIONS)}.")
    key, reading_name = output_of(output, answer.is_value)
    if answer.is_value and (multi_label or thresholds or activation != "auto"):
        raise BundleError(
            f"A {answer.kind} has no labels, thresholds and activation.",
            "Leave --multi-label, --threshold and --activation out.",
        )
    if reading_name is not None and activation != "auto":
        raise BundleError(f"--output {output} and --activation {activation} both say how to read.", "Give only one.")
    source = recognise_model(str(model))
    name = name or (Path(str(model)).stem if source.weights else str(model).rpartition("/")[2].rpartition(":")[2])
    plain = TensorSpec("columns,rows" if inputs.spatial_dims == 2 else "x,y,z", value_range=value_range or (0.0, 1.0))
    chosen = tensor or plain
    extra = {"input": input_name, "fill": dict(fill or {}) or None, "thresholds": list(thresholds or ()) or None}
    extra = {field: value for field, value in extra.items() if value is not None}

    def write(folder: Path, activation: str, outputs: int | None, own: Mapping[str, Any], replace: bool) -> Bundle:
        metadata = classifier_metadata(
            name=name,
            classes=classes,
            inputs=inputs,
            weights=source.weights,
            activation=activation,
            multi_label=multi_label,
            tensor=chosen,
            outputs=outputs,
            answer=answer,
            own={**source.own, **extra, **own},
            authors="Unknown (imported)",
            copyright="Unknown (imported)",
        )
        low, high = chosen.value_range
        rows = {"Value range of the network": f"{low:g} to {high:g}", "Origin": "imported"}
        if answer.is_value:
            rows = {"Value": describe_kind(answer), **rows}
        card = classifier_card(name, classes, inputs, activation, rows, "How it was trained is not known here.")
        return write_bundle(folder, metadata, {}, source.copy, card, license_text=FOREIGN_LICENSE, replace=replace)

    def ask(key: str | None) -> _Answers:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            draft = write(Path(folder) / "draft", "none", None, {"output": key}, False)
            try:
                return _ask(draft, trust_code)
            except OtherwiseError as error:
                if source.weights is None or isinstance(error, InputTypeError):
                    raise
                # The user knows the file, not the draft.
                detail = error.detail.replace(str(draft.weights), str(model))
                raise type(error)(detail.replace(str(draft.folder), str(model)), error.hint) from error

    found: list[str] = []
    try:
        answers = ask(key)
    except InputTypeError as error:
        if tensor is not None and tensor.dtype not in ("float32", error.dtype):
            raise
        to_bytes = error.dtype == "uint8" and chosen.value_range == (0.0, 1.0)
        chosen = _of_type(chosen, error.dtype, inputs.intensity if to_bytes else chosen.value_range)
        found.append(f"It takes {error.dtype}, so it is fed {error.dtype}" + (", unscaled." if to_bytes else "."))
        answers = ask(key)
    except AmbiguousOutputError:
        if key is not None or reading_name is None or output is None:
            raise
        key, reading_name = output, None  # a key with the name of a reading
        answers = ask(key)
    if answers.batch_size:
        found.append("It takes one image at a time, so it is asked one by one.")
    reading = Reading(activation) if activation != "auto" else None
    if answer.reading == AUTO:
        how, why = read_survival(answers.scores, len(answer.times) - 1, answers.stressed)
        answer = dataclasses.replace(answer, reading=how)
        found.append(f"{why[:1].upper()}{why[1:]} (--reading {how}).")
    if answer.is_value:
        values = answer.values(answers.scores)
        reading = Reading("none", f"on artificial images it says {_between(values, answer)}")
        found.append(f"{reading.why[:1].upper()}{reading.why[1:]}.")
    if reading is None and reading_name is not None:
        reading = reading_of(reading_name, multi_label, answers.scores.shape[1])
    if reading is None:
        reading = read_scores(answers.scores, len(classes), multi_label, answers.stressed)
        found.append(f"{reading.why[:1].upper()}{reading.why[1:]}.")
    own = {"output": key, **({"batch_size": answers.batch_size} if answers.batch_size else {})}
    bundle = write(out, reading.activation, answers.scores.shape[1], own, replace)
    version = load_hosted(bundle, trust_code=trust_code).version
    return Imported(bundle, version, reading.activation, tuple(found))


def output_of(output: str | None, value: bool) -> tuple[str | None, str | None]:
    """Return the key and the reading, of a value the kind, that ``--output`` names; None: it does not say."""
    if output is None:
        return None, None
    key, colon, reading_name = output.rpartition(":")
    known = VALUE_KINDS if value else tuple(READINGS)
    if colon and reading_name in known:
        return key, reading_name
    return (None, output) if output in known else (output, None)


def _between(values: np.ndarray, answer: OutputKind) -> str:
    return f"{with_unit(values.min(), answer.unit)} to {with_unit(values.max(), answer.unit)}"


def _of_type(tensor: TensorSpec, dtype: str, value_range: tuple[float, float]) -> TensorSpec:
    return replace(tensor, dtype=dtype, value_range=value_range)


def probe_images(inputs: InputSpec, count: int = 8) -> np.ndarray:
    """Return images of many kinds: black, grey, white, ramps along each axis, then noise of growing contrast.

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


def _ask(draft: Bundle, trust_code: bool) -> _Answers:
    spec = read_spec(draft)
    hosted = load_hosted(draft, trust_code=trust_code)
    images = probe_images(spec.inputs, 16)
    scores, batch_size = _scores_of(hosted, images)
    if spec.answer.is_value:
        if spec.answer.kind != SURVIVAL:
            spec.answer.values(scores)  # refuses what it cannot read
    elif scores.shape[1] != len(spec.classes) and (scores.shape[1], len(spec.classes)) != (1, 2):
        raise BundleError(
            f"The model has {scores.shape[1]} outputs for {len(spec.classes)} classes ({', '.join(spec.classes)}).",
            "Name one class per output.",
        )
    broken = int((~np.isfinite(scores)).any(axis=1).sum())
    if broken:
        raise ClassifierError(
            f"The model returned NaN or infinity for {broken} of {len(images)} images.", "Check its value range."
        )
    return _Answers(scores, _stressed(hosted, images[-4:], batch_size), batch_size)


def _scores_of(hosted: HostedClassifier, images: np.ndarray) -> tuple[np.ndarray, int | None]:
    """Score a batch and one image; if the model cannot take a batch, score the images one by one."""
    batch_size = None
    try:
        scores = hosted.outputs(images)
        fault: ClassifierError | None = None
    except ClassifierError as error:
        scores, fault = np.zeros(0), error
    alone = None
    if fault is None or hosted.spec.contract > 1:
        try:
            alone = hosted.outputs(images[:1])
        except ClassifierError:
            alone = None
    whole = fault is None and scores.ndim > 0 and len(scores) == len(images)
    if alone is not None and not whole and alone.ndim == 2 and len(alone) == 1:
        scores, batch_size, fault = in_batches(hosted.outputs, 1, images), 1, None
    if fault is not None:
        raise fault
    if scores.ndim == 0 or scores.ndim > 2 or len(scores) != len(images):
        raise ClassifierError(
            f"The model returned shape {scores.shape} for {len(images)} images.", "It should return a row for each."
        )
    if alone is not None and (alone.ndim != scores.ndim or len(alone) != 1):
        raise ClassifierError(
            f"The model returned shape {alone.shape} for one image: it squeezes the batch away.",
            "Leave out squeeze() in its forward, or give it a dimension, and export it again.",
        )
    return (scores[:, None] if scores.ndim == 1 else scores), batch_size


def _stressed(hosted: HostedClassifier, images: np.ndarray, batch_size: int | None) -> np.ndarray | None:
    """Score inputs far beyond the usual range: probabilities stay in [0, 1], logits hardly ever do."""
    spec = hosted.spec
    if spec.tensor.dtype == "uint8":
        return None
    tensor = spec.tensor.of(images)
    wild = np.concatenate([tensor * tensor.dtype.type(STRESS), tensor * tensor.dtype.type(-STRESS)])
    try:
        ask = partial(in_batches, hosted.scores, 1) if batch_size else hosted.scores
        scores = np.asarray(ask(wild), np.float64).reshape(len(wild), -1)
    except (OtherwiseError, ValueError):
        return None
    scores = scores[np.isfinite(scores).all(axis=1)]
    return scores if len(scores) else None
