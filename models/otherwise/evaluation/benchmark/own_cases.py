"""Own images and masks as cases of a benchmark: one for each image, or one for each lesion of whole images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.view import of_declared_size, view
from otherwise.errors import ImageError
from otherwise.evaluation.benchmark.cases import Case, share_on_grid
from otherwise.evaluation.lesions import lesions_of
from otherwise.finding.finder import Finder
from otherwise.images.image import Image
from otherwise.images.listing import FoundImage, list_images
from otherwise.images.reading import read_image
from otherwise.images.resampling import resample


@dataclass(frozen=True)
class OwnCases:
    """Cases, and a sentence for each image or lesion that is none."""

    cases: tuple[Case, ...]
    left_out: tuple[str, ...]


def own_cases(images: Path, masks: Path, classifier: BlackBox) -> OwnCases:
    """Return the images of a folder, each with the mask of the same name in another one.

    For a classifier of patches each connected piece of a mask is a lesion. Its case is the most suspicious patch that
    has the lesion's centre, as a search of the whole image finds it.

    Args:
        images: Folder of images.
        masks: Folder of masks: above zero is what should decide. Each lies in its image's space, on any grid.
        classifier: The black box.

    Raises:
        ImageError: if there are no images, none can be used or, but for whole images, one has no mask.
    """
    found = {image.id: image for image in list_images(images).images}
    drawn = {image.id: image for image in list_images(masks, masks=True).images}
    missing = sorted(set(found) - set(drawn))
    finder = Finder(classifier) if classifier.inputs.patches is not None else None
    if missing and (finder is None or len(missing) == len(found)):
        raise ImageError(
            f"{len(missing)} images have no mask, such as {missing[0]}.", "Give each mask its image's name."
        )
    cases: list[Case] = []
    left_out = [f"{len(missing)} images without a mask, such as {missing[0]}"] if missing else []
    for item in found.values():
        if item.id not in drawn:
            continue
        image = read_image(item)
        mask = _on_image(read_image(drawn[item.id]), image)
        for each in _of_whole(item, image, mask, finder) if finder else [_of_image(item, image, mask, classifier)]:
            if isinstance(each, Case):
                cases.append(each)
            else:
                left_out.append(each)
    if not cases:
        raise ImageError(f"No mask shows anything where the classifier looks: {left_out[0]}.", "Correct the masks.")
    return OwnCases(tuple(cases), tuple(left_out))


def _on_image(mask: Image, image: Image) -> np.ndarray:
    """Return a mask on an image's grid, bool ``(i, j, k)``."""
    above = mask.with_array((mask.array.max(axis=0, keepdims=True) > 0).astype(np.float32))
    return np.asarray(resample(above, image.geometry).array[0] >= 0.5)


def _of_image(item: FoundImage, image: Image, mask: np.ndarray, classifier: BlackBox) -> Case | str:
    """Return the case of an image that is looked at as a whole, or why there is none."""
    seen = of_declared_size(image, view(image, classifier.inputs), classifier.inputs)
    truth = share_on_grid(mask, image, seen.grid, classifier.inputs)
    if not truth.any():
        return f"{item.id}: its mask is empty where the classifier looks"
    return Case(item.id, seen.array, truth, patient=item.patient or item.study or None)


def _of_whole(item: FoundImage, image: Image, mask: np.ndarray, finder: Finder) -> Iterator[Case | str]:
    """Yield a case for each lesion of a whole image, or why there is none."""
    lesions = lesions_of(mask, image.geometry)
    if not lesions:
        yield f"{item.id}: its mask is empty"
        return
    try:
        scores = finder.score(image)
    except ImageError as error:
        yield f"{item.id}: {error.detail}"
        return
    wanted, size = finder.wanted(scores), np.array(finder.inputs.size)
    for number, lesion in enumerate(lesions, start=1):
        name = f"{item.id}-{number}" if len(lesions) > 1 else item.id
        place = scores.grid.to_index(np.array(lesion.centre_ras))[: len(size)]
        inside = np.flatnonzero(((scores.starts - 0.5 <= place) & (place <= scores.starts + size - 0.5)).all(axis=1))
        if not len(inside):
            yield f"lesion {number} of {item.id}: it lies in no patch with enough tissue"
            continue
        best = int(inside[wanted[inside].argmax()])
        truth = share_on_grid(mask, image, finder.patch_grid(scores, best), finder.inputs)
        if truth.all() or not truth.any():
            yield f"lesion {number} of {item.id}: its mask is {'all' if truth.all() else 'none'} of the patch"
            continue
        yield Case(name, finder.voxels(image, scores, best), truth, patient=item.patient or item.study or item.id)
