"""Whole mammograms of the mediolateral oblique view: those of ``whole_mammogram`` with armpit and pectoral muscle."""

from __future__ import annotations

from collections.abc import Iterator

from otherwise.phantoms.phantom import WholePhantom
from otherwise.phantoms.registry import SeriesOptions
from otherwise.phantoms.series import numbered_rng
from otherwise.phantoms.whole_mammogram import WholeMammogramSettings, make_whole_mammogram


def series(options: SeriesOptions) -> Iterator[WholePhantom]:
    """Draw the phantoms that the options name, see ``registry``."""
    i, j = options.size
    settings = WholeMammogramSettings((i, j), oblique=True)
    for number in range(options.start, options.start + options.count):
        id = f"whole-mammogram-mlo-{options.seed}-{number:05d}"
        yield make_whole_mammogram(numbered_rng(options.seed, number), settings, id)
