"""Load a classifier of any kind, by folder or by shipped name."""

from __future__ import annotations

from pathlib import Path

from otherwise.blackbox.bundle import read_bundle
from otherwise.blackbox.checked import CheckedBlackBox
from otherwise.blackbox.hosts.registry import load_hosted
from otherwise.blackbox.protocol import BlackBox
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
    return CheckedBlackBox(load_hosted(bundle, device, trust_code))


def find_bundle(reference: str | Path) -> Path:
    """Return the folder of a bundle, given as a folder or as a shipped name.

    Raises:
        BundleError: if there is neither.
    """
    folder = Path(reference)
    looks_like_a_path = isinstance(reference, Path) or len(folder.parts) != 1
    return folder if folder.is_dir() or looks_like_a_path else shipped_bundle(str(reference))
