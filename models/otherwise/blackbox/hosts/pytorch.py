"""Host models of PyTorch: a bundle's network, TorchScript, an exported program."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import nn

from otherwise.blackbox.bundle import Bundle
from otherwise.blackbox.hosted import HostedClassifier, Scores, in_batches
from otherwise.blackbox.hosts.layout import use_channels_last
from otherwise.blackbox.hosts.networks import load_network
from otherwise.blackbox.output_kind import SURVIVAL, OutputKind
from otherwise.blackbox.outputs import BYTE, NO_SCORES, InputTypeError, choose, rows_of
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import BundleError, ClassifierError

_CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+)")
_USUAL_CHANNELS = 4
"""If a network meets more channels than this, they are probably an edge of the image."""


class LogOdds(nn.Module):
    """A classifier as a differentiable function: images in [0, 1] to the log-odds of each class.

    Args:
        network: Maps ``(batch, channels, *size)`` in its own value range to ``(batch, outputs)``.
        spec: Its value range, and how its outputs become probabilities.
    """

    def __init__(self, network: nn.Module, spec: ClassifierSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.training = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``log p - log(1 - p)`` of each class: ``(batch, classes)``."""
        tensor = self.spec.tensor.of(images).to(getattr(torch, self.spec.tensor.dtype))
        scores = rows_of(choose(self.network(tensor), self.spec.output, self.spec.contract > 1)).float()
        if self.spec.answer.is_value:
            second = ((value_of(scores, self.spec.answer) - self.spec.answer.reference) / self.spec.answer.spread)[
                :, None
            ]
            return torch.cat([-second, second], dim=1)
        if self.spec.activation == "share":
            scores = scores / scores.sum(dim=1, keepdim=True)
        if self.spec.activation == "log":
            scores = scores.exp()
        if self.spec.activation in ("none", "share", "log"):
            scores = scores.logit(eps=1e-6)
        if not self.spec.multi_label and len(self.spec.classes) == 2 and scores.numel() == len(images):
            second = scores.reshape(-1, 1)
            return torch.cat([-second, second], dim=1)
        if self.spec.activation != "softmax":
            return scores
        own = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
        return scores - scores[:, None].masked_fill(own, -torch.inf).logsumexp(2)


def value_of(scores: torch.Tensor, kind: OutputKind) -> torch.Tensor:
    """Return the decision value ``(batch,)`` as a differentiable function; see ``OutputKind.values``.

    Args:
        scores: ``(batch, outputs)`` or, for one output, ``(batch,)``.
        kind: What they are.
    """
    if kind.kind != SURVIVAL:
        return scores.reshape(len(scores))
    intervals = len(kind.times) - 1
    logs: dict[str, Callable[[], torch.Tensor]] = {  # logarithm of the survival at the end of each interval
        "hazards": lambda: torch.log1p(-scores.clamp(0, 1 - 1e-6)).cumsum(1),
        "hazard-logits": lambda: nn.functional.logsigmoid(-scores).cumsum(1),
        "interval-survival": lambda: scores.clamp(1e-6, 1).log().cumsum(1),
        "event-probabilities": lambda: (1 - scores[:, :intervals].cumsum(1)).clamp_min(1e-6).log(),
        "event-logits": lambda: (1 - scores.softmax(1)[:, :intervals].cumsum(1)).clamp_min(1e-6).log(),
        "curve": lambda: scores[:, -intervals:].clamp(1e-6, 1).log(),
    }
    log_survival = torch.cat([torch.zeros_like(scores[:, :1]), logs[kind.reading]()], dim=1)
    horizon, times = float(kind.horizon or 0), kind.times
    after = next(index for index, time in enumerate(times) if time >= horizon)
    share = (horizon - times[after - 1]) / (times[after] - times[after - 1])
    return 100 * (1 - ((1 - share) * log_survival[:, after - 1] + share * log_survival[:, after]).exp())


def network_host(
    bundle: Bundle, spec: ClassifierSpec, device: str = "cpu", trust_code: bool = False
) -> HostedClassifier:
    """Host the network of a MONAI bundle (``network_def`` and safetensors or ``.pt`` weights).

    Raises:
        BundleError: see ``load_network``; also if there is no such device.
    """
    return module_host(load_network(bundle, check_device(device), trust_code), spec, device)


