"""Where teaching gets its images from, and where it shows what they were called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from otherwise.annotations.annotation import Annotation
from otherwise.images.image import Image


@dataclass(frozen=True)
class StudyImages:
    """The images of the studies.

    Attributes:
        ids: Of all of them.
        read: The image of an id; raises if there is none.
        mirror: Shows what people named in an image to other clients.
    """

    ids: Callable[[], list[str]]
    read: Callable[[str], Image]
    mirror: Callable[[Image, Sequence[Annotation]], None] = lambda image, notes: None
