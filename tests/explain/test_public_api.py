"""The public Python API, as the example uses it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import otherwise

EXAMPLE = Path(__file__).parents[2] / "examples" / "explain.py"


def test_the_example_explains_an_image_and_writes_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]
    explanation = main(None, str(tmp_path / "out"))
    assert isinstance(explanation, otherwise.Explanation)
    assert explanation.target != explanation.prediction.label
    assert (tmp_path / "out" / "report.html").is_file()
    assert explanation.prediction.label in capsys.readouterr().out


@pytest.mark.parametrize("name", otherwise.__all__)
def test_every_public_name_is_there_and_described(name: str) -> None:
    assert getattr(otherwise, name).__doc__


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, otherwise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'explode'"):
        _ = otherwise.explode
