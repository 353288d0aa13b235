"""Finds of a large image, as the server sends them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Find:
    """A patch that is worth explaining.

    Attributes:
        rank: Rank from 1: the most probable first or, of a value, the highest or lowest.
        probabilities: Probability of every class, by name; of a value, of the sides of its reference.
        centre: Centre, R, A, S in millimetres.
        size: Extent along the image's own axes, in millimetres.
        axes: Unit vectors of these axes in RAS.
        picture: PNG file.
        value: What a model of values says of the patch; None: the model says classes.
        unit: Unit of the value.
    """

    rank: int
    probabilities: dict
    centre: tuple
    size: tuple
    axes: tuple
    picture: Path
    value: float | None = None
    unit: str = ""


def read_finds(answer: dict, folder: Path) -> list[Find]:
    """Return the finds of a server's answer, and write their pictures into a folder.

    Raises:
        KeyError, TypeError, ValueError: if the answer is not one of an Otherwise server.
    """
    found = []
    for entry in answer["finds"]:
        picture = folder / f"find-{int(entry['rank'])}.png"
        picture.write_bytes(base64.b64decode(str(entry["thumbnail"]).partition(",")[2]))
        found.append(
            Find(
                int(entry["rank"]),
                {str(name): float(value) for name, value in entry["probabilities"].items()},
                tuple(float(x) for x in entry["centre_ras"]),
                tuple(float(x) for x in entry["size_mm"]),
                tuple(tuple(float(x) for x in axis) for axis in entry["axes"]),
                picture,
                None if entry.get("value") is None else float(entry["value"]),
                str(entry.get("unit", "")),
            )
        )
    return found
