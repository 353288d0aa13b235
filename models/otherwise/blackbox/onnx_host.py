"""Host an ONNX file with onnxruntime."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import onnxruntime

from otherwise.blackbox.bundle import Bundle
from otherwise.blackbox.hosted import HostedClassifier, Scores, in_batches
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import BundleError, ClassifierError

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


def onnx_host(
    bundle: Bundle, spec: ClassifierSpec, device: str = "cpu", threads: int | None = None
) -> HostedClassifier:
    """Host the ONNX file of a bundle.

    Of several inputs or outputs, ``otherwise.input`` and ``otherwise.output`` name the ones to use; without them, the
    only input and the first output of floating-point numbers.

    Args:
        bundle: With ``.onnx`` weights.
        spec: How to read the answer.
        device: ``auto`` and ``cuda`` use the GPU if this onnxruntime can; else the CPU.
        threads: Threads of one operator; default: ``OMP_NUM_THREADS``, or what onnxruntime thinks best.

    Raises:
        BundleError: if the file is damaged or has no fitting input and output.
    """
    options = onnxruntime.SessionOptions()
    # Zero: what onnxruntime thinks best. The variable may hold a list, one number for each level of nesting.
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    options.intra_op_num_threads = threads if threads is not None else int(asked) if asked.isdecimal() else 0
    options.log_severity_level = 3
    wanted = [] if device == "cpu" else ["CUDAExecutionProvider"]
    providers = [name for name in (*wanted, "CPUExecutionProvider") if name in onnxruntime.get_available_providers()]
    try:
        # By path, so that external data is looked for, and only found, beside the file.
        session = onnxruntime.InferenceSession(str(bundle.weights), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise BundleError(
            f"{bundle.weights} cannot be loaded as ONNX: {_one_line(error)}", "Export it again."
        ) from error
    source = _choose(bundle, "input", session.get_inputs())
    target = _choose(bundle, "output", session.get_outputs())

    def run(images: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(session.run([target.name], {source.name: images.astype(_TYPES[source.type])})[0])
        except Exception as error:
            raise ClassifierError(
                f"The ONNX model failed: {_one_line(error)}", "Check the size and channels."
            ) from error

    fixed = source.shape[0] if source.shape and isinstance(source.shape[0], int) else None
    scores: Scores = partial(in_batches, run, fixed) if fixed else run
    return HostedClassifier(spec, scores)


def _choose(bundle: Bundle, role: str, tensors: list) -> onnxruntime.NodeArg:
    named = bundle.own.get(role)
    fitting = [tensor for tensor in tensors if tensor.type in _TYPES and named in (None, tensor.name)]
    ambiguous = role == "input" and len(tensors) > 1 and named is None
    if not fitting or ambiguous:
        known = ", ".join(f"{tensor.name} {tensor.type}" for tensor in tensors)
        raise BundleError(f"{bundle.weights} has no fitting {role} (it has {known}).", f"Name it in otherwise.{role}.")
    return fitting[0]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
