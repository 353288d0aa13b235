"""List images for a command, and report in one line what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.progress import shown

if TYPE_CHECKING:
    from otherwise.images.listing import Listing

Verbose = Annotated[bool, typer.Option("--verbose", help="List what was left out of the images.")]


def list_for(source: Path, verbose: bool, *, masks: bool = False) -> Listing:
    """Find the images of a folder, a file or a table.

    Args:
        source: See ``images.listing.list_images``.
        verbose: Whether to list on standard error every file that was left out.
        masks: Whether to list masks instead of images.

    Raises:
        ImageError: if there is none.
    """
    from otherwise.images.listing import list_images

    with shown("Looking for images") as advance:
        listing = list_images(source, masks=masks, progress=lambda done, total: advance("", done / max(total, 1)))
    say_listing(listing, verbose)
    return listing


def say_listing(listing: Listing, verbose: bool) -> None:
    """Print a summary on standard error if files were left out."""
    if verbose:
        for item in listing.left_out:
            typer.echo(f"left out ({item.reason}): {item.name}", err=True)
    if listing.left_out:
        hint = "" if verbose else " (--verbose lists them)"
        typer.echo(f"{listing.summary}{hint}", err=True)
