"""Paths of files that are installed with the package: shipped bundles and the MONAI Label app.

An installed wheel carries them as package data; in a checkout (also after ``pip install -e .``) they lie in the
repository.
"""

from __future__ import annotations

import re
from pathlib import Path

from otherwise.errors import BundleError

_PACKAGE = Path(__file__).resolve().parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def bundles_folder() -> Path:
    """Return the folder of the shipped bundles; a checkout without any may lack it."""
    return _package_data("_bundles", _PACKAGE.parent / "bundles")


def app_folder() -> Path:
    """Return the folder of the MONAI Label app."""
    return _package_data("_app", _PACKAGE.parent.parent / "monailabel_app")


def shipped_bundles() -> tuple[str, ...]:
    """Return the names of the shipped bundles, sorted."""
    folder = bundles_folder()
    if not folder.is_dir():
        return ()
    return tuple(sorted(item.name for item in folder.iterdir() if (item / "configs" / "metadata.json").is_file()))


def shipped_bundle(name: str) -> Path:
    """Return the folder of one shipped bundle.

    Raises:
        BundleError: if no bundle of that name is shipped.
    """
    if not _NAME.fullmatch(name) or name not in shipped_bundles():
        known = ", ".join(shipped_bundles()) or "none"
        raise BundleError(f"There is no bundle {name!r}.", f"Give a bundle's folder or a shipped name ({known}).")
    return bundles_folder() / name


def _package_data(inside: str, checkout: Path) -> Path:
    installed = _PACKAGE / inside
    return installed if installed.is_dir() else checkout