def torchscript_host(bundle: Bundle, spec: ClassifierSpec, device: str = "cpu") -> HostedClassifier:
    """Host a TorchScript file. Nothing is unpickled, since TorchScript is not Python.

    Raises:
        BundleError: if the file is not TorchScript, or there is no such device.
    """
    where = check_device(device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(str(bundle.weights), map_location=where)
    except (RuntimeError, ValueError, OSError) as error:
        raise BundleError(f"{bundle.weights} is no TorchScript file.", "Save it with torch.jit.save.") from error
    return module_host(network, spec, device)


def exported_host(bundle: Bundle, spec: ClassifierSpec, device: str = "cpu") -> HostedClassifier:
    """Host a ``.pt2`` file of ``torch.export.save``.

    Raises:
        BundleError: if the file is not an exported program, or there is no such device.
    """
    where = check_device(device)
    assert bundle.weights is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.export.load(bundle.weights).module()
    except Exception as error:  # the error depends on the version that wrote the file
        fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BundleError(
            f"{bundle.weights} cannot be loaded as an exported program: {fault[:200]}",
            "Save it with torch.export.save, by a PyTorch that is not newer than this one.",
        ) from error
    return module_host(network.to(where), spec, device)


def module_host(network: nn.Module, spec: ClassifierSpec, device: str = "cpu") -> HostedClassifier:
    """Host a network in memory."""
    if not isinstance(network, torch.fx.GraphModule):  # an exported program is in evaluation mode and has no eval()
        network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    kinds = {parameter.dtype for parameter in network.parameters() if parameter.is_floating_point()}
    if spec.contract > 1 and spec.tensor.dtype == "float32" and kinds in ({torch.float64}, {torch.float16}):
        raise InputTypeError(str(kinds.pop()).removeprefix("torch."))
    scores = _scores(network, check_device(device), spec)
    # A rounded input has no gradients, and neither has a batch that is split.
    differentiable = spec.tensor.dtype != "uint8" and spec.batch_size is None
    hosted = HostedClassifier(spec, scores, LogOdds(network, spec) if differentiable else None)
    use_channels_last(network, spec.inputs, hosted.outputs)
    return hosted


def check_device(device: str) -> torch.device:
    """Return a device; ``auto`` is CUDA if available, else Apple's ``mps``, else the CPU.

    Raises:
        BundleError: if this machine has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BundleError(f"There is no device {device!r} here.", "Use --device cpu.") from error
    return found


@contextmanager
def without_gradients() -> Iterator[None]:
    """Compute without gradients, but not in inference mode, even within it.

    TorchScript and some networks keep constants that they make at their first call. Made in inference mode, these would
    make every later gradient fail.
    """
    with torch.inference_mode(False), torch.no_grad():
        yield


def _scores(network: nn.Module, device: torch.device, spec: ClassifierSpec) -> Scores:
    def scores(images: np.ndarray) -> np.ndarray:
        try:
            with without_gradients():
                answer = network(torch.from_numpy(images).to(device))
        except Exception as error:  # any error of the network's own code
            fault = (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
            raise ClassifierError(f"The network failed: {shortened(fault)}.", _hint(fault)) from error
        chosen = choose(answer, spec.output, spec.contract > 1)
        if not isinstance(chosen, torch.Tensor):
            raise ClassifierError(f"The network returned {type(chosen).__name__}.", "It should return a tensor.")
        if chosen.is_quantized:
            chosen = chosen.dequantize()
        if not chosen.is_floating_point() and chosen.numel() == len(images):
            raise ClassifierError(f"The network returns class numbers ({_kind(chosen)}).", NO_SCORES)
        if chosen.is_complex():
            raise ClassifierError("The network returns complex numbers.", "Take their magnitude in its forward.")
        scores = rows_of(chosen.cpu().double().numpy())
        return scores / BYTE if chosen.dtype == torch.uint8 else scores

    return partial(in_batches, scores, spec.batch_size) if spec.batch_size else scores


def shortened(text: str, most: int = 160) -> str:
    """Return a text cut at a space to at most ``most`` characters."""
    return text if len(text) <= most else text[:most].rpartition(" ")[0] + " ..."


def _kind(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _hint(fault: str) -> str:
    """Return the remedy for a network's error."""
    channels = _CHANNELS.search(fault)
    if channels:
        other = " If its channels come last, give --layout NHWC." if int(channels[2]) > _USUAL_CHANNELS else ""
        return f"Give --channels {channels[1]} if it wants so many.{other}"
    if "BFloat16" in fault:
        return "It computes in bfloat16: save it after model.float()."
    if "missing value for argument" in fault or "missing a required argument" in fault:
        return "It takes more than the image: save a module whose forward fixes the other inputs."
    if "is invalid for input of size" in fault:
        return "It was saved for another size or for batches of one length: check --size, or save it for any batch."
    if "CUDA" in fault or "cuda" in fault:
        return "It was saved for a GPU; save it again after model.cpu(), or give --device cuda."
    if "double" in fault.lower() or "half" in fault.lower():
        return "It wants another type of input: give --dtype float64 (or float16) at import."
    if fault.startswith("Guard failed"):
        return "It was exported for one size; give that as --size columns,rows."
    return "Check the bundle's size and channels."
