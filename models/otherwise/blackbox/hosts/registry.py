"""The kinds of models that are hosted: one line each. Loading and import choose from this table.

The library of a host is imported only when a model of its kind is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otherwise.blackbox.bundle import USUAL_WEIGHTS, Bundle, refuse_code
from otherwise.blackbox.hosted import HostedClassifier
from otherwise.blackbox.hosts.model_files import (
    ModelSource,
    explain_refusal,
    recognise_address,
    recognise_exported,
    recognise_function,
    recognise_onnx,
    recognise_torchscript,
)
from otherwise.blackbox.spec import read_spec
from otherwise.errors import BundleError

Load = Callable[[Bundle, str, bool], HostedClassifier]
"""Bundle, device, and whether its Python code is trusted -> the hosted model, whose answers are not checked yet."""


def _not_recognised(model: str) -> None:
    """Recognise nothing: models of this kind come as bundles only."""


@dataclass(frozen=True)
class HostKind:
    """A kind of model.

    Attributes:
        name: For people.
        suits: Whether a bundle holds a model of this kind.
        load: Loads the model of such a bundle.
        recognise: Returns how a model that a user names becomes a bundle; None if it is of another kind.
        checks_code: Whether ``load`` itself refuses code that is not trusted, where only part of it would be run.
    """

    name: str
    suits: Callable[[Bundle], bool]
    load: Load
    recognise: Callable[[str], ModelSource | None] = _not_recognised
    checks_code: bool = False


def _has_field(name: str) -> Callable[[Bundle], bool]:
    return lambda bundle: name in bundle.own


def _has_weights(*endings: str) -> Callable[[Bundle], bool]:
    return lambda bundle: bundle.weights is not None and bundle.weights.suffix.lower() in endings


def _runs_by_monai(bundle: Bundle) -> bool:
    """Return whether a bundle declares no contract of ours, but MONAI's own transforms and network."""
    return "contract" not in bundle.own and {"preprocessing", "network_def"} <= set(bundle.inference)


def _load_monai(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    from otherwise.blackbox.hosts.monai import monai_host

    return monai_host(bundle, device, trust_code)


def _load_remote(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    from otherwise.blackbox.hosts.remote import RemoteModel, remote_host

    return remote_host(RemoteModel.of(bundle.own["remote"]), read_spec(bundle))


def _load_function(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    from otherwise.blackbox.hosts.python_function import callable_host

    return callable_host(str(bundle.own["callable"]), read_spec(bundle), folder=bundle.folder, trust_code=trust_code)


def _load_onnx(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    from otherwise.blackbox.hosts.onnx import onnx_host

    return onnx_host(bundle, read_spec(bundle), device)


def _load_exported(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    from otherwise.blackbox.hosts.pytorch import exported_host

    return exported_host(bundle, read_spec(bundle), device)


def _load_torchscript(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    from otherwise.blackbox.hosts.pytorch import torchscript_host

    return torchscript_host(bundle, read_spec(bundle), device)


def _load_network(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    from otherwise.blackbox.hosts.pytorch import network_host

    return network_host(bundle, read_spec(bundle), device, trust_code)


HOSTS = (
    HostKind("MONAI bundle with its own transforms", _runs_by_monai, _load_monai, checks_code=True),
    HostKind("model on another server", _has_field("remote"), _load_remote, recognise_address),
    HostKind("Python function", _has_field("callable"), _load_function, recognise_function),
    HostKind("ONNX file", _has_weights(".onnx"), _load_onnx, recognise_onnx),
    HostKind("exported program", _has_weights(".pt2"), _load_exported, recognise_exported),
    HostKind("TorchScript file", _has_weights(".ts"), _load_torchscript, recognise_torchscript),
    HostKind("network that a bundle configures", _has_weights(".safetensors", ".pt"), _load_network),
)
"""In the order in which they are tried."""


def load_hosted(bundle: Bundle, device: str = "cpu", trust_code: bool = False) -> HostedClassifier:
    """Load a bundle's model by the first host that suits it; its answers are not checked.

    Args:
        bundle: The bundle.
        device: Where PyTorch runs the model, such as ``cpu``, ``cuda:0`` or ``auto``.
        trust_code: Whether Python code that the bundle brings or names may be run.

    Raises:
        BundleError: if no host suits the bundle, the model cannot be loaded, or it needs a trust that is not given.
        ClassifierError: if it is on another server that cannot be reached.
    """
    host = next((host for host in HOSTS if host.suits(bundle)), None)
    if not trust_code and not (host and host.checks_code):
        refuse_code(bundle)
    if host is None:
        endings = ", ".join(f".{usual.rpartition('.')[2]}" for usual in USUAL_WEIGHTS)
        weights = bundle.weights
        held = f"weights of no known kind: {weights.name}" if weights else "no weights, and names no model"
        raise BundleError(f"{bundle.folder} holds {held}.", f"Give weights that end in {endings}.")
    return host.load(bundle, device, trust_code)


def recognise_model(model: str) -> ModelSource:
    """Return how a model that a user names becomes a bundle.

    Args:
        model: Path of a file, ``package.module:function``, or the address of a model on another server.

    Raises:
        BundleError: if no host recognises it; the error names the kind of the file where it is known.
    """
    for host in HOSTS:
        source = host.recognise(model)
        if source is not None:
            return source
    raise explain_refusal(model)
