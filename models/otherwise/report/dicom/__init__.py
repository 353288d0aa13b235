"""One explanation as DICOM objects beside its source: segmentation, parametric maps, structured report."""

from otherwise.images.exclusion import OWN_MANUFACTURER

NAME = "Otherwise"
MANUFACTURER = OWN_MANUFACTURER
"""Here, so that asking who made an object does not import highdicom."""
