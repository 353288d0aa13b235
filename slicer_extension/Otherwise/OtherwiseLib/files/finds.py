"""Finds of a large image, as the server sends them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Find:
    """A patch that the classifier would call so.

    Attributes:
        rank: From 1, the most probable first.
        probabilities: Of every class, by name.
        centre: R, A, S in millimetres.
        size: Millimetres along the image's own axes.
        axes: Unit vectors of these axes in RAS.
        picture: A PNG file.
    """

    rank: int
    probabilities: dict
    centre: tuple
    size: tuple
    axes: tuple
    picture: Path


def read_finds(answer: dict, folder: Path) -> list[Find]:
    """Take the finds out of a server's answer; their pictures become files of the folder.

    Raises:
        KeyError, TypeError, ValueError: if the answer is not one of an Otherwise server.
    """
    found = []
    for told in answer["finds"]:
        picture = folder / f"find-{int(told['rank'])}.png"
        picture.write_bytes(base64.b64decode(str(told["thumbnail"]).partition(",")[2]))
        found.append(
            Find(
                int(told["rank"]),
                {str(name): float(value) for name, value in told["probabilities"].items()},
                tuple(float(x) for x in told["centre_ras"]),
                tuple(float(x) for x in told["size_mm"]),
                tuple(tuple(float(x) for x in axis) for axis in told["axes"]),
                picture,
            )
        )
    return found
