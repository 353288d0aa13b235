"""Where a command's images are: a file, a folder, a table, or an address of a DICOMweb archive."""

from __future__ import annotations

from pathlib import Path


def image_source(text: str) -> Path:
    """Return the path that a command reads; images behind an address are fetched into a temporary folder first.

    Args:
        text: Path, or address, see ``images.dicomweb.download``.

    Raises:
        OtherwiseError: see ``download``.
    """
    if not text.lower().startswith(("http://", "https://")):
        return Path(text)
    from otherwise.cli.progress import shown
    from otherwise.images.dicomweb.download import download

    with shown("Fetching images") as advance:
        return download(text, lambda done, total: advance("", done / total))
