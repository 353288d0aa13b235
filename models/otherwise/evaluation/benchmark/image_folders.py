"""Folders of real and made images, for measures of other packages such as ``frd-score`` (arXiv 2412.01496)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from otherwise.blackbox.decision import DecisionRule
from otherwise.evaluation.benchmark.sets import MadeSets
from otherwise.images.atomic import atomic_folder
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image

REAL = "real"
COLOUR = 3
"""Channels of a colour picture."""


def write_image_folders(sets: MadeSets, reference: np.ndarray, out: Path) -> None:
    """Write ``real/<class>/`` and ``<method>/<class>/``: slices as PNG with 8 bits, volumes as NIfTI.

    Real images are other unseen images that the black box assigns to the class; made ones have it as their target. All
    have the classifier's own grid and window. An existing folder is replaced.

    Args:
        sets: The counterfactuals.
        reference: ``(n, channels, *size)`` in [0, 1].
        out: Folder to write.

    Raises:
        WriteError: if the place cannot be written.
    """
    comparison = sets.comparison
    classes = comparison.classifier.classes
    called = DecisionRule.of(comparison.classifier).predicted(comparison.classifier.predict(reference))
    with atomic_folder(out) as folder:
        for index, name in enumerate(classes):
            _write(
                folder / REAL / folder_name(name),
                ((f"real-{n:04}", reference[n]) for n in np.flatnonzero(called[:, index])),
            )
        for method in comparison.edits:
            made, targets, cases = sets.of(method)
            for index in np.unique(targets):
                chosen = (
                    (case.id, image) for case, image, goal in zip(cases, made, targets, strict=True) if goal == index
                )
                _write(folder / method.name / folder_name(classes[index]), chosen)


def folder_name(name: str) -> str:
    """Return a class name without what would nest folders."""
    return name.replace("/", "-").replace("\\", "-")


def _write(folder: Path, images: Iterable[tuple[str, np.ndarray]]) -> None:
    from PIL import Image as Picture

    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images:
        levels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
        if image.ndim == 4:
            _, i, j, k = image.shape
            write_image(Image(levels, Geometry((i, j, k), np.eye(4)), name), folder / f"{name}.nii.gz")
            continue
        # Arrays have columns first, pictures rows first.
        planes = levels.transpose(2, 1, 0) if len(levels) == COLOUR else levels[0].T
        Picture.fromarray(np.ascontiguousarray(planes)).save(folder / f"{name}.png")
