"""The extension as a repository of its own: what the Extensions Index asks for that needs no network."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def export() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export", ROOT / "slicer_extension" / "export.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commit_of(folder: Path) -> str:
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_command_exports_the_same_small_repository_each_time(export: ModuleType, tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "repository", tmp_path / "b" / "repository"
    script = ROOT / "slicer_extension" / "export.py"
    for folder in (first, second):
        folder.parent.mkdir()
        subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    assert commit_of(first) == commit_of(second)
    assert sum(path.stat().st_size for path in first.rglob("*") if path.is_file()) < 5e6
    for path in (
        "LICENSE",
        "README.md",
        "CMakeLists.txt",
        "Otherwise/Otherwise.py",
        "Otherwise/Testing/CMakeLists.txt",
    ):
        assert (first / path).is_file(), path
    assert not list(first.rglob("__pycache__"))
    again = subprocess.run([sys.executable, str(script), str(first)], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_the_description_file_passes(export: ModuleType) -> None:
    content = json.loads((ROOT / "slicer_extension" / f"{export.NAME}.json").read_text())
    assert export.description_problems(content, export.NAME) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"category": "Machine Learning"}, "unknown"),
        ({"tier": 2}, "tier"),
        ({"scm_url": "git@github.com:a/SlicerB.git"}, "no address"),
        ({"scm_url": "https://github.com/a/B.git"}, "begin with Slicer"),
        ({"scm_revision": None}, "scm_revision is missing"),
    ],
)
def test_what_the_index_refuses_is_refused_here(export: ModuleType, change: dict[str, Any], problem: str) -> None:
    content = json.loads((ROOT / "slicer_extension" / f"{export.NAME}.json").read_text())
    changed = {key: value for key, value in {**content, **change}.items() if value is not None}
    assert any(problem in told for told in export.description_problems(changed, export.NAME))


def test_a_repository_that_lacks_something_is_refused(export: ModuleType, tmp_path: Path) -> None:
    export.export(tmp_path / "repository")
    folder = tmp_path / "repository"
    (folder / "LICENSE").unlink()
    (folder / "pictures" / "panel.png").unlink()
    (folder / "large.bin").write_bytes(bytes(5_000_001))
    told = " ".join(export.repository_problems(folder))
    for part in ("LICENSE is missing", "panel.png is announced and not there", "more than 5"):
        assert part in told
