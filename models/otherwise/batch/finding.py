"""Find in many images with one start-up, in this process or on Ray's workers; the finds are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from otherwise.batch.classifying import ClassifyOrder, Progress, RemoteClassifier, on_ray
from otherwise.batch.errors import Failure
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import image_warnings
from otherwise.errors import OtherwiseError
from otherwise.finding.find import Find
from otherwise.finding.finder import Finder
from otherwise.finding.image_finds import ImageFinds
from otherwise.finding.scan import Scan
from otherwise.images.image import Image
from otherwise.images.listing import FoundImage
from otherwise.images.projecting import project
from otherwise.images.reading import read_image


@dataclass(frozen=True)
class FindOrder(ClassifyOrder):
    """What is asked about every image.

    Attributes:
        scan: How patches are laid.
        most: Most finds of an image.
        picture: Makes the picture of a find for people, given the image, the find and the window; None: none is made.
    """

    scan: Scan = field(default_factory=Scan)
    most: int = 10
    picture: Callable[[Image, Find, tuple[float, float]], str] | None = None


def find_here(
    box: BlackBox, images: Sequence[FoundImage], order: FindOrder, progress: Progress = lambda done, total: None
) -> list[ImageFinds]:
    """Find in every image; while one is searched the next one is read."""
    finder, results = Finder(box, order.scan), []
    for done, (found, image) in enumerate(_read_ahead(images), start=1):
        if isinstance(image, Image):
            try:
                whole = project(image, order.projection) if order.projection is not None else image
                scores = finder.score(whole, order.slice_index)
                finds = tuple(finder.finds(scores, order.most))
                picture = order.picture(whole, finds[0], finder.inputs.intensity) if order.picture else ""
                patches = len(scores.starts)
                warned = (*image_warnings(whole, finder.inputs), *scores.warnings)
                warnings = tuple(warning.text for warning in warned)
                results.append(
                    ImageFinds(
                        found.id, found.name, finds, patches, whole.geometry, picture, whole.unit, warnings=warnings
                    )
                )
            except OtherwiseError as error:
                results.append(ImageFinds(found.id, found.name, error=str(error)))
        else:
            results.append(ImageFinds(found.id, found.name, error=str(image)))
        progress(done, len(images))
    return results


class RemoteFinder(RemoteClassifier):
    """Find on a machine that shares no disk with the caller."""

    def _answers(self, images: Sequence[FoundImage]) -> list[ImageFinds]:
        assert isinstance(self._order, FindOrder)
        return find_here(self._box, images, self._order)

    @staticmethod
    def _refused(images: Sequence[FoundImage], failure: Failure) -> list[ImageFinds]:
        return refused(images, failure)


def refused(images: Sequence[FoundImage], failure: Failure) -> list[ImageFinds]:
    """Return that images could not be searched, and why."""
    return [ImageFinds(image.id, image.name, error=f"{failure.detail} {failure.hint}") for image in images]


def find_on_ray(
    images: Sequence[FoundImage],
    order: FindOrder,
    workers: int | None,
    address: str | None,
    progress: Progress = lambda done, total: None,
) -> list[ImageFinds]:
    """Find in images on Ray; see ``classifying.on_ray``."""
    return on_ray(images, order, RemoteFinder, refused, workers, address, progress)


def _read_ahead(images: Sequence[FoundImage]) -> Iterator[tuple[FoundImage, Image | OtherwiseError]]:
    """Read each image in another thread while the one before is worked at."""

    def read(found: FoundImage) -> Image | OtherwiseError:
        try:
            return read_image(found)
        except OtherwiseError as error:
            return error

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, images[0]) if images else None
        for number, found in enumerate(images):
            assert coming is not None
            image = coming.result()
            if number + 1 < len(images):
                coming = reader.submit(read, images[number + 1])
            yield found, image
