"""Colours of classes, concepts and outlines, without an import of drawing code."""

from __future__ import annotations

OKABE_ITO = ("#56b4e9", "#e69f00", "#f0e442", "#cc79a7", "#009e73", "#d55e00", "#0072b2")
"""Colours of kinds that all kinds of colour vision distinguish, without black and grey, which vanish on an image.

Source: Okabe and Ito, Color Universal Design, https://jfly.uni-koeln.de/color/.
"""


FIRST_ANSWER, TARGET, OTHER_CLASS = "#0072b2", "#d55e00", "#8a8f98"
"""Colours of classes in every picture of a report: what the model says, what it could say instead, and all others."""
OUTLINE = "#5ee6ff"
"""Colour of outlines and numbers of regions on an image."""
CONCEPTS = ("#56b4e9", "#f0e442", "#cc79a7", "#009e73", "#e69f00")
"""Colours of concepts: of ``OKABE_ITO`` without those of classes. A letter distinguishes concepts of one colour."""


def red_green_blue(colour: str) -> tuple[float, float, float]:
    """Return the parts of ``#rrggbb``, each in [0, 1]."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue
