"""Save a scene of MRML as a bundle, and read it again, as the user of Slicer does."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_scene(scene: Any, folder: Path) -> Path:
    """Write the scene as ``saved/scene.mrb`` under ``folder``; return its path."""
    path = folder / "saved" / "scene.mrb"
    path.parent.mkdir()
    scene.SetRootDirectory(str(path.parent))
    assert scene.WriteToMRB(str(path))
    return path


def read_scene(scene: Any, path: Path, singletons: bool = False) -> None:
    """Replace the content of the scene by that of a bundle; with ``singletons``, these are removed first, too."""
    scene.Clear(singletons)
    assert scene.ReadFromMRB(str(path), True)
