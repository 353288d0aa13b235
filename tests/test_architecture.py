"""The arrows of the design: who may know whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from importlinter import cli as import_linter

ROOT = Path(__file__).parents[1]
SCIENCE = ROOT / "models" / "otherwise"
SERVER_LIBRARIES = {"monailabel", "slicer", "fastapi", "starlette"}
NOT_IN_SLICER = {"torch", "monai", "monailabel", "otherwise"}


def imported(file: Path) -> set[str]:
    """Find the top-level packages that a file imports anywhere, also within functions."""
    packages = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            packages.add(node.module.split(".")[0])
    return packages


def guilty(folder: Path, forbidden: set[str]) -> dict[str, set[str]]:
    files = {file.relative_to(ROOT).as_posix(): imported(file) & forbidden for file in folder.rglob("*.py")}
    return {file: packages for file, packages in files.items() if packages}


def test_all_contracts_of_the_rooms_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    code = import_linter.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert code == import_linter.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_rooms_of_the_server_point_down_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server's package is called ``lib``, as MONAI Label wants it, and is importable from its own folder only."""
    monkeypatch.chdir(ROOT / "monailabel_app")
    code = import_linter.lint_imports(config_filename=".importlinter", no_cache=True)
    assert code == import_linter.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_search_for_imports_finds_them(tmp_path: Path) -> None:
    file = tmp_path / "room.py"
    file.write_text("import torch.nn\nfrom . import monai\ndef late():\n    from monailabel.app import x\n")
    assert imported(file) == {"torch", "monailabel"}


def test_the_science_knows_no_server_and_no_slicer() -> None:
    assert (SCIENCE / "errors.py").is_file()
    # `otherwise serve` starts the server; it alone has to import it.
    assert set(guilty(SCIENCE, SERVER_LIBRARIES)) <= {"models/otherwise/cli/serve.py"}


def test_the_server_does_not_reach_back_into_the_command_line() -> None:
    files = list((ROOT / "monailabel_app").rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not node.module.startswith(("otherwise.cli", "otherwise.demo")), file


def test_the_slicer_extension_speaks_http_only() -> None:
    assert guilty(ROOT / "slicer_extension", NOT_IN_SLICER) == {}
