"""Numbering of phantoms, and a marker that may follow the class; shared by all kinds."""

from __future__ import annotations

import numpy as np

from otherwise.errors import ImageError
from otherwise.phantoms.phantom import CLASSES, MALIGNANT


def numbered_rng(seed: int, number: int) -> np.random.Generator:
    """Return the random generator of the ``number``-th phantom of a series, independent of the others.

    Raises:
        ImageError: if the seed or the number is negative.
    """
    if seed < 0 or number < 0:
        raise ImageError(f"Seed {seed} or number {number} is negative.", "Give whole numbers from 0.")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))


def draw_label(rng: np.random.Generator) -> str:
    """Toss a coin for the class."""
    return CLASSES[int(rng.random() < 0.5)]


def draw_marked(rng: np.random.Generator, confound: float | None, label: str) -> bool:
    """Decide whether a phantom carries the burned-in marker.

    Args:
        rng: Used even where there is no marker: the same seed shows the same anatomy with and without one.
        confound: None: never. Otherwise the probability with which the marker follows the class (present exactly if
            malignant); the remaining phantoms carry it at random, every second one.
        label: The phantom's class.
    """
    follows, by_chance = rng.random(2)
    if confound is None:
        return False
    return label == MALIGNANT if follows < confound else bool(by_chance < 0.5)


def check_confound(confound: float | None) -> None:
    """Refuse what is no probability.

    Raises:
        ImageError: if it is neither None nor within 0 and 1.
    """
    if confound is not None and not 0 <= confound <= 1:
        raise ImageError(f"{confound} is no probability.", "Give the confound a value from 0 to 1.")
