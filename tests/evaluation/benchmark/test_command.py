"""``otherwise benchmark phantom-mammogram`` with the shipped models, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otherwise.cli import build
from otherwise.errors import OtherwiseError


def run(*words: object):
    words = ("benchmark", "phantom-mammogram", *words)
    return CliRunner().invoke(build(), [str(word) for word in words], catch_exceptions=False)


@pytest.mark.long
def test_the_shipped_pair_beside_a_peer(tmp_path: Path) -> None:
    words = ("--limit", 1, "--methods", "grad-cam,ours", "--out", tmp_path, "--device", "cpu")
    result = run(*words)
    assert result.exit_code == 0
    assert "| Grad-CAM |" in result.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["methods"]) == {"grad-cam", "ours", "ours-change", "ours-regions"}
    assert results["methods"]["ours"]["queries"]["mean"] > 8
    assert results["reconstruction_l1"] > 0
    before = (tmp_path / "rows").stat().st_mtime_ns
    assert run(*words).exit_code == 0
    assert (tmp_path / "rows").stat().st_mtime_ns == before, "nothing is measured twice"


def test_an_unknown_method_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OtherwiseError, match="no method 'magic'"):
        run("--limit", 1, "--methods", "magic", "--out", tmp_path)
