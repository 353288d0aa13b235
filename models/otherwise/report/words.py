"""Numbers and names as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np

from otherwise.explain.explanation import Probabilities, Region
from otherwise.images.image import Image, Unit


def probability(value: float) -> str:
    """Return a probability with two decimals, never "0.00" or "1.00" for what is neither."""
    if 0 < value < 0.005:
        return "<0.01"
    if 0.995 <= value < 1:
        return ">0.99"
    return f"{value:.2f}"


def share(value: float) -> str:
    """Return a fraction in [0, 1] in per cent."""
    percent = 100 * value
    if 0 < percent < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def signed(value: float) -> str:
    """Return a number with two decimals and a real minus sign."""
    return f"{value:+.2f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a wall time in a suitable unit."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"


def moment(created: str) -> str:
    """Return an ISO 8601 time as day and minute; anything else as it is."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{time.day} {time:%B %Y, %H:%M} {time.tzname() or ''}".strip()


def answers(probabilities: Probabilities, label: str) -> bool:
    """Return whether the answer is ``label``: the most probable class, or at least 0.5 where classes do not compete."""
    if abs(sum(probabilities.values()) - 1) > 1e-3:
        return probabilities.get(label, 0.0) >= 0.5
    return max(probabilities, key=lambda name: probabilities[name]) == label


def with_probability(label: str, probabilities: Probabilities) -> str:
    """Return a class with its probability in brackets, where it has one."""
    return f"{label} ({probability(probabilities[label])})" if label in probabilities else label


def concept_name(region: Region) -> str | None:
    """Return the name of the region, or None if it has none."""
    name = (region.concept or {}).get("name")
    return str(name) if name else None


def confidence(region: Region) -> float | None:
    """Return the confidence of the region's name, in [0, 1]; None if it has no name or no confidence."""
    value = (region.concept or {}).get("confidence")
    return float(value) if isinstance(value, int | float) else None


def size(region: Region) -> str:
    """Return the size of a region with its unit: volume, in a plane area, in pixels if millimetres are unknown."""
    number, unit = (region.area_mm2, "mm²") if region.area_mm2 is not None else (region.volume_mm3, "mm³")
    if number is None:
        return f"{region.voxels or 0} pixels"
    return f"{number:.3g} {unit}" if number < 100 else f"{number:.0f} {unit}"


def place(region: Region) -> str:
    """Return the centre of a region: RAS millimetres or, if these are unknown, column and row from 0."""
    numbers = region.centroid_ras or (region.centroid_index or ())[:2]
    return ", ".join(f"{value:.1f}" for value in numbers).replace("-", "−")


def centre(image: Image, ras: Sequence[float]) -> str:
    """Return a place in an image: RAS millimetres or, if these are unknown, column and row from 0."""
    numbers = ras if image.unit == "mm" else image.geometry.to_index(np.array(ras))[:2].tolist()
    return ", ".join(f"{value:.1f}" for value in numbers).replace("-", "−")


def centre_heading(unit: Unit) -> str:
    """Return the heading over :func:`centre`."""
    return "Centre (RAS, mm)" if unit == "mm" else "Centre (column, row)"


def headings(regions: Sequence[Region], unit: Unit) -> tuple[str, str]:
    """Return the headings over :func:`size` and :func:`place` of an image's regions."""
    volumes = unit == "mm" and any(region.area_mm2 is None for region in regions)
    return "Volume" if volumes else "Area", "Centroid (RAS, mm)" if unit == "mm" else "Centroid (column, row)"


EVIDENCE = {"said": "a reader says so", "finding": "learned", "likeness": "looks alike"}
"""How it is known what a region shows, see ``Name``."""


def findings(region: Region) -> list[tuple[str, str]]:
    """Return what the region shows, each with how sure that is and how it is known, such as ``0.93, learned``."""
    found = []
    for each in region.findings or ((region.concept,) if concept_name(region) and region.concept else ()):
        sure = each.get("confidence")
        how = EVIDENCE.get(str(each.get("evidence")), "")
        if each.get("disputed"):
            how = "readers differ"
        parts = [f"confidence {probability(float(sure))}" if isinstance(sure, int | float) else "", how]
        found.append((str(each["name"]), ", ".join(part for part in parts if part)))
    return found


def few(names: Iterable[str], most: int = 3) -> str:
    """Return names one after the other, each once; of many the first ones, and how many more there are."""
    each = list(dict.fromkeys(names))
    more = len(each) - most
    return ", ".join(each[:most]) + (f" and {more} more" if more > 0 else "")
