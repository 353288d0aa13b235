"""Options of commands that lay patches over images."""

from __future__ import annotations

from typing import Annotated

import typer

Overlap = Annotated[
    float | None,
    typer.Option(min=0, max=0.95, help="Share of its edge that a patch has in common with the next one."),
]
Share = Annotated[
    float | None, typer.Option("--share", min=0, max=1, help="Least share of tissue in a patch that is looked at.")
]
Foreground = Annotated[
    float | None, typer.Option(help="Pixels above this, in the image's own units, are tissue or something bright.")
]
SkipMuscle = Annotated[
    bool, typer.Option("--skip-muscle", help="Of a mammogram: do not search the pectoral muscle, where it is plain.")
]
Coarse = Annotated[bool, typer.Option("--coarse", help="Do not look closer around suspicious patches.")]
