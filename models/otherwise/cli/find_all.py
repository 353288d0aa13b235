"""``otherwise find FOLDER --all``: find in every image with one start-up, and measure where the truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from otherwise.cli.progress import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otherwise.batch.finding import FindOrder
    from otherwise.blackbox.protocol import BlackBox
    from otherwise.evaluation.lesions import KnownLesion
    from otherwise.finding.image_finds import ImageFinds
    from otherwise.images.listing import FoundImage

SOME_FAILED = 3
"""The table says which images could not be searched, and why."""
WINDOW_STEPS = 6
"""Steps of the plain sliding window along the edge of a patch: 16 pixels of 96."""


def find_all(
    source: Path,
    out: Path,
    order: FindOrder,
    truth: Path | None,
    workers: int | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Find in every image, write the table and the page, and say how it went.

    Args:
        source: Folder, or table of images.
        out: New folder.
        order: What is asked of every image.
        truth: Where lesions lie, see ``evaluation.lesions``; None: nothing is measured.
        workers: Processes; None: this one, or as many as the cluster has room for.
        cluster: Address of a Ray cluster.
        as_json: Print figures for machines.

    Raises:
        OtherwiseError: if there are no images, or the truth cannot be read.
        typer.Exit: with ``SOME_FAILED``.
    """
    from otherwise.batch.finding import find_here, find_on_ray
    from otherwise.blackbox.loading import load_classifier
    from otherwise.evaluation.lesions import read_truth
    from otherwise.finding.finder import Finder
    from otherwise.finding.scan import Scan
    from otherwise.images.listing import list_images
    from otherwise.report.all_finds import write_all_finds

    box = load_classifier(order.classifier, device=order.device, trust_code=order.trust_code)
    Finder(box, order.scan)  # refuses what cannot be searched with
    listing = list_images(source, without=out)
    known = read_truth(truth, listing.images) if truth is not None else None

    def search(order: FindOrder, title: str) -> list[ImageFinds]:
        with shown(title) as advance:

            def progress(done: int, total: int) -> None:
                advance("", done / total)

            if cluster is None and (workers or 1) == 1:
                return find_here(box, listing.images, order, progress)
            return find_on_ray(listing.images, order, workers, cluster, progress)

    results = search(replace(order, most=max(order.most, 100)) if known else order, "find")
    figures: dict[str, Any] | None = None
    if known:
        plain = Scan(
            1 - 1 / WINDOW_STEPS, order.scan.share, order.scan.foreground, fine=False, muscle=order.scan.muscle
        )
        window = search(replace(order, scan=plain, most=100, picture=None), "sliding window, to compare")
        figures = {
            "coarse and fine" if order.scan.fine else "coarse": _froc(results, listing.images, *known),
            f"sliding window, 1/{WINDOW_STEPS} of a patch": _froc(window, listing.images, *known),
        }
        results = [replace(each, finds=each.finds[: order.most]) for each in results]
    write_all_finds(results, box, out, figures)
    failed = sum(bool(each.error) for each in results)
    if as_json:
        typer.echo(json.dumps({"images": len(results), "failed": failed, "out": out.name, "froc": figures}))
    else:
        _say(results, box, out, figures, listing.left_out_line)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _froc(
    results: Sequence[ImageFinds],
    images: Sequence[FoundImage],
    lesions: Mapping[str, Sequence[KnownLesion]],
    patients: Mapping[str, str],
) -> dict[str, Any]:
    """Return the figures of those images that could be searched."""
    from otherwise.evaluation.own_froc import Searched, froc

    searched = []
    for each, image in zip(results, images, strict=True):
        if each.geometry is None:
            continue
        folder = image.name.rpartition("/")[0]
        patient = patients.get(image.id) or image.patient or image.study or folder or image.id
        searched.append(Searched(each.finds, each.geometry, lesions[image.id], patient))
    return froc(searched)


def _say(
    results: Sequence[ImageFinds], box: BlackBox, out: Path, figures: Mapping[str, Any] | None, left_out: str
) -> None:
    failed = [each for each in results if each.error]
    typer.echo(f"{len(results)} images: {len(results) - len(failed)} searched, {len(failed)} failed")
    if left_out:
        typer.echo(f"{left_out[0].upper()}{left_out[1:]}")
    if failed:
        typer.echo(f"Not searched, such as {failed[0].path}: {failed[0].error}", err=True)
    warned = [each for each in results if each.warnings]
    if warned:
        typer.echo(f"Warnings for {len(warned)}, such as {warned[0].path}: {warned[0].warnings[0]}", err=True)
    for method, by_criterion in (figures or {}).items():
        for criterion, curve in by_criterion.items():
            rates = curve["at_false_finds"]
            values = ", ".join(f"{rate}: {at['sensitivity']:.2f}" for rate, at in rates.items())
            typer.echo(f"{method}, {criterion}: sensitivity at false finds an image {values}")
    typer.echo(f"Page: {out / 'finds.html'}")
