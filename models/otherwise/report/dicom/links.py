"""References between the objects of one explanation, so that each leads to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from otherwise.report.dicom.source import SourceSeries


@dataclass(frozen=True)
class Link:
    """An instance to refer to.

    Attributes:
        kind: Its SOP class.
        instance: Its UID.
    """

    kind: str
    instance: str

    @classmethod
    def to(cls, dataset: Dataset) -> Link:
        """Return the link to an object."""
        return cls(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID))

    def item(self) -> Dataset:
        """Return the item of a sequence (PS3.3 table 10-11)."""
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = self.kind, self.instance
        return item


def link_images(images: Mapping[str, Dataset], source: SourceSeries) -> None:
    """Let each image name the others as related, and its source where it does not yet (PS3.3 C.12.4).

    The structured report is no image; it names all of them as evidence.

    Args:
        images: Of one explanation, by name; they are changed.
        source: Of all of them.
    """
    links = {name: Link.to(image) for name, image in images.items()}
    sources = _once([Link.to(one.header) for one in source.slices])
    for name, image in images.items():
        image.ReferencedImageSequence = [link.item() for other, link in links.items() if other != name]
        if "SourceImageSequence" not in image:
            image.SourceImageSequence = [link.item() for link in sources]


def _once(links: Sequence[Link]) -> list[Link]:
    return list(dict.fromkeys(links))
