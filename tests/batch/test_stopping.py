"""A batch is stopped, politely or not, and goes on where it was."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from otherwise.batch.executor import InProcess
from otherwise.batch.run import run_batch
from otherwise.batch.worker import BatchOrder
from otherwise.cli import EXIT_INTERRUPTED

Batch = Callable[..., "subprocess.Popen[str]"]
Finished = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def long(tmp_path: Path, draw: Callable[..., Path]) -> Path:
    for number in range(4):
        draw(tmp_path / "long" / f"{number}.nrrd", 0.2 + 0.1 * number, seed=number)
    return tmp_path / "long"


@pytest.mark.slow
def test_a_killed_batch_goes_on_where_it_stopped(
    long: Path, tmp_path: Path, order: BatchOrder, batch: Batch, finished: Finished, first: Finished
) -> None:
    out = tmp_path / "out"
    with batch(long, out) as process:
        assert first(out)
        process.kill()
    kept = finished(out)
    assert 1 <= len(kept) < 4
    begun = out / "explanations" / ".0123456789ab.half-written"
    begun.mkdir(exist_ok=True)

    summary = run_batch(long, out, InProcess(order), order.request)

    assert (summary.explained, summary.kept, summary.finished) == (4, len(kept), True)
    assert kept.items() <= finished(out).items(), "what was there was not made again"
    assert not begun.exists()
    assert pyarrow.parquet.read_table(summary.table)["status"].to_pylist() == ["explained"] * 4


@pytest.mark.slow
def test_an_image_that_kills_does_not_stop_the_others_for_ever(
    tmp_path: Path, draw: Callable[..., Path], order: BatchOrder, batch: Batch, finished: Finished
) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    draw(archive / "a deadly one.nrrd", 0.0)
    draw(archive / "b.nrrd", 0.3)
    for _ in range(2):
        with batch(archive, out) as process:
            pass
        assert process.returncode != 0
        assert not finished(out)

    summary = run_batch(archive, out, InProcess(order), order.request)

    assert (summary.explained, summary.failed) == (1, 1)
    assert pyarrow.parquet.read_table(summary.table)["error"].to_pylist() == ["worker-died", None]
    assert not list(out.glob("explanations/*.begun"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGTERM there ends a process at once")
def test_a_batch_that_is_told_to_stop_leaves_a_table(
    long: Path, tmp_path: Path, batch: Batch, finished: Finished, first: Finished
) -> None:
    out = tmp_path / "out"
    with batch(long, out) as process:
        assert first(out)
        process.terminate()
        output, warned = process.communicate()
    assert process.returncode == EXIT_INTERRUPTED, warned
    assert "Go on with the same command" in warned
    table = pyarrow.parquet.read_table(out / "results.parquet")
    assert table.num_rows == len(finished(out)) < 4
    assert f"4 images: {table.num_rows} explained" in output
