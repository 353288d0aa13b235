"""Settings of a demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from otherwise.errors import OtherwiseError
from otherwise.images.atomic import is_occupied

MARKER = ".otherwise-demo"
"""Lies in folders that a demo made, and may therefore write to again."""


class DemoError(OtherwiseError):
    """The demo cannot continue."""

    code = "demo"


@dataclass(frozen=True)
class Setup:
    """The images and models to show, and the folder to write to.

    Attributes:
        out: Folder for everything that is made.
        source: ``phantoms``, ``folder`` or ``lidc``.
        path: Folder of images, for the latter two.
        classifier: Bundle, or name of a shipped one.
        agent: Bundle, or name of a shipped one.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        port: 0 takes any free one.
        once: Stop instead of serving on.
    """

    out: Path
    source: str
    path: Path | None
    classifier: str
    agent: str
    device: str = "auto"
    port: int = 0
    once: bool = False


def claim(out: Path) -> None:
    """Make the output folder, or take the one that an earlier demo made.

    Raises:
        DemoError: if it holds other things.
    """
    if is_occupied(out) and not (out / MARKER).is_file():
        raise DemoError(f"{out} is not empty.", "Give --out a new or an empty folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).touch()
    except OSError as error:
        raise DemoError(f"Cannot write to {out} ({error.strerror}).", "Give --out another folder.") from error
