"""Host an ONNX file with onnxruntime."""

from __future__ import annotations

import os
import re
from functools import partial

import numpy as np
import onnxruntime

from otherwise.blackbox.bundle import Bundle
from otherwise.blackbox.hosted import HostedClassifier, Scores, in_batches
from otherwise.blackbox.outputs import BYTE, NO_SCORES, AmbiguousOutputError, InputTypeError, rows_of
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import BundleError, ClassifierError

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_ANSWERS = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(uint8)")


def onnx_host(
    bundle: Bundle, spec: ClassifierSpec, device: str = "cpu", threads: int | None = None
) -> HostedClassifier:
    """Host the ONNX file of a bundle.

    Where the model has several inputs or outputs, ``otherwise.input`` and ``otherwise.output`` name the ones to use; by
    default the only input and the first floating-point output.

    Args:
        bundle: Bundle with ``.onnx`` weights.
        spec: Inputs and outputs of the model.
        device: ``auto`` and ``cuda`` use the GPU if this onnxruntime supports it; else the CPU.
        threads: Threads of one operator; default: ``OMP_NUM_THREADS``, or onnxruntime's own choice.

    Raises:
        BundleError: if the file is damaged or has no fitting input and output.
    """
    options = onnxruntime.SessionOptions()
    # Zero leaves the choice to onnxruntime. The variable may hold a list, one number for each level of nesting.
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    options.intra_op_num_threads = threads if threads is not None else int(asked) if asked.isdecimal() else 0
    options.log_severity_level = 3
    wanted = [] if device == "cpu" else ["CUDAExecutionProvider"]
    providers = [name for name in (*wanted, "CPUExecutionProvider") if name in onnxruntime.get_available_providers()]
    try:
        # By path, so that external data is found beside the file, and only there.
        session = onnxruntime.InferenceSession(str(bundle.weights), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise _refusal(str(bundle.weights), str(error)) from error
    source = _source(bundle, spec, session.get_inputs())
    target = _answer(bundle, spec, session.get_outputs())
    _check_shape(source, spec)
    fixed_inputs = _constants(bundle, source.name, session.get_inputs())

    def run(images: np.ndarray) -> np.ndarray:
        others = {name: np.repeat(value, len(images), axis=0) for name, value in fixed_inputs.items()}
        try:
            fed = {source.name: images.astype(_TYPES[source.type], copy=False), **others}
            scores = rows_of(np.asarray(session.run([target.name], fed)[0]))
            return scores / BYTE if scores.dtype == np.uint8 else scores
        except Exception as error:
            raise ClassifierError(
                f"The ONNX model failed: {_one_line(error)}", "Check the size and channels."
            ) from error

    fixed = source.shape[0] if source.shape and isinstance(source.shape[0], int) else spec.batch_size
    scores: Scores = partial(in_batches, run, fixed) if fixed else run
    return HostedClassifier(spec, scores)


def _refusal(path: str, fault: str) -> BundleError:
    """Return the error for a file that onnxruntime cannot load, with the remedy."""
    opset = re.search(r"[Oo]pset (\d+) is under development.*?till opset (\d+)", fault)
    version = re.search(r"IR version:? (\d+).*?IR version:? (\d+)", fault)
    if opset:
        return BundleError(
            f"{path} has opset {opset[1]}, and this onnxruntime ({onnxruntime.__version__}) knows opsets up to "
            f"{opset[2]}.",
            f"Export it again with opset {opset[2]} or less, or update onnxruntime.",
        )
    if version:
        return BundleError(
            f"{path} has IR version {version[1]}, and this onnxruntime ({onnxruntime.__version__}) knows versions up "
            f"to {version[2]}.",
            "Save it again with a smaller ir_version, or update onnxruntime.",
        )
    return BundleError(f"{path} cannot be loaded as ONNX: {' '.join(fault.split())[:200]}", "Export it again.")


def _source(bundle: Bundle, spec: ClassifierSpec, tensors: list) -> onnxruntime.NodeArg:
    named = bundle.own.get("input")
    known_tensors = ", ".join(f"{tensor.name} {tensor.type} {tensor.shape}" for tensor in tensors)
    if named is not None and named not in [tensor.name for tensor in tensors]:
        raise BundleError(f"{bundle.weights} has no input {named} (it has {known_tensors}).", "Correct --input.")
    if named is None and len(tensors) > 1:
        raise BundleError(
            f"{bundle.weights} has {len(tensors)} inputs ({known_tensors}).",
            f"Name the image, and a fixed value for each other one: --input {tensors[0].name} "
            + " ".join(f"--fill {tensor.name}=VALUE" for tensor in tensors[1:]),
        )
    chosen = next(tensor for tensor in tensors if named in (None, tensor.name))
    if chosen.type not in _TYPES:
        known = ", ".join(kind[7:-1] for kind in _TYPES)
        raise BundleError(
            f"{bundle.weights} wants its input {chosen.name} as {chosen.type[7:-1]}; known types are {known}.",
            "Export it with another type of input.",
        )
    dtype = np.dtype(_TYPES[chosen.type]).name
    if dtype == "uint8" and spec.tensor.dtype != dtype:
        raise InputTypeError(dtype)
    return chosen


def _answer(bundle: Bundle, spec: ClassifierSpec, tensors: list) -> onnxruntime.NodeArg:
    known_tensors = ", ".join(f"{tensor.name} {tensor.type} {tensor.shape}" for tensor in tensors)
    wanted = spec.output
    if wanted is not None:
        known = {tensor.name: tensor for tensor in tensors} | {str(n): tensor for n, tensor in enumerate(tensors)}
        if str(wanted) not in known:
            raise BundleError(f"{bundle.weights} has no output {wanted} (it has {known_tensors}).", "Correct --output.")
        return known[str(wanted)]
    fitting = [tensor for tensor in tensors if tensor.type in _ANSWERS]
    if spec.contract > 1:
        fitting = [tensor for tensor in fitting if _fits(list(tensor.shape or ()), "uint8" in tensor.type)]
    if not fitting and all("int" in tensor.type and len(tensor.shape or ()) < 2 for tensor in tensors):
        raise BundleError(f"{bundle.weights} returns class numbers ({known_tensors}).", NO_SCORES)
    if not fitting:
        kinds = ", ".join(kind[7:-1] for kind in _ANSWERS)
        raise BundleError(
            f"{bundle.weights} has no output that could be the answer (it has {known_tensors}).",
            f"Export it so that it returns a row of scores for each image, as {kinds}.",
        )
    if spec.contract > 1 and len(fitting) > 1:
        raise AmbiguousOutputError(
            f"{bundle.weights} has {len(tensors)} outputs, of which several could be the answer ({known_tensors}).",
            f"Say which one it is, for example --output {fitting[0].name}.",
        )
    return fitting[0]


def _fits(shape: list, whole: bool) -> bool:
    """Return whether an output can be a row of scores for each image; trailing axes of length one do not count.

    One whole number for each image is a class, not a score.
    """
    if whole and (len(shape) < 2 or shape[1] == 1):
        return False
    return len(shape) <= 2 or set(shape[2:]) == {1}


def _check_shape(source: onnxruntime.NodeArg, spec: ClassifierSpec) -> None:
    """Refuse a model whose declared input is not the contract's, with the option that corrects it."""
    declared = list(source.shape or ())
    wanted = spec.tensor.shape(spec.inputs.size, spec.inputs.channels)
    if len(declared) != len(wanted) + 1:
        if declared:
            raise BundleError(
                f"The model wants {len(declared) - 1} axes for each image ({_shape(declared)}), not {len(wanted)}.",
                "Give --size and --channels that fit.",
            )
        return
    if all(edge == had or not isinstance(had, int) for edge, had in zip(wanted, declared[1:], strict=True)) and not (
        not spec.tensor.channels_last
        and not isinstance(declared[1], int)
        and declared[-1] == spec.inputs.channels
        and spec.contract > 1
    ):
        return
    last = declared[-1] in (1, 3, spec.inputs.channels) and declared[1] not in (1, 3, spec.inputs.channels)
    if last and not spec.tensor.channels_last:
        raise BundleError(
            f"The model has its channels last (NHWC): {_shape(declared)}.", "Say so at import: --layout NHWC."
        )
    hint = _fitting_options(declared, spec) or "Give --size, --channels and --axes that fit."
    if sorted(str(edge) for edge in wanted) == sorted(str(edge) for edge in declared[1:]):
        hint = "Are --size (columns,rows) and --axes right?"
    raise BundleError(f"The model wants {_shape(declared)}, and the bundle declares {_shape(['N', *wanted])}.", hint)


def _fitting_options(declared: list, spec: ClassifierSpec) -> str:
    """Return the options that fit a declared input; empty where its shape is not fixed."""
    channels, *edges = (declared[-1], *declared[1:-1]) if spec.tensor.channels_last else declared[1:]
    if not all(isinstance(edge, int) for edge in (channels, *edges)):
        return ""
    size = {axis: edge for axis, edge in zip(spec.tensor.order, edges, strict=True)}
    return f"Give --size {','.join(str(size[axis]) for axis in range(len(size)))} --channels {channels}."


def _constants(bundle: Bundle, source: str, tensors: list) -> dict[str, np.ndarray]:
    """Return fixed values, one row each, for the inputs that are not the image."""
    given, values = dict(bundle.own.get("fill") or {}), {}
    for tensor in tensors:
        if tensor.name == source:
            continue
        if tensor.name not in given:
            raise BundleError(
                f"{bundle.weights} also needs its input {tensor.name}.", f"Fix it: --fill {tensor.name}=VALUE."
            )
        shape = [1, *(edge if isinstance(edge, int) else 1 for edge in (tensor.shape or [1])[1:])]
        kind = _TYPES.get(tensor.type, np.int64 if "int64" in tensor.type else np.float32)
        values[tensor.name] = np.full(shape, float(given.pop(tensor.name)), kind)
    if given:
        raise BundleError(f"{bundle.weights} has no input {next(iter(given))}.", "Correct --fill.")
    return values


def _shape(shape: list) -> str:
    return " x ".join(str(edge) if isinstance(edge, int) else str(edge or "?") for edge in shape)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
