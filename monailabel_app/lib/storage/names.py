"""Grammars of names that MONAI Label joins into paths, environment variables and command lines."""

from __future__ import annotations

import re
from pathlib import PurePath

from lib.settings.params import ParamsError
from lib.storage.image_sources import READABLE

NEW_ID = re.compile(r"(?![. ])[^/\\\x00-\x1f\x7f<>:\"|?*]+(?<![. ])")
"""Ids of new images become file names, also on other systems: no separators, drives, controls or wildcards."""
MOST_BYTES = 200
"""Of a new id: file systems take 255 for a name, its ending included."""

TAG = re.compile(r"(?![.])[A-Za-z0-9._-]{1,64}")
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,2})?")
GPUS = re.compile(r"all|[0-9]{1,2}(,[0-9]{1,2}){0,15}")
CHECKSUM = re.compile(r"((SHA256|SHA512|MD5):)?[0-9a-fA-F]{1,128}")


def check_new_id(id: str) -> str:
    """Refuse a name that an image to come may not have.

    Raises:
        ParamsError: saying so.
    """
    if not NEW_ID.fullmatch(id) or len(id.encode("utf-8", "replace")) > MOST_BYTES:
        raise ParamsError(
            f"{id[:64]!r} cannot be the id of an image.",
            f"Use letters, digits, spaces and -_.()+, no path, at most {MOST_BYTES} bytes.",
        )
    if any(ending in id.lower() for ending in READABLE):
        raise ParamsError(f"{id[:64]!r} cannot be the id of an image.", "Leave its ending away.")
    return id


def check_tag(tag: str) -> str:
    """Refuse a tag of labels that is no plain name.

    Raises:
        ParamsError: saying so.
    """
    if not TAG.fullmatch(tag):
        raise ParamsError(f"{tag[:64]!r} cannot be a tag.", "Use letters, digits and -_., such as final.")
    return tag


def image_ending(name: str) -> str:
    """Return the ending of a client's file name in lower case; empty if it is not that of an image."""
    return max((ending for ending in READABLE if name.lower().endswith(ending)), key=len, default="")


def stem(name: str) -> str:
    """Return a client's file name without folders (of any system) and without the ending of an image."""
    base = PurePath(name.replace("\\", "/")).name
    return base[: len(base) - len(image_ending(base))]
