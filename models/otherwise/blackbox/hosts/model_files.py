"""Recognise a model that a user names, by content where it is a file; nothing is unpickled."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from otherwise.blackbox.bundle import METADATA
from otherwise.errors import BundleError


@dataclass(frozen=True)
class ModelSource:
    """How a bare model becomes a bundle.

    Attributes:
        weights: Path of the weights within the bundle; None for a model that is called by name or address.
        copy: Writes the weights to a path; None where there are none.
        own: Fields of the bundle's metadata under ``otherwise`` that say how to reach the model.
    """

    weights: str | None = None
    copy: Callable[[Path], None] | None = None
    own: dict[str, Any] = field(default_factory=dict)


def recognise_address(model: str) -> ModelSource | None:
    """Return the source of a model on another server; None if ``model`` is no ``http`` address.

    Raises:
        BundleError: if it is an address, but not of a model.
    """
    if not model.startswith(("http://", "https://")):
        return None
    from otherwise.blackbox.hosts.remote import RemoteModel

    given = {key: value for key, value in asdict(RemoteModel.parse(model)).items() if value is not None}
    return ModelSource(own={"remote": given})


def recognise_function(model: str) -> ModelSource | None:
    """Return the source of ``package.module:function``; None if ``model`` has another form."""
    module, colon, function = model.partition(":")
    named = colon and function.isidentifier() and all(part.isidentifier() for part in module.split("."))
    return ModelSource(own={"callable": model}) if named else None


def recognise_onnx(model: str) -> ModelSource | None:
    """Return the source of an ``.onnx`` file; None if ``model`` is no such file."""
    path = Path(model)
    if path.suffix.lower() != ".onnx" or not path.is_file():
        return None
    return ModelSource("models/model.onnx", lambda target: _copy_with_companions(path, target))


def recognise_exported(model: str) -> ModelSource | None:
    """Return the source of a file that ``torch.export.save`` wrote; None if ``model`` is no such file."""
    return _file_of_kind(model, "exported", "models/model.pt2")


def recognise_torchscript(model: str) -> ModelSource | None:
    """Return the source of a TorchScript file; None if ``model`` is no such file."""
    return _file_of_kind(model, "torchscript", "models/model.ts")


def explain_refusal(model: str) -> BundleError:
    """Return the error for a model of no known kind: what it is, and the way out."""
    path = Path(model)
    if path.is_dir():
        return _explain_folder(path)
    if not path.is_file():
        return BundleError(f"There is no model file {path}.", "Check the path.")
    export = "Save the model with torch.jit.save, torch.export.save (.pt2) or torch.onnx.export"
    known = {
        "weights": (f"{path} holds weights without a network.", f"{export}, or make a MONAI bundle with network_def."),
        "pickle": (f"{path} is a pickle, which would run code when it is opened.", f"{export}."),
        "keras": (f"{path} is a Keras model.", "Export it as ONNX (tf2onnx, or model.export(..., format='onnx'))."),
        "tensorflow-lite": (f"{path} is a TensorFlow Lite model.", "Export the model as ONNX (tf2onnx)."),
    }
    kind = _file_kind(path)
    if kind == "pickled tensors":
        kind = "weights" if _holds_only_tensors(path) else "pickle"
    return BundleError(*known.get(kind, (f"{path} is no model that is known, or damaged.", f"{export}.")))


def _explain_folder(path: Path) -> BundleError:
    if (path / METADATA).is_file():
        return BundleError(f"{path} is a bundle already.", f"Host it as it is: otherwise classifier check {path}")
    if (path / "saved_model.pb").is_file():
        return BundleError(f"{path} is a TensorFlow SavedModel.", "Export it as ONNX (tf2onnx).")
    return BundleError(f"{path} is a folder.", "Give the model's file.")


def _file_of_kind(model: str, kind: str, weights: str) -> ModelSource | None:
    path = Path(model)
    if not path.is_file() or _file_kind(path) != kind:
        return None
    return ModelSource(weights, lambda target: _copy(path, target))


def _file_kind(path: Path) -> str:
    """Return the kind of a file of PyTorch or another library.

    Returns:
        ``torchscript``, ``exported``, ``weights``, ``pickled tensors``, ``pickle``, ``keras``, ``tensorflow-lite`` or
        ``other``.
    """
    if path.suffix.lower() == ".safetensors":
        return "weights"
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\x89HDF"):
        return "keras"
    if head[4:8] == b"TFL3":
        return "tensorflow-lite"
    if not zipfile.is_zipfile(path):
        return "pickle" if head[:1] == b"\x80" else "other"
    with zipfile.ZipFile(path) as archive:
        entries = archive.namelist()
    names = [name.partition("/")[2] or name for name in entries]
    if "archive_format" in names or any("exported_program" in name or name.startswith("models/") for name in names):
        return "exported"
    if any(name.startswith("code/") for name in names):
        return "torchscript"
    if "config.json" in entries:
        return "keras"
    return "pickled tensors" if "data.pkl" in names else "other"


def _holds_only_tensors(path: Path) -> bool:
    from otherwise.blackbox.hosts.networks import read_weights

    try:
        read_weights(path)
    except BundleError:
        return False
    return True


def _copy(path: Path, target: Path) -> None:
    shutil.copyfile(path, target)


def _copy_with_companions(path: Path, target: Path) -> None:
    """Copy an ONNX file and the files beside it that hold its tensors; those keep the names that it refers to."""
    _copy(path, target)
    for suffix in (".data", "_data"):
        companion = path.with_name(path.name + suffix)
        if companion.is_file():
            _copy(companion, target.with_name(companion.name))
