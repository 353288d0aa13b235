"""Exclude files by name that are not images to explain: hidden files, masks, labels, truth, our own results."""

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
NAMES = "with a name that is not UTF-8"

OWN_MANUFACTURER = "Otherwise project"
"""Manufacturer in DICOM objects that this software writes; they are not explained."""
RESULT_FILES = ("explanation.json", "finds.json", "truth.json")
"""A folder with one of these files was written by this software; its images are not explained."""

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
