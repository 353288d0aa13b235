"""Endings of the image files that a server sends and takes."""

from __future__ import annotations

IMAGE_ENDINGS = (
    ".dcm",
    ".dicom",
    ".ima",
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".tif",
    ".tiff",
    ".nrrd",
    ".nhdr",
    ".nii",
    ".nii.gz",
    ".mha",
    ".mhd",
)
"""The server's own list, which ``test_client.py`` compares; this module runs where ``otherwise`` is not installed."""


def ending_of(name: str) -> str:
    """Return the ending of an image file's name, in lower case; empty: it is not an image's."""
    name = name.lower()
    return next((ending for ending in IMAGE_ENDINGS if name.endswith(ending)), "")
