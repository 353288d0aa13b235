"""Sources of images on the command line: a file, a folder, a table, or the address of a DICOMweb archive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path


def is_address(text: str) -> bool:
    """Return whether a source is an http address."""
    return text.lower().startswith(("http://", "https://"))


def image_source(text: str) -> Path:
    """Return the path that a command reads; images of an address are downloaded to a temporary folder first.

    Args:
        text: Path, or address, see ``images.dicomweb.download``.

    Raises:
        OtherwiseError: see ``download``.
    """
    if not is_address(text):
        return Path(text)
    from otherwise.cli.progress import shown
    from otherwise.images.dicomweb.download import download

    with shown("Fetching images") as advance:
        return download(text, lambda done, total: advance("", done / total))


def named_images(text: str) -> Callable[[str], Path]:
    """Return a function from a name in a table to its file: below a folder, or downloaded from an archive.

    Args:
        text: Folder, or address of a DICOMweb archive, see ``images.dicomweb.download.download_named``.
    """
    if not is_address(text):
        return Path(text).joinpath
    from otherwise.images.dicomweb.download import download_named

    return partial(download_named, text)
