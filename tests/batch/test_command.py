"""``otherwise explain --all`` as typed: what it says, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from otherwise.batch.worker import BatchOrder
from otherwise.cli import EXIT_REFUSED, build, run
from otherwise.cli.explain_all import SOME_FAILED

Say = Callable[..., int]


@pytest.fixture
def explain(order: BatchOrder) -> Say:
    models = ("--classifier", order.classifier, "--agent", order.agent, "--trust-code")
    return lambda *words: run(build, ["explain", *map(str, words), *models])


def test_the_exit_code_tells_whether_all_are_explained(
    archive: Path, tmp_path: Path, explain: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--all", archive, "--out", tmp_path / "out")
    assert explain(*words) == SOME_FAILED
    assert "4 images: 2 explained, 1 failed, 1 are copies" in capsys.readouterr().out
    (archive / "broken.nrrd").unlink()
    assert explain(*words, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {
        **{"images": 3, "explained": 2, "kept": 2, "failed": 0, "duplicates": 1, "finished": True},
        "table": (tmp_path / "out" / "results.parquet").as_posix(),
        "left_out": "left out: 1 not an image",
    }


@pytest.mark.parametrize(
    "words",
    [
        ("--workers", 2),
        ("--cluster", "a:1"),
        ("--all", "--dicom"),
        ("--all", "--image", "5d41"),
        ("--all", "--workers", 0),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: tuple[object, ...], archive: Path, tmp_path: Path, explain: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(archive, "--out", tmp_path / "out", *words) == EXIT_REFUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert "--" in line
    assert not (tmp_path / "out").exists()
