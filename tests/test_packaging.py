"""What an installation holds: a wheel works from any folder, an editable one copies nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="needs hatchling (requirements-build.txt)")

ROOT = Path(__file__).parents[1]


def build(target: str, out: Path) -> zipfile.ZipFile:
    """Build a wheel of the repository."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_an_editable_install_copies_neither_bundles_nor_app(tmp_path: Path) -> None:
    pytest.importorskip("editables", reason="needs editables (requirements-build.txt)")
    with build("wheel:editable", tmp_path) as wheel:
        names = wheel.namelist()
        assert sum(item.file_size for item in wheel.infolist()) < 2**20
    assert not [name for name in names if "_bundles" in name or "_app" in name]


@pytest.mark.slow
def test_a_wheel_works_from_any_folder(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    with build("wheel", tmp_path) as wheel:
        wheel.extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = "import otherwise; from otherwise.resources import app_folder; print(otherwise.__file__, app_folder())"
    places = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert places.count(str(installed)) == 2

    demo = subprocess.run(
        [sys.executable, "-m", "otherwise", "demo", "--once", "--out", "demo"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert list((tmp_path / "demo").rglob("report.html"))
    log = (tmp_path / "demo" / "server.log").read_text(encoding="utf-8")
    assert "Allow Origins" not in log
    assert "Traceback" not in log
