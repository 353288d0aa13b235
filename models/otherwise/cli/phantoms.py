"""``otherwise phantoms``: synthetic images whose truth is known."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.progress import shown
from otherwise.errors import OtherwiseError
from otherwise.phantoms.kinds import WholeKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otherwise.phantoms.phantom import Phantom, WholePhantom


class Kind(StrEnum):
    """What to draw."""

    mammogram = "mammogram"
    signs = "mammogram-signs"
    nodule = "nodule"
    whole_mammogram = "whole-mammogram"
    whole_ct = "whole-ct"


class Format(StrEnum):
    """How to write it."""

    nifti = "nifti"
    dicom = "dicom"


class PhantomOptionError(OtherwiseError):
    """An option of the command cannot be used."""

    code = "option"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def phantoms(
        kind: Annotated[
            Kind,
            typer.Argument(
                help="Small 2-D mammograms (also with one of several signs), 3-D chest CT nodules, or of whole size."
            ),
        ],
        out: Annotated[Path, typer.Option(help="New or empty folder.")],
        count: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
        seed: Annotated[int, typer.Option(min=0, help="Names the series; image n depends on it and n alone.")] = 0,
        start: Annotated[int, typer.Option(min=0, help="Number of the first one.")] = 0,
        size: Annotated[
            str | None,
            typer.Option(help="Voxels; 96,96 (mammogram), 48,48,24 (nodule), 2400,3000 or 256,256,128."),
        ] = None,
        confound: Annotated[
            float | None, typer.Option(min=0, max=1, help="Burn in a marker that follows the class this often.")
        ] = None,
        format: Annotated[Format, typer.Option(help="Format of the images; the truth is always NIfTI.")] = Format.nifti,
        oblique: Annotated[bool, typer.Option("--oblique", help="Turn each image's axes at random.")] = False,
        json: Annotated[bool, typer.Option("--json", help="Say what was written as JSON.")] = False,
    ) -> None:
        """Draw images with masks of every feature and the true counterfactual of each."""
        import json as codec

        from otherwise.phantoms.writing import write_phantoms

        series = draw(kind, count, seed, start, size, confound, oblique)
        # Progress is for people: results alone go to standard output.
        with shown("Drawing") as advance:
            ids = write_phantoms(series, out, format.value, lambda done: advance("", done / count))
        if json:
            written = {"images": str(out / "images"), "labels": str(out / "labels.csv"), "ids": ids}
            typer.echo(codec.dumps(written, indent=2))
        else:
            typer.echo(f"{out}: {len(ids)} {kind.value}s with their truth.")


def draw(
    kind: Kind, count: int, seed: int, start: int, size: str | None, confound: float | None, oblique: bool
) -> Iterator[Phantom] | Iterator[WholePhantom]:
    """Set up the series that the options name.

    Raises:
        PhantomOptionError: if the size is not the right number of whole numbers, or an option is not for this kind.
        ImageError: if nothing can be drawn at this size.
    """
    from otherwise.phantoms.mammogram import MammogramSettings, mammograms
    from otherwise.phantoms.nodule import NoduleSettings, nodules
    from otherwise.phantoms.oblique import all_turned
    from otherwise.phantoms.signs import sign_mammograms

    if kind in (Kind.whole_mammogram, Kind.whole_ct):
        from otherwise.phantoms.whole import whole_phantoms

        if confound is not None or oblique:
            raise PhantomOptionError("Whole phantoms have no marker and are not turned.", "Leave those options away.")
        voxels = parse_size(size, 3 if kind is Kind.whole_ct else 2) if size else None
        return whole_phantoms(WholeKind(kind.value), seed, count, voxels, start)
    if kind is Kind.signs:
        if confound is not None:
            raise PhantomOptionError("These phantoms have no marker.", "Leave --confound away.")
        i, j = parse_size(size or "96,96", 2)
        series = sign_mammograms(seed, count, MammogramSettings(size=(i, j)), start)
    elif kind is Kind.mammogram:
        i, j = parse_size(size or "96,96", 2)
        series = mammograms(seed, count, MammogramSettings(size=(i, j), confound=confound), start)
    else:
        i, j, k = parse_size(size or "48,48,24", 3)
        series = nodules(seed, count, NoduleSettings(size=(i, j, k), confound=confound), start)
    return all_turned(series, seed, start) if oblique else series


def parse_size(text: str, dimensions: int) -> tuple[int, ...]:
    """Read a size such as ``96,96``.

    Raises:
        PhantomOptionError: if it is no such thing.
    """
    parts = text.split(",")
    if len(parts) != dimensions or not all(part.strip().isdecimal() for part in parts):
        raise PhantomOptionError(
            f"Size {text!r} is not {dimensions} whole numbers.",
            "Give --size 96,96 for mammograms or --size 48,48,24 for nodules.",
        )
    return tuple(int(part) for part in parts)
