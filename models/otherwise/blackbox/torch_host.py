"""Host what PyTorch runs: a MONAI bundle's network, or TorchScript."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import nn

from otherwise.blackbox.bundle import Bundle
from otherwise.blackbox.hosted import HostedClassifier, Scores
from otherwise.blackbox.networks import load_network
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import BundleError, ClassifierError


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

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """``log p - log(1 - p)`` of each class: ``(batch, classes)``."""
        low, high = self.spec.value_range
        scores = _first(self.network(images * (high - low) + low)).float()
        if self.spec.activation == "none":
            scores = scores.logit(eps=1e-6)
        if not self.spec.multi_label and len(self.spec.classes) == 2 and scores.numel() == len(images):
            second = scores.reshape(-1, 1)
            return torch.cat([-second, second], dim=1)
        if self.spec.activation != "softmax":
            return scores
        own = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
        return scores - scores[:, None].masked_fill(own, -torch.inf).logsumexp(2)


def network_host(
    bundle: Bundle, spec: ClassifierSpec, device: str = "cpu", trust_code: bool = False
) -> HostedClassifier:
    """Host the network of a MONAI bundle (``network_def`` and safetensors or ``.pt`` weights).

    Raises:
        BundleError: see ``load_network``; also if there is no such device.
    """
    return module_host(load_network(bundle, check_device(device), trust_code), spec, device)


def torchscript_host(bundle: Bundle, spec: ClassifierSpec, device: str = "cpu") -> HostedClassifier:
    """Host a TorchScript file. TorchScript is a language of its own, not Python: nothing is unpickled.

    Raises:
        BundleError: if the file is no TorchScript, or there is no such device.
    """
    where = check_device(device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(str(bundle.weights), map_location=where)
    except (RuntimeError, ValueError, OSError) as error:
        raise BundleError(f"{bundle.weights} is no TorchScript file.", "Save it with torch.jit.save.") from error
    return module_host(network.eval(), spec, device)


def module_host(network: nn.Module, spec: ClassifierSpec, device: str = "cpu") -> HostedClassifier:
    """Host any network in memory."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return HostedClassifier(spec, _scores(network, check_device(device)), LogOdds(network, spec).eval())


def check_device(device: str) -> torch.device:
    """Find a device; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        BundleError: if this machine has none of that name.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BundleError(f"There is no device {device!r} here.", "Use --device cpu.") from error
    return found


def _scores(network: nn.Module, device: torch.device) -> Scores:
    def scores(images: np.ndarray) -> np.ndarray:
        try:
            with torch.inference_mode():
                return _first(network(torch.from_numpy(images).to(device))).float().cpu().numpy()
        except Exception as error:  # whatever a network's own code may raise
            fault = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ClassifierError(f"The network failed: {fault}.", "Check the bundle's size and channels.") from error

    return scores


def _first(outputs: torch.Tensor | tuple | list) -> torch.Tensor:
    """The outputs of a network that also returns others, such as hidden states."""
    return outputs[0] if isinstance(outputs, (tuple, list)) else outputs
