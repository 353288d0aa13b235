"""What was found in one of many images."""

from __future__ import annotations

from dataclasses import dataclass

from otherwise.finding.find import Find
from otherwise.images.image import Geometry


@dataclass(frozen=True)
class ImageFinds:
    """What was found in one image.

    Attributes:
        id: Name of the image, as everywhere.
        path: Its place within the source.
        finds: The most probable first; none where it could not be searched.
        patches: How many patches were asked about.
        geometry: The image's grid; None where it could not be searched.
        unit: Of the image: ``mm`` or ``px``.
        warnings: Reasons to doubt the finds, each a sentence.
        picture: PNG of the best find with what is around it, as a data URI.
        error: Why it could not be searched; empty where it was.
    """

    id: str
    path: str
    finds: tuple[Find, ...] = ()
    patches: int = 0
    geometry: Geometry | None = None
    picture: str = ""
    unit: str = "mm"
    error: str = ""
    warnings: tuple[str, ...] = ()
