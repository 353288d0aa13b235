"""``otherwise combine``: combine images of one patient as channels of one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.options.image_source import image_source


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("combine")
    def combine(
        images: Annotated[
            list[Path],
            typer.Argument(help="In the order in which the classifier wants its channels.", parser=image_source),
        ],
        out: Annotated[Path, typer.Option(help="File to write: .nrrd, .nii.gz or .mha.")],
    ) -> None:
        """Combine images, such as MR sequences, as channels of one image on the grid of the first one."""
        from otherwise.images.combining import as_channels
        from otherwise.images.reading import read_image
        from otherwise.images.writing import write_image

        combined = as_channels([read_image(image) for image in images])
        write_image(combined, out)
        typer.echo(f"{out}: {len(images)} channels on a grid of {' x '.join(map(str, combined.geometry.shape))}.")
