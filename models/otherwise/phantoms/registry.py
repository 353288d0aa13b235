"""The kinds of phantoms: one line each. The module of a kind is imported when the kind is drawn, not before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from otherwise.errors import ImageError

if TYPE_CHECKING:
    from otherwise.phantoms.phantom import Phantom, WholePhantom


@dataclass(frozen=True)
class SeriesOptions:
    """Which phantoms of a kind to draw.

    Attributes:
        seed: Names the whole endless series.
        count: How many.
        size: Voxels along each axis of the image.
        start: Number of the first one; the n-th depends on ``seed`` and ``n`` alone.
        confound: None: no marker. Otherwise the probability with which a burned-in marker follows the class.
        target_risk: Risk of the true counterfactual, of kinds with an outcome; None: the kind's own.
    """

    seed: int
    count: int
    size: tuple[int, ...]
    start: int = 0
    confound: float | None = None
    target_risk: float | None = None


@dataclass(frozen=True)
class Patch:
    """The patches that a classifier of whole images is made for.

    Attributes:
        size: Voxels.
        spacing: Millimetres of a voxel.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True)
class PhantomKind:
    """A kind of phantoms.

    Attributes:
        name: As typed.
        module: Module of this package with ``series(options: SeriesOptions)``, an iterator of ``Phantom`` or, where
            ``patch`` is given, of ``WholePhantom``.
        size: Voxels along each axis, unless others are asked for.
        marker: Whether a marker can be burned in.
        outcome: Whether it has a prognosis: a risk, and a time to an event.
        patch: For images of whole size, which hold several lesions or none; None: the image is about one lesion.
    """

    name: str
    module: str
    size: tuple[int, ...]
    marker: bool = False
    outcome: bool = False
    patch: Patch | None = None


KINDS = (
    PhantomKind("mammogram", "mammogram", (96, 96), marker=True),
    PhantomKind("mammogram-signs", "signs", (96, 96)),
    PhantomKind("nodule", "nodule", (48, 48, 24), marker=True),
    PhantomKind("prognosis", "prognosis", (64, 64), outcome=True),
    PhantomKind("whole-mammogram", "whole_mammogram", (2400, 3000), patch=Patch((96, 96), (0.5, 0.5))),
    PhantomKind("whole-mammogram-mlo", "whole_mammogram_mlo", (2400, 3000), patch=Patch((96, 96), (0.5, 0.5))),
    PhantomKind("whole-ct", "whole_ct", (256, 256, 128), patch=Patch((32, 32, 24), (1.0, 1.0, 1.25))),
)
WHOLE_KINDS = tuple(kind for kind in KINDS if kind.patch is not None)


def find_kind(name: str) -> PhantomKind:
    """Return the kind of a name.

    Raises:
        ImageError: if there is none.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise ImageError(f"There is no phantom {name!r}.", f"Choose of {', '.join(kind.name for kind in KINDS)}.")


def draw_series(kind: PhantomKind, options: SeriesOptions) -> Iterator[Phantom] | Iterator[WholePhantom]:
    """Draw phantoms of a kind.

    Raises:
        ImageError: if nothing can be drawn at this size, or a marker is asked for that the kind does not have.
    """
    if options.confound is not None and not kind.marker:
        raise ImageError(f"Phantoms of the kind {kind.name} have no marker.", "Leave the confound away.")
    if options.target_risk is not None and not kind.outcome:
        raise ImageError(f"Phantoms of the kind {kind.name} have no risk.", "Leave the target risk away.")
    if len(options.size) != len(kind.size):
        raise ImageError(f"A {kind.name} has no size {options.size}.", "Give one number for each axis.")
    drawn: Iterator[Phantom] | Iterator[WholePhantom] = import_module(f"otherwise.phantoms.{kind.module}").series(
        options
    )
    return drawn


def draw_whole(name: str, seed: int, count: int) -> Iterator[WholePhantom]:
    """Draw phantoms of whole size, of the usual size of their kind.

    Raises:
        ImageError: if there is no such kind, or it is not of whole size.
    """
    kind = find_kind(name)
    if kind.patch is None:
        raise ImageError(
            f"A {name} is not of whole size.", f"Choose of {', '.join(each.name for each in WHOLE_KINDS)}."
        )
    return draw_series(kind, SeriesOptions(seed, count, kind.size))  # type: ignore[return-value]
