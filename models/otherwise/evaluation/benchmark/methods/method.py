"""What a method of a benchmark is: one that draws a map, or one that makes a counterfactual."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import BlackBox

SEED = 0
"""Of methods that draw at random."""
MASKS = 1000
"""Random masks of RISE, and samples of KernelSHAP: a quarter of what the papers take for photographs."""

Draw = Callable[[BlackBox, np.ndarray, int], np.ndarray]
"""Black box, image ``(channels, *size)`` in [0, 1], class -> map ``size`` float32: larger speaks more for the class."""


@dataclass(frozen=True)
class MapMethod:
    """A way to draw a map.

    Attributes:
        name: For machines.
        title: For people.
        source: Paper and library.
        draw: See ``Draw``.
        suits: Whether the black box gives what the method needs.
        slow: Whether it is given only every second image.
        control: Whether it asks nobody, so that it is no peer: it shows what the images' framing gives away.
    """

    name: str
    title: str
    source: str
    draw: Draw
    suits: Callable[[BlackBox], bool] = lambda classifier: True
    slow: bool = False
    control: bool = False


@dataclass(frozen=True, eq=False)
class Edit:
    """What a method made of an image.

    Attributes:
        image: ``(channels, *size)`` float32 in [0, 1].
        target: Index of the class it was made for.
        valid: Whether the black box says so.
        effect: ``size``: where the method says the change matters; None: it says nothing.
        maps: Further maps ``size`` that come with it, by the names in ``EditMethod.maps``.
        shared_seconds: What was spent for it before, by another method that begins with the same search.
        shared_queries: Likewise, in images that the black box was asked about.
    """

    image: np.ndarray
    target: int
    valid: bool
    effect: np.ndarray | None = None
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    shared_seconds: float = 0.0
    shared_queries: int = 0


MakeEdit = Callable[[Agent, CountingBlackBox, np.ndarray], Edit]
"""Agent, black box, image ``(channels, *size)`` in [0, 1] -> what came out."""


@dataclass(frozen=True)
class EditMethod:
    """A way to make a counterfactual.

    Attributes:
        name: For machines.
        title: For people.
        source: Paper.
        make: See ``MakeEdit``.
        maps: Names and titles of further maps that come with it.
        slow: Whether it is given only every second image.
    """

    name: str
    title: str
    source: str
    make: MakeEdit
    maps: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False


@dataclass(frozen=True, eq=False)
class ReferenceImages:
    """Real images beside those that are explained.

    Attributes:
        images: ``(n, channels, *size)`` float32 in [0, 1].
        answers: ``(n, classes)``: what the black box says of them.
    """

    images: np.ndarray
    answers: np.ndarray
