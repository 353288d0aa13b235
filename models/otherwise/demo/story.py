"""The steps of the demo, and the checks between them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from otherwise.demo.client import DemoClient
from otherwise.demo.images import demo_images, write_studies
from otherwise.demo.server import server
from otherwise.demo.setup import DemoError, Setup, claim
from otherwise.explain.explanation import SCHEMA
from otherwise.images.image import Image
from otherwise.images.reading import read_image
from otherwise.termination import ending_on_termination


def run_demo(setup: Setup, console: Console) -> Path:
    """Show the whole way from images to a report.

    Returns:
        The report.

    Raises:
        DemoError: if the output folder holds other files, the server fails, or its answer is wrong.
        OtherwiseError: if an image cannot be used.
    """
    claim(setup.out)
    studies = setup.out / "studies" / setup.source
    with console.status("Preparing images"):
        slices = write_studies(demo_images(setup), studies)
    console.print(f"{len(slices)} images in {studies}", soft_wrap=True)
    with ending_on_termination(), server(setup, studies) as running:
        with console.status("Starting MONAI Label's server"):
            running.wait_until_ready()
        console.print(f"Server: {running.url}  ({setup.out / 'server.log'})", soft_wrap=True)
        client = DemoClient(running.url)
        planes = middle_slices(slices) if client.dimension("classify") == 2 else {}
        if planes:
            console.print("The classifier is 2-D: it is shown the middle slice of each volume.")
        with console.status("Classifying"):
            answers = {name: client.infer("classify", name, planes.get(name)) for name in slices}
        console.print(table_of(answers))
        chosen = choose(answers)
        begun = time.perf_counter()
        with console.status(f"Explaining {chosen}: what would make the model decide otherwise?"):
            explanation = client.infer("explain", chosen, planes.get(chosen))
        console.print(f"Explained {chosen} in {time.perf_counter() - begun:.1f} s ({explanation['queries']} queries)")
        folder = client.download(explanation, setup.out / "explanations")
        check_folder(folder, read_image(studies / f"{chosen}.nrrd"))
        report = folder / "report.html"
        console.print(f"[bold]Report: {report.resolve()}[/bold]", soft_wrap=True)
        if not setup.once:
            console.print(
                f"Ctrl-C stops. The server for Slicer's MONAI Label or Otherwise: {running.url}", soft_wrap=True
            )
            running.serve_on()
    return report


def middle_slices(slices: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return options that show a 2-D classifier the middle slice of each volume of so many ``slices``."""
    return {name: {"slice_index": count // 2} for name, count in slices.items() if count > 1}


def choose(answers: dict[str, dict[str, Any]]) -> str:
    """Pick the image to explain: of those in the last class (by custom the finding), the one the model is surest of."""

    def rank(name: str) -> tuple[bool, float]:
        scores = answers[name]["prediction"]
        return answers[name]["label"] == scores[-1]["label"], max(score["score"] for score in scores)

    return max(answers, key=rank)


def table_of(answers: dict[str, dict[str, Any]]) -> Table:
    """Show classifications."""
    first = next(iter(answers.values()))
    table = Table("image", "class", *(score["label"] for score in first["prediction"]))
    for name, answer in answers.items():
        table.add_row(name, answer["label"], *(f"{score['score']:.2f}" for score in answer["prediction"]))
    return table


def check_folder(folder: Path, original: Image) -> None:
    """Make sure that a downloaded explanation is complete and lies where the original does.

    Raises:
        DemoError: naming what is wrong.
    """
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    if content.get("schema") != SCHEMA:
        raise DemoError(
            f"The explanation has schema {content.get('schema')!r}.", "Use the same version for server and demo."
        )
    for name in ("counterfactual", "difference", "effect"):
        if not read_image(folder / content["files"][name]).geometry.same_as(original.geometry):
            raise DemoError(f"{content['files'][name]} does not lie where {original.id} does.", "Please report this.")
    if not (folder / "report.html").stat().st_size:
        raise DemoError("The report is empty.", "Please report this.")
