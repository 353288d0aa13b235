"""``otherwise annotations export | import | list``: exchange and list annotations of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.tables import print_table
from otherwise.errors import OtherwiseError

if TYPE_CHECKING:
    from otherwise.annotations.annotation import Annotation
    from otherwise.annotations.store import AnnotationStore

Studies = Annotated[
    Path | None, typer.Option(help="Folder of images as given to otherwise serve, whose state lies beside it.")
]
State = Annotated[Path | None, typer.Option(help="Folder of the server's state, as given to otherwise serve.")]
Database = Annotated[str | None, typer.Option(help="Instead: path of a SQLite file, or postgresql://USER@HOST/NAME.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class PlaceError(OtherwiseError):
    """The place of the annotations is missing or wrong."""

    code = "usage"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Export, import or list annotations.", no_args_is_help=True)
    app.add_typer(group, name="annotations")
    group.command("export")(export)
    group.command("import")(import_)
    group.command("list")(list_)


def export(
    out: Annotated[Path, typer.Option(help="File to write: JSON Lines, one annotation a line.")],
    studies: Studies = None,
    state: State = None,
    database: Database = None,
) -> None:
    """Write all annotations, withdrawn ones included, to a file; the server may be running."""
    from otherwise.annotations.exchange import export_annotations

    with _store(studies, state, database) as store:
        count = export_annotations(store, out)
    typer.echo(f"{count} annotations: {out}")


def import_(
    file: Annotated[Path, typer.Argument(help="What otherwise annotations export has written.", exists=True)],
    studies: Studies = None,
    state: State = None,
    database: Database = None,
) -> None:
    """Add the annotations of a file that are not there yet: all of them or, if a line is wrong, none."""
    from otherwise.annotations.exchange import import_annotations

    with _store(studies, state, database, make=True) as store:
        imported = import_annotations(store, file)
    typer.echo(f"{imported.new} of {imported.read} annotations were new.")


def list_(
    studies: Studies = None,
    state: State = None,
    database: Database = None,
    image: Annotated[str | None, typer.Option(help="Only those of one image.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what holds: neither withdrawn annotations nor their withdrawals."""
    with _store(studies, state, database) as store:
        current = store.current(image)
    if as_json:
        typer.echo(json.dumps({"annotations": [annotation.to_json() for annotation in current]}))
    else:
        _print(current)


def _print(annotations: list[Annotation]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("created", "author", "kind", "image", "term", "region", "units", "comment")
    for annotation in annotations:
        region, term = annotation.region, annotation.term
        cells = (
            annotation.created[:19].replace("T", " "),
            annotation.author,
            annotation.kind,
            annotation.image,
            f"{term.meaning}{'' if annotation.certain else ' (unsure)'}" if term else "",
            f"{region.mask.sum()} voxels" if region else "",
            str(len(annotation.units) or ""),
            annotation.comment.replace("\n", " "),
        )
        table.add_row(*map(Text, cells))  # plain text: annotations may look like markup
    print_table(table)


def _store(studies: Path | None, state: Path | None, database: str | None, make: bool = False) -> AnnotationStore:
    from otherwise.annotations.database import FILE_NAME
    from otherwise.annotations.store import AnnotationStore

    if sum(place is not None for place in (studies, state, database)) != 1:
        raise PlaceError("Where are the annotations?", "Give one of --studies, --state and --database.")
    if database is not None:
        place = database
    else:
        # The server's default place of its state: monailabel_app/lib/settings/options.py.
        folder = state if studies is None else studies.resolve().with_name(f"{studies.resolve().name}-otherwise")
        place = str(folder / FILE_NAME) if folder else ""
    if not make and "://" not in place and not Path(place).is_file():
        raise PlaceError(f"There is no database {place}.", "Give the folder or file where the server keeps it.")
    return AnnotationStore(place)
