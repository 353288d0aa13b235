"""One explanation as DICOM objects beside its source: segmentation, parametric maps, structured report."""

NAME = "Otherwise"
MANUFACTURER = "Otherwise project"
"""Here, since whoever only asks who made an object need not wait until highdicom is imported."""
