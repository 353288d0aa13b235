"""What an agent learns from of an image: the whole of it, patches, or the whole with the field of view moved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import show
from otherwise.images.image import Image


@dataclass(frozen=True)
class Views:
    """The views of an image that an agent learns from.

    Attributes:
        of: From an image to its views, each ``(channels, *size)`` in [0, 1], at least one. It raises ImageError for
            what the classifier cannot look at.
        key: Identifies how the views are made; images that were prepared with another key are prepared anew.
        variants: Whether an image's first view is the usual one and the others are variants of it, to be learned from
            but never measured on.
    """

    of: Callable[[Image], list[np.ndarray]]
    key: str
    variants: bool = False


def whole_images(inputs: InputSpec) -> Views:
    """Return the default: one view of the whole image."""
    return Views(lambda image: [show(image, inputs)], "")


def state_key(rng: np.random.Generator) -> str:
    """Return a hash of a random generator's state, for ``Views.key``."""
    return hashlib.sha256(repr(rng.bit_generator.state).encode()).hexdigest()[:16]
