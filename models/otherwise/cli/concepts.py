"""``otherwise concepts table``: write all findings of an archive with their effect and the model's answer."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.errors import OtherwiseError

if TYPE_CHECKING:
    from otherwise.report.findings_table import FindingRow


class TableError(OtherwiseError):
    """There are no explanations, or the file of truths is invalid."""

    code = "table"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Count what explanations show, over a whole archive.", no_args_is_help=True)
    app.add_typer(group, name="concepts")
    group.command("table")(table)


def table(
    explanations: Annotated[
        Path, typer.Argument(help="Folder of explanations, such as explanations/ of a server's state.", exists=True)
    ],
    out: Annotated[Path, typer.Option(help="File to write, .csv or .parquet: a line for each finding of each image.")],
    truth: Annotated[
        Path | None, typer.Option(help="CSV file with the columns image and label: each image's true class or value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Write images x findings with confidence, effect and the model's answer; names are those that were stored.

    A running server gives the same table with its newest names: GET /otherwise/concepts/table.csv
    """
    from dataclasses import asdict

    from otherwise.images.atomic import atomic_path
    from otherwise.report.findings_table import as_csv, finding_rows, summarise_findings, write_parquet

    kind = out.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise TableError(f"{out.name} is neither .csv nor .parquet.", "Give --out one of these endings.")
    known = _truths(truth) if truth else None
    rows: list[FindingRow] = []
    files = sorted(explanations.rglob("explanation.json"))
    damaged = 0
    for file in files:
        try:
            rows += finding_rows(json.loads(file.read_text(encoding="utf-8")), known)
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            damaged += 1
    if not rows:
        raise TableError(
            f"{explanations.name} holds no explanation with a region that decides.", "Explain images first."
        )
    if kind == ".parquet":
        write_parquet(rows, out)
    else:
        with atomic_path(out) as temporary:
            temporary.write_text(as_csv(rows), encoding="utf-8")
    found = summarise_findings(rows)
    unjudged = sorted({row.image for row in rows if row.wrong is None}) if known is not None else []
    if as_json:
        counts = {"rows": len(rows), "images": len({row.image for row in rows}), "damaged": damaged}
        typer.echo(json.dumps({**counts, "without_truth": len(unjudged), "findings": [asdict(each) for each in found]}))
        return
    for each in found:
        wrong = "" if each.wrong is None else f", the model errs in {each.wrong}"
        share = "" if each.wrong_share is None else f" (mean share there {each.wrong_share:.0%})"
        typer.echo(
            f"{each.meaning or 'no name'}: decides in {each.images} images, mean share {each.share:.0%}{wrong}{share}"
        )
    if damaged:
        typer.echo(f"{damaged} explanations were left out: they are damaged.")
    if unjudged:
        typer.echo(f"{len(unjudged)} images have no truth in the file.")
    typer.echo(f"{len(rows)} lines: {out}")


def _truths(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"image", "label"} <= set(reader.fieldnames or ()):
                raise TableError(f"{path.name} lacks the columns image and label.", "Its first line names them.")
            lines = list(reader)
        return {line["image"].strip(): line["label"].strip() for line in lines}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path.name} cannot be read as CSV.", "Give a CSV file in UTF-8.") from error
    except AttributeError as error:
        raise TableError(f"A line of {path.name} is too short.", "Give image and label in every line.") from error
