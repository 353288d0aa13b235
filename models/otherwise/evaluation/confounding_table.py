"""Read a model's values and a table of covariates, and write what confounds the values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from otherwise.evaluation.benchmark.run import BenchmarkError
from otherwise.evaluation.confounding import Concordance, Confounding, find_confounders
from otherwise.images.atomic import atomic_path
from otherwise.images.reading import image_name
from otherwise.images.table import read_number, read_rows, read_table

NO_COVARIATES = ("id", "file", "path", "patient", "fold", "split", "label")
"""Columns that say nothing about an image."""


def compare_tables(
    answers: Sequence[Path], labels: Path, outcome: str, only: Sequence[str] | None = None
) -> dict[str, Confounding]:
    """Compare values with the covariates of a table, image by image and patient by patient.

    Args:
        answers: Tables that ``otherwise classify --out`` wrote; each image is in one of them.
        labels: Table with ``id``, ``file``, ``patient``, the outcome, and a column for each covariate.
        outcome: Column of numbers.
        only: Names of the covariates; None: all columns but those of ``NO_COVARIATES``.

    Returns:
        By ``image`` and by ``patient``.

    Raises:
        BenchmarkError: if a column is missing, an outcome is no number, or images do not match.
        ImageError: if a table cannot be read.
    """
    rows, outcome = read_table(labels), outcome.lower()
    unknown = [name for name in (outcome, *(only or ())) if any(name.lower() not in row.columns for row in rows)]
    if unknown:
        raise BenchmarkError(
            f"{labels.name} has no column {unknown[0]!r}.", f"Name some of {', '.join(rows[0].columns)}."
        )
    values = _values(answers)
    matched = [(row, values[name]) for row in rows if (name := row.id or image_name(Path(row.file))) in values]
    if not matched:
        raise BenchmarkError(
            f"No image of {labels.name} is in {', '.join(path.name for path in answers)}.",
            "Classify the images of that table: otherwise classify LABELS --out ANSWERS.",
        )
    wanted = [name.lower() for name in only] if only else [n for n in rows[0].columns if n not in NO_COVARIATES]
    columns = {name: [row.columns[name] for row, _ in matched] for name in wanted if name != outcome}
    places = [f"{labels.name} line {row.line}" for row, _ in matched]
    outcomes = [row.columns[outcome] for row, _ in matched]
    truth = np.array([read_number(*pair, outcome, BenchmarkError) for pair in zip(outcomes, places, strict=True)])
    patients = [row.patient or row.id or row.file for row, _ in matched]
    predicted = np.array([value for _, value in matched])
    return {
        name: find_confounders(predicted, truth, columns, patients, by_patient)
        for name, by_patient in (("image", False), ("patient", True))
    }


def write_confounding(found: Mapping[str, Confounding], out: Path) -> str:
    """Write ``confounders.json`` and ``confounders.md`` into a folder, and return the latter's text."""
    out.mkdir(parents=True, exist_ok=True)
    plain = {
        name: {
            **asdict(each),
            "confounders": [covariate.name for covariate in each.covariates if covariate.confounds],
        }
        for name, each in found.items()
    }
    page = "\n\n".join(_page(name, each) for name, each in found.items()) + "\n"
    for file, text in (("confounders.json", json.dumps(plain, indent=2) + "\n"), ("confounders.md", page)):
        with atomic_path(out / file) as draft:
            draft.write_text(text, encoding="utf-8")
    return page


def _page(unit: str, found: Confounding) -> str:
    named = [covariate.name for covariate in found.covariates if covariate.confounds]
    verdict = f"The value is confounded by {', '.join(named)}." if named else "No covariate of the table confounds it."
    table = [
        f"By {unit}: the value tells the outcome at {_figure(found.outcome)}. {verdict}",
        "",
        "| covariate | it alone tells the outcome | the value tells it | at the same outcome "
        "| the value tells the outcome at the same covariate | confounds |",
        "|---|---|---|---|---|---|",
    ]
    for each in found.covariates:
        figures = (each.tells_outcome, each.followed, each.followed_within, each.outcome_within)
        cells = [each.name, *map(_figure, figures), "yes" if each.confounds else "no"]
        table.append(f"| {' | '.join(cells)} |")
    return "\n".join(table)


def _figure(found: Concordance | None) -> str:
    return "too few patients" if found is None else f"{found.share:.3f} ({found.low:.3f} to {found.high:.3f})"


def _values(answers: Sequence[Path]) -> dict[str, float]:
    """Return values by the ID of an image; images without an answer are left out."""
    found: dict[str, float] = {}
    for path in answers:
        rows = read_rows(path)
        if rows and not {"id", "value"} <= set(rows[0]):
            raise BenchmarkError(
                f"{path.name} has no columns id and value.", "Give tables of otherwise classify --out of such a model."
            )
        for line, row in enumerate(rows, start=2):
            if row["id"] in found:
                raise BenchmarkError(f"{path.name} has {row['id']} once more.", "Give each image once.")
            if row["value"]:
                found[row["id"]] = read_number(row["value"], f"{path.name} line {line}", "value", BenchmarkError)
    return found
