"""``otherwise phantoms``: draw synthetic images with known truth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from otherwise.cli.progress import shown
from otherwise.errors import OtherwiseError
from otherwise.phantoms.registry import KINDS, WHOLE_KINDS, PhantomKind, SeriesOptions, draw_series, find_kind


class Format(StrEnum):
    """File format."""

    nifti = "nifti"
    dicom = "dicom"


class PhantomOptionError(OtherwiseError):
    """An option is invalid."""

    code = "option"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def phantoms(
        kind: Annotated[
            str,
            typer.Argument(
                help="Small 2-D mammograms (also with one of several signs), 3-D chest CT nodules, CT slices with a "
                f"prognosis, or images of whole size: {', '.join(known.name for known in KINDS)}.",
                callback=known_kind,
            ),
        ],
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
        count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 100,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the series; image n depends on nothing else.")] = 0,
        start: Annotated[int, typer.Option(min=0, help="Number of the first one.")] = 0,
        size: Annotated[
            str | None,
            typer.Option(help=f"Voxels; unless given {', '.join(f'{k.name} {_typed(k.size)}' for k in KINDS)}."),
        ] = None,
        confound: Annotated[
            float | None, typer.Option(min=0, max=1, help="Burn in a marker that follows the class this often.")
        ] = None,
        target_risk: Annotated[
            float | None, typer.Option(min=0, max=1, help="Of a prognosis: risk at the horizon of the counterfactual.")
        ] = None,
        format: Annotated[Format, typer.Option(help="Format of the images; the truth is always NIfTI.")] = Format.nifti,
        oblique: Annotated[bool, typer.Option("--oblique", help="Turn each image's axes at random.")] = False,
        json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
    ) -> None:
        """Draw images with masks of every feature and the true counterfactual of each."""
        import json as codec

        from otherwise.phantoms.oblique import all_turned
        from otherwise.phantoms.writing import write_phantoms

        drawn = find_kind(kind)
        if oblique and drawn.patch is not None:
            raise PhantomOptionError("Whole phantoms are not turned.", "Leave --oblique away.")
        voxels = parse_size(size, drawn) if size else drawn.size
        series = draw_series(drawn, SeriesOptions(seed, count, voxels, start, confound, target_risk))
        if oblique:
            series = all_turned(series, seed, start)  # type: ignore[arg-type]  # they are not of whole size
        # Standard output is for results only.
        with shown("Drawing") as advance:
            ids = write_phantoms(series, out, format.value, lambda done: advance("", done / count))
        if json:
            written = {"images": str(out / "images"), "labels": str(out / "labels.csv"), "ids": ids}
            typer.echo(codec.dumps(written, indent=2))
        else:
            typer.echo(f"{out}: {len(ids)} phantoms of kind {kind}, with their truth.")


def known_kind(name: str) -> str:
    """Check the name of a kind of phantom and return it; a callback of options and arguments.

    Raises:
        BadParameter: if there is no such kind.
    """
    return _one_of(name, KINDS)


def known_whole_kind(name: str) -> str:
    """Check the name of a kind of whole phantom and return it; a callback of options and arguments.

    Raises:
        BadParameter: if there is no such kind.
    """
    return _one_of(name, WHOLE_KINDS)


def _one_of(name: str, kinds: tuple[PhantomKind, ...]) -> str:
    names = [kind.name for kind in kinds]
    if name not in names:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}.")
    return name


def parse_size(text: str, kind: PhantomKind) -> tuple[int, ...]:
    """Read a size such as ``96,96``.

    Raises:
        PhantomOptionError: if it is not a whole number for each axis of the kind.
    """
    parts, dimensions = text.split(","), len(kind.size)
    if len(parts) != dimensions or not all(part.strip().isdecimal() for part in parts):
        raise PhantomOptionError(
            f"Size {text!r} is not {dimensions} whole numbers.", f"Give for example --size {_typed(kind.size)}."
        )
    return tuple(int(part) for part in parts)


def _typed(size: tuple[int, ...]) -> str:
    return ",".join(str(edge) for edge in size)
