"""``otherwise explain FOLDER --all``: explain a whole archive."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from otherwise.cli.progress import shown

if TYPE_CHECKING:
    from otherwise.batch.run import Summary
    from otherwise.batch.worker import BatchOrder

INTERRUPTED = 130
SOME_FAILED = 3
"""Exit code if some images have no explanation; the table has the reasons."""


def explain_archive(
    archive: Path, out: Path, order: BatchOrder, workers: int | None, cluster: str | None, as_json: bool
) -> None:
    """Explain every image of a folder, and print a summary.

    Args:
        archive: Folder of images.
        out: Folder of the table and the explanations.
        order: Models and options for every image.
        workers: Processes; None: one, or as many as the cluster has room for.
        cluster: Address of a Ray cluster.
        as_json: Print figures for machines.

    Raises:
        OtherwiseError: see ``run_batch``.
        typer.Exit: with ``SOME_FAILED`` or ``INTERRUPTED``.
    """
    from otherwise.batch.executor import Executor, InProcess
    from otherwise.batch.ray_executor import RayExecutor
    from otherwise.batch.run import run_batch

    alone = cluster is None and (workers or 1) == 1
    executor: Executor = InProcess(order) if alone else RayExecutor(order, workers, cluster)
    with shown("explain") as advance:
        summary = run_batch(archive, out, executor, order.request, advance)
    if as_json:
        typer.echo(json.dumps({**asdict(summary), "table": summary.table.as_posix()}))
    else:
        _say(summary)
    if not summary.finished:
        typer.echo("Stopped; what is finished is kept. Go on with the same command.", err=True)
        raise typer.Exit(INTERRUPTED)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


def _say(summary: Summary) -> None:
    earlier = f" ({summary.kept} by an earlier run)" if summary.kept else ""
    copies = f", {summary.duplicates} are copies" if summary.duplicates else ""
    typer.echo(f"{summary.images} images: {summary.explained} explained{earlier}, {summary.failed} failed{copies}")
    if summary.left_out:
        typer.echo(f"{summary.left_out[0].upper()}{summary.left_out[1:]}")
    typer.echo(f"Table: {summary.table}")
