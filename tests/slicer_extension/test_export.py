"""The extension as a repository of its own: what the Extensions Index asks for that needs no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.script_file import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def export() -> ModuleType:
    return load_script(ROOT / "slicer_extension" / "export.py")


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


def test_the_exported_extension_passes_its_self_test_alone(export: ModuleType, tmp_path: Path) -> None:
    """Only Slicer's core beside it: nothing of the project that it was exported from."""
    pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
    export.export(tmp_path / "repository")
    program = "import slicer; from OtherwiseLib.samples import self_test; self_test.run(slicer.vtkMRMLScene())"
    alone = {**os.environ, "PYTHONPATH": str(tmp_path / "repository" / "Otherwise"), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=alone, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


SLICER_CONFIG = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/Empty.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/Empty.cmake)
"""
USE_SLICER = """
option(BUILD_TESTING "" ON)
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${MODULE_UNPARSED_ARGUMENTS}")
  endif()
  foreach(path ${MODULE_SCRIPTS} ${MODULE_RESOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${path})
      message(FATAL_ERROR "not there: ${path}")
    endif()
  endforeach()
  message(STATUS "module ${MODULE_NAME}")
endfunction()
function(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT" "" ${ARGN})
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${TEST_SCRIPT})
    message(FATAL_ERROR "not there: ${TEST_SCRIPT}")
  endif()
  message(STATUS "test ${TEST_SCRIPT}")
endfunction()
"""
"""What Slicer's build offers to an extension, as far as this one uses it."""


@pytest.mark.skipif(shutil.which("cmake") is None, reason="CMake is not installed")
def test_cmake_takes_the_exported_extension(export: ModuleType, tmp_path: Path) -> None:
    export.export(tmp_path / "repository")
    slicer = tmp_path / "slicer"
    slicer.mkdir()
    for name, text in (("SlicerConfig", SLICER_CONFIG), ("UseSlicer", USE_SLICER), ("Empty", "")):
        (slicer / f"{name}.cmake").write_text(text)
    command = ["cmake", "-S", str(tmp_path / "repository"), "-B", str(tmp_path / "build"), f"-DSlicer_DIR={slicer}"]
    ended = subprocess.run([*command, "-DCMAKE_SUPPRESS_REGENERATION=ON"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for line in ("module Otherwise", "test Otherwise.py", "test OtherwiseSelfTest.py"):
        assert line in ended.stdout


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
    assert any(problem in found for found in export.description_problems(changed, export.NAME))


def test_a_repository_that_lacks_something_is_refused(export: ModuleType, tmp_path: Path) -> None:
    export.export(tmp_path / "repository")
    folder = tmp_path / "repository"
    (folder / "LICENSE").unlink()
    (folder / "pictures" / "panel.png").unlink()
    (folder / "large.bin").write_bytes(bytes(5_000_001))
    problems = " ".join(export.repository_problems(folder))
    for part in ("LICENSE is missing", "panel.png is announced and not there", "more than 5"):
        assert part in problems
