"""One door to every hosted classifier."""

from __future__ import annotations

from pathlib import Path

from otherwise.blackbox.bundle import Bundle, read_bundle, refuse_code
from otherwise.blackbox.checked import CheckedBlackBox
from otherwise.blackbox.hosted import HostedClassifier
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.spec import ClassifierSpec, read_spec
from otherwise.errors import BundleError
from otherwise.resources import shipped_bundle


def load_classifier(reference: str | Path, *, device: str = "cpu", trust_code: bool = False) -> BlackBox:
    """Load a classifier, ready to be asked.

    Args:
        reference: A bundle's folder, or the name of a shipped bundle.
        device: Where PyTorch runs it, such as ``cpu``, ``cuda:0`` or ``auto``.
        trust_code: Whether Python that the bundle brings or names may be run.

    Returns:
        A ``CheckedBlackBox``; its ``module`` is differentiable where the model is.

    Raises:
        BundleError: if there is no such bundle, it is incomplete, or it needs a trust that is not given.
    """
    bundle = read_bundle(find_bundle(reference), kind="classifier")
    if "contract" not in bundle.own and {"preprocessing", "network_def"} <= set(bundle.inference):
        from otherwise.blackbox.hosts.monai import monai_host

        return CheckedBlackBox(monai_host(bundle, device, trust_code))
    return CheckedBlackBox(host(bundle, read_spec(bundle), device, trust_code))


def find_bundle(reference: str | Path) -> Path:
    """Return the folder of a bundle, given as a folder or as a shipped name.

    Raises:
        BundleError: if there is neither.
    """
    folder = Path(reference)
    looks_like_a_path = isinstance(reference, Path) or len(folder.parts) != 1
    return folder if folder.is_dir() or looks_like_a_path else shipped_bundle(str(reference))


def host(bundle: Bundle, spec: ClassifierSpec, device: str = "cpu", trust_code: bool = False) -> HostedClassifier:
    """Host a bundle's model, unchecked; each kind brings in its own library, and only then.

    Raises:
        BundleError: if the model cannot be loaded, or needs a trust that is not given.
        ClassifierError: if it is served elsewhere and cannot be reached.
    """
    if not trust_code:
        refuse_code(bundle)
    if "remote" in bundle.own:
        from otherwise.blackbox.hosts.remote import RemoteModel, remote_host

        return remote_host(RemoteModel.of(bundle.own["remote"]), spec)
    if "callable" in bundle.own:
        from otherwise.blackbox.hosts.python_function import callable_host

        return callable_host(str(bundle.own["callable"]), spec, folder=bundle.folder, trust_code=trust_code)
    suffix = bundle.weights.suffix.lower() if bundle.weights else ""
    if suffix == ".onnx":
        from otherwise.blackbox.hosts.onnx import onnx_host

        return onnx_host(bundle, spec, device)
    from otherwise.blackbox.hosts.pytorch import exported_host, network_host, torchscript_host

    if suffix == ".ts":
        return torchscript_host(bundle, spec, device)
    if suffix == ".pt2":
        return exported_host(bundle, spec, device)
    if suffix in (".safetensors", ".pt"):
        return network_host(bundle, spec, device, trust_code)
    raise BundleError(f"Weights {bundle.weights} are of no known kind.", "Give .safetensors, .ts, .pt2, .onnx or .pt.")
