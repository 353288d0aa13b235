"""Colours for every colour vision: Okabe and Ito's palette, and maps centred at zero."""

from __future__ import annotations

from typing import Any, NamedTuple

Colour = tuple[float, float, float]

STEPS = 256
SERIES: tuple[Colour, ...] = (
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.00, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.34, 0.71, 0.91),
    (0.90, 0.62, 0.00),
)
TARGET: Colour = SERIES[1]
"""Of a target value: what counts as reached, and survival of the counterfactual."""
GRID: Colour = (0.37, 0.90, 1.00)
"""Colour of the lines of a deformed grid."""
HERE: Colour = (0.25, 0.25, 0.25)


class Hues(NamedTuple):
    """Colours of both ends of a map centred at zero."""

    negative: Colour
    positive: Colour


CHANGE = Hues((0.13, 0.45, 0.85), (0.95, 0.55, 0.10))
EFFECT = Hues((0.00, 0.62, 0.45), (0.80, 0.30, 0.65))


def fill(table: Any, floor: float, hues: Hues) -> None:
    """Fill a colour table with a map from -1 to 1.

    Args:
        table: A ``vtkMRMLColorTableNode``.
        floor: Share of the map about zero that stays transparent, in [0, 1].
        hues: Colours of both ends.
    """
    # One event at the end instead of one for each colour, at which every view would be redrawn.
    modified = table.StartModify()
    table.SetTypeToUser()
    table.SetNumberOfColors(STEPS)
    table.GetLookupTable().SetTableRange(0, STEPS - 1)
    for step in range(STEPS):
        value = 2 * step / (STEPS - 1) - 1
        hue = hues.positive if value > 0 else hues.negative
        strength = abs(value)
        opacity = 0.0 if strength <= floor else min(1.0, 0.25 + 1.5 * strength)
        # From pale near zero to the full hue.
        colour = [1 - (1 - part) * (0.4 + 0.6 * strength) for part in hue]
        table.SetColor(step, f"{value:+.2f}", *colour, opacity)
    table.EndModify(modified)
