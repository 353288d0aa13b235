"""``otherwise studies FOLDER``: list the images of a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otherwise.cli.options.image_listing import Verbose, list_for
from otherwise.cli.options.image_source import image_source
from otherwise.cli.tables import print_table

if TYPE_CHECKING:
    from otherwise.images.listing import FoundImage


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("studies")
    def studies(
        folder: Annotated[
            Path,
            typer.Argument(help="Folder, at every depth; file; CSV table; or DICOMweb.", parser=image_source),
        ],
        as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
        verbose: Verbose = False,
    ) -> None:
        """List the images of a folder: a stack of slices, a view, or another file is one image."""
        from rich.table import Table

        listing = list_for(folder, verbose)
        studies: dict[str, list[FoundImage]] = {}
        for image in listing.images:
            studies.setdefault(image.study or image.key, []).append(image)
        for images in studies.values():
            images.sort(key=lambda image: (image.dicom.number, image.dicom.view) if image.dicom else (0, image.name))
        if as_json:
            listed = [
                {"id": id, "images": [_described(image, folder) for image in images]} for id, images in studies.items()
            ]
            left_out = [{"name": item.name, "reason": item.reason} for item in listing.left_out]
            typer.echo(json.dumps({"studies": listed, "left_out": left_out}))
            return
        table = Table("study", "image", "modality", "view", "slices", "files")
        for id, images in studies.items():
            for number, image in enumerate(images):
                entry = _described(image, folder)
                more = f" and {len(image.files) - 1} more" if len(image.files) > 1 else ""
                slices = "" if entry["frames"] is None else str(entry["frames"])
                row = (image.key, entry["modality"], entry["view"], slices, f"{entry['files'][0]}{more}")
                table.add_row("" if number else id, *row)
        print_table(table)


def _described(image: FoundImage, folder: Path) -> dict[str, Any]:
    base = folder if folder.is_dir() else folder.parent
    dicom = image.dicom
    return {
        "id": image.key,
        "name": image.id,
        "modality": dicom.modality if dicom else "",
        "view": dicom.view if dicom else "",
        "frames": dicom.frames if dicom else None,
        "files": [path.relative_to(base).as_posix() for path in image.files],
    }
