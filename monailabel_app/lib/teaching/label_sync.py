"""What people named, as an ordinary label of MONAI Label's datastore, so that other clients see it."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore

from lib.teaching.study_images import StudyImages
from otherwise.annotations.annotation import Annotation
from otherwise.annotations.store import RecordedAnnotation
from otherwise.annotations.vocabulary import Key
from otherwise.errors import OtherwiseError
from otherwise.images.atomic import atomic_path
from otherwise.images.image import Image
from otherwise.images.writing import write_image

logger = logging.getLogger(__name__)

TAG = "otherwise"
"""Not ``final``: that is for whoever segments."""
MOST_NAMES = 255


class LabelSync:
    """Shows what is named to other clients, image by image, as it changes.

    Args:
        file: Remembers what has been shown.
        images: Of the studies.
    """

    def __init__(self, file: Path, images: StudyImages) -> None:
        self.file, self.images = file, images
        self._shown = json.loads(file.read_text(encoding="utf-8"))["number"] if file.is_file() else 0

    def show(self, recorded: Sequence[RecordedAnnotation], holding: Sequence[Annotation]) -> None:
        """Show what is new.

        Args:
            recorded: Everything that was ever said.
            holding: What holds of it.
        """
        new = [each for each in recorded if each.number > self._shown]
        known = set(self.images.ids()) if new else set()
        for id in dict.fromkeys(each.annotation.image for each in new):
            if id in known:  # an image of a session is in no datastore
                try:
                    self.images.mirror(self.images.read(id), [note for note in holding if note.image == id])
                except Exception as error:  # of MONAI Label's datastore, too: what was said is kept all the same
                    what = getattr(error, "code", type(error).__name__)
                    logger.warning("A label could not be shown to other clients: %s", what)
        if new:
            self._shown = new[-1].number
            with atomic_path(self.file) as temporary:
                temporary.write_text(json.dumps({"number": self._shown}), encoding="utf-8")


def mirror(datastore: Datastore, image: Image, notes: Sequence[Annotation]) -> None:
    """Save the named regions of an image as a label map; where nothing is named any more, remove it.

    Args:
        datastore: Holds the image.
        image: Its grid is the label map's.
        notes: What holds of this image, the oldest first; where regions overlap the last word stands.

    Raises:
        WriteError: if the disk refuses.
    """
    array, info = label_map(image, notes)
    if not info:
        if TAG in datastore.get_labels_by_image_id(image.id):
            datastore.remove_label(image.id, TAG)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = write_image(image.with_array(array), Path(folder) / "label.nrrd")
        datastore.save_label(
            image.id, str(file), TAG, {"label_info": info, "labels": {e["name"]: e["idx"] for e in info}}
        )


def label_map(image: Image, notes: Sequence[Annotation]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return the named regions of an image, uint8 ``(1, i, j, k)``, and the name of each value.

    Regions that lie outside the image are left out, and what goes beyond 255 names, too.
    """
    array = np.zeros((1, *image.geometry.shape), np.uint8)
    values: dict[Key, int] = {}
    info: list[dict[str, Any]] = []
    for note in notes:
        if note.kind != "name" or note.region is None or note.term is None:
            continue
        try:
            mask = note.region.on(image.geometry).mask
        except OtherwiseError:
            continue
        term = note.term
        if term.key not in values:
            if len(values) == MOST_NAMES:
                continue
            values[term.key] = len(values) + 1
            info.append({"name": term.meaning, "idx": values[term.key], "scheme": term.scheme, "code": term.code})
        array[0][mask] = values[term.key]
    return array, info
