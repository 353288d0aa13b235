"""``otherwise studies FOLDER``: which images a folder of DICOM files holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("studies")
    def studies(
        folder: Annotated[Path, typer.Argument(help="Looked through at every depth.", exists=True)],
        as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
    ) -> None:
        """List the studies of a folder with their images: an image is a series of slices, or one file."""
        from rich.console import Console
        from rich.table import Table

        from otherwise.images.studies import read_studies

        found = read_studies([folder])
        if as_json:
            listed = [
                {
                    "id": study.id,
                    "images": [
                        {
                            "id": image.id,
                            "modality": image.modality,
                            "view": image.view,
                            "frames": image.frames,
                            "files": [path.relative_to(folder).as_posix() for path in image.paths],
                        }
                        for image in study.images
                    ],
                }
                for study in found
            ]
            typer.echo(json.dumps({"studies": listed}))
            return
        table = Table("study", "image", "modality", "view", "slices", "files")
        for study in found:
            for number, image in enumerate(study.images):
                first = image.paths[0].relative_to(folder).as_posix()
                files = first if len(image.paths) == 1 else f"{first} and {len(image.paths) - 1} more"
                told = (image.id, image.modality, image.view, str(image.frames), files)
                table.add_row("" if number else study.id, *told)
        Console().print(table)
