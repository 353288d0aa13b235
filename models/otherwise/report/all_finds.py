"""The finds of many images: a table for machines, and one page with the best find of each."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from otherwise.blackbox.concern import concern_of
from otherwise.blackbox.protocol import BlackBox
from otherwise.finding.find import Find
from otherwise.finding.image_finds import ImageFinds
from otherwise.images.atomic import atomic_folder
from otherwise.images.image import Image
from otherwise.report import figures
from otherwise.report.find_values import FindWords
from otherwise.report.finds import thumbnail
from otherwise.report.pages import pages

TABLE_NAME, REPORT_NAME, FROC_NAME = "finds.csv", "finds.html", "froc.json"


def picture_of(image: Image, find: Find, window: tuple[float, float]) -> str:
    """Return the picture of a find as a data URI."""
    return figures.data_uri(thumbnail(image, find, window))


def write_all_finds(
    results: Sequence[ImageFinds], classifier: BlackBox, folder: Path, froc: Mapping[str, Any] | None = None
) -> Path:
    """Write ``finds.csv`` with a row for each find, ``finds.html``, and ``froc.json`` where figures are given.

    Args:
        results: Of each image.
        classifier: What found them.
        folder: New, or empty.
        froc: Figures by what was searched with, see ``evaluation.own_froc``.

    Returns:
        The folder.

    Raises:
        WriteError: if the disk refuses.
    """
    ordered = sorted(results, key=lambda each: -(each.finds[0].probability if each.finds else -1.0))
    page = (
        pages()
        .get_template("all_finds.html.j2")
        .render(
            classifier=classifier,
            find_words=FindWords.of(classifier),
            results=ordered,
            failed=sum(bool(each.error) for each in results),
            warned=sum(bool(each.warnings) for each in results),
            froc=_rows(froc) if froc else (),
            rates=_rates(froc) if froc else (),
        )
    )
    with atomic_folder(folder) as draft:
        with (draft / TABLE_NAME).open("w", newline="", encoding="utf-8") as stream:
            _write_table(results, classifier, stream)
        (draft / REPORT_NAME).write_text(page, encoding="utf-8", newline="\n")
        if froc:
            (draft / FROC_NAME).write_text(json.dumps(froc, indent=2) + "\n", encoding="utf-8")
    return folder


def _write_table(results: Sequence[ImageFinds], classifier: BlackBox, stream: Any) -> None:
    table = csv.writer(stream, lineterminator="\n")
    corners = [f"{axis}_{end}" for end in ("low", "high") for axis in "ijk"]
    valued = concern_of(classifier) is not None
    answers = ["value", "unit"] if valued else ["probability", *classifier.classes]
    table.writerow(["id", "path", "rank", *answers, "r", "a", "s", *corners, "error", "warnings"])
    for each in results:
        for find in each.finds:
            if valued:
                cells = [repr(find.value), find.unit]
            else:
                cells = [repr(value) for value in (find.probability, *map(find.probabilities.get, classifier.classes))]
            place = [repr(value) for value in find.centre_ras]
            row = [each.id, each.path, find.rank, *cells, *place, *find.low, *find.high]
            table.writerow([*row, "", " ".join(each.warnings)])
        if not each.finds:
            table.writerow([each.id, each.path, *[""] * (10 + len(answers)), each.error, ""])


def _rates(froc: Mapping[str, Any]) -> list[str]:
    first = next(iter(next(iter(froc.values())).values()))
    return list(first["at_false_finds"])


def _rows(froc: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    return [
        (
            method,
            criterion,
            [
                f"{at['sensitivity']:.2f} ({at['low']:.2f} to {at['high']:.2f})"
                for at in figures["at_false_finds"].values()
            ],
        )
        for method, by_criterion in froc.items()
        for criterion, figures in by_criterion.items()
    ]
