"""Build a bundle's network from its configuration without running the bundle's code.

Without trust, a configuration is data: one class out of MONAI's or PyTorch's networks, with literal arguments. Weights
are read as safetensors or by PyTorch's restricted reader; nothing is unpickled.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from otherwise.blackbox.bundle import Bundle, refuse_code
from otherwise.blackbox.configuration import leaves
from otherwise.errors import BundleError

ALLOWED = ("monai.networks.nets", "torch.nn")
"""Modules whose networks may be built without trust."""
_FUNCTIONS = re.compile(r"resnet\d+|MedNe[xX]t\w+|vista3d\d+")
"""Functions of those modules that only build a network."""
_FETCHING = ("pretrained", "pretrained_url", "path_or_repo_id", "filename", "weights", "checkpoint")
"""Arguments that make a network download or open files."""
_TRUST = "If you trust its author, allow it with --trust-code."


def load_network(bundle: Bundle, device: str | torch.device, trust_code: bool = False) -> nn.Module:
    """Build the network ``network_def`` of the bundle's configuration and load its weights.

    Returns:
        The network on the device, in evaluation mode.

    Raises:
        BundleError: if the bundle holds Python code and is not trusted, or network and weights do not fit.
    """
    if "network_def" not in bundle.inference:
        raise BundleError(f"{bundle.inference_file} has no network_def.", "Say which network the weights are for.")
    if trust_code:
        network = _build_trusted(bundle)
    else:
        refuse_code(bundle)
        network = build_network(bundle.inference["network_def"])
    if bundle.weights is None:
        raise BundleError(f"{bundle.folder} holds no weights.", "Put them into models/.")
    try:
        network.load_state_dict(read_weights(bundle.weights))
    except RuntimeError as error:
        fault = " ".join(str(error).split())[:200]
        raise BundleError(
            f"The weights of {bundle.folder} do not fit its network: {fault}", "Correct network_def."
        ) from error
    return network.to(device).eval()


def build_network(definition: Any) -> nn.Module:
    """Build a network from ``{"_target_": "monai.networks.nets.DenseNet121", "spatial_dims": 2, ...}``.

    Raises:
        BundleError: if the target is no network of ``ALLOWED``, an argument is no literal, or the network refuses them.
    """
    if not isinstance(definition, Mapping) or not isinstance(definition.get("_target_"), str):
        raise BundleError("network_def is no object with a _target_.", f"Name a network of {', '.join(ALLOWED)}.")
    target = definition["_target_"]
    # An underscore marks MONAI's own keys; only its comment is harmless to ignore.
    arguments = {key: value for key, value in definition.items() if key not in ("_target_", "_desc_")}
    for place, value in leaves(arguments):
        if place.rpartition(".")[2].startswith("_") or str(value).lstrip().startswith(("$", "%", "@")):
            raise BundleError(f"network_def.{place} is no literal: {str(value)[:60]!r}.", _TRUST)
    factory = _locate(target)
    _refuse_fetching(target, factory, arguments)
    _require_torchvision(target)
    try:
        network = factory(**arguments)
    except Exception as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"{target} cannot be built: {fault}.", "Correct the arguments of network_def.") from error
    if not isinstance(network, nn.Module):
        raise BundleError(f"{target} is no network.", f"Name a network of {', '.join(ALLOWED)}.")
    return network


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors from ``.safetensors``, or from a ``.pt`` file that holds nothing but tensors.

    Raises:
        BundleError: if the file is damaged, of another kind, or needs unpickling.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise BundleError(
            f"{path} is a pickle that holds more than tensors; it is not opened.", "Convert it to safetensors."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"The weights {path} cannot be read: {fault}.", "Copy the bundle again.") from error
    for nested in ("state_dict", "model"):
        content = content.get(nested, content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise BundleError(f"{path} holds no named tensors.", "Save the network's state_dict.")
    return dict(content)


@contextmanager
def trusted_code(folder: Path) -> Iterator[None]:
    """Allow imports of a trusted bundle's Python code within the block, hidden from other bundles."""
    sys.path.insert(0, str(folder))
    _forget_scripts()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _forget_scripts()


def _forget_scripts() -> None:
    # Every bundle calls its package of Python files "scripts".
    for name in [name for name in sys.modules if name == "scripts" or name.startswith("scripts.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _build_trusted(bundle: Bundle) -> nn.Module:
    from monai.bundle.config_parser import ConfigParser

    try:
        with trusted_code(bundle.folder):
            parser = ConfigParser(dict(bundle.inference))
            parser["bundle_root"] = str(bundle.folder)
            network = parser.get_parsed_content("network_def")
    except Exception as error:
        fault = " ".join(str(error.__cause__ or error).split())[:200]
        raise BundleError(
            f"The network of {bundle.folder} cannot be built: {fault}", "Run the bundle's own tests."
        ) from error
    if not isinstance(network, nn.Module):
        raise BundleError(f"network_def of {bundle.folder} is no network.", "It should be a torch.nn.Module.")
    return network


def _locate(target: str) -> Any:
    module, _, name = target.rpartition(".")
    # Exactly one name behind an allowed module: "torch.nn.x.os.system" leads anywhere.
    factory = (
        getattr(importlib.import_module(module), name, None) if module in ALLOWED and name.isidentifier() else None
    )
    native = str(getattr(factory, "__module__", "")).startswith(tuple(f"{allowed}." for allowed in ALLOWED))
    is_network = inspect.isclass(factory) and issubclass(factory, nn.Module)
    builds = is_network or (inspect.isfunction(factory) and _FUNCTIONS.fullmatch(name))
    if not (native and builds):
        raise BundleError(
            f"network_def._target_ {target!r} is not allowed.", f"Only networks of {', '.join(ALLOWED)} are. {_TRUST}"
        )
    return factory


def _require_torchvision(target: str) -> None:
    """Refuse a network of torchvision where torchvision cannot be imported.

    Raises:
        BundleError: with the reason. A torchvision compiled for another build of PyTorch, such as CUDA instead of CPU,
            cannot be imported.
    """
    if "TorchVision" not in target:
        return
    try:
        importlib.import_module("torchvision.models")
    except Exception as error:  # RuntimeError if its operators do not fit
        fault = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise BundleError(
            f"{target} needs torchvision, which cannot be imported beside this PyTorch ({torch.__version__}): {fault}.",
            "Install the build of torchvision that belongs to it, or export the network as TorchScript or ONNX.",
        ) from error


def _refuse_fetching(target: str, factory: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments, given or default, that make a network download or open files."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    for name, value in {**defaults, **arguments}.items():
        if value and name in _FETCHING:
            raise BundleError(f"{target} would read other files ({name}={value!r}).", f"Set {name} to false. {_TRUST}")
