"""What is no image to look at, by its name: hidden files, masks, labels and truth beside images, results of our own."""

from __future__ import annotations

import re

HIDDEN = "hidden"
TRUTH = "named as mask, label or truth"
RESULTS = "folders of results or truth"
COPIES = "copied slices"
NOT_READ = "in a format that is not read"
NO_IMAGE_OBJECTS = "DICOM without an image"
NO_IMAGES = "not an image"
LINKS = "linked folder or broken link"
FORBIDDEN = "not readable"

OWN_MANUFACTURER = "Otherwise project"
"""Manufacturer of the DICOM objects that this software writes; what it says is no image to explain."""
RESULT_FILES = ("explanation.json", "finds.json", "truth.json")
"""A folder that holds one of them was written by this software; what is in it is no image to explain."""

_WORDS = "masks?|labels?|label[-_ ]?maps?|segs?|segmentations?|annotations?|truths?|ground[-_ ]?truths?|gt|gts"
_FOLDER = re.compile(rf"({_WORDS}|labels?[-_ ]?t[rs]|seg[-_ ]?masks?|counterfactuals?)", re.IGNORECASE)
_FILE = re.compile(
    rf"(.*[-_. ])?(({_WORDS}|counterfactual)([-_. ]\d+)?|(mask|label)\d+)"
    "|(masks?|labels?|segmentations?|seg|gt)[-_. ].*",
    re.IGNORECASE,
)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or is macOS's copy of a file's attributes (``._scan.nii``)."""
    return name.startswith(".") or name == "__MACOSX"


def is_truth_folder(name: str) -> bool:
    """Return whether a folder is named after masks, labels or truth (``masks``, ``labelsTr``, ``ground_truth``)."""
    return _FOLDER.fullmatch(name) is not None


def is_truth_file(stem: str) -> bool:
    """Return whether a file is named after a mask, labels or truth.

    Args:
        stem: Its name without the ending: ``mask-mass``, ``scan_seg``, ``7_Annotation`` and ``label`` are; ``masked``
            and ``labelled-1`` are not.
    """
    return _FILE.fullmatch(stem) is not None
