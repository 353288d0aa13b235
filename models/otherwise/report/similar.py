"""Similar cases: decisive regions of other images that look alike, with what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from otherwise.report.examples import ExamplePatch


@dataclass(frozen=True, eq=False)
class SimilarCase:
    """A region of another image.

    Attributes:
        patch: Its picture; the title says of which image.
        names: What it shows, the most telling first; empty: it has no name.
        address: Of the other image's report, relative to this one's.
    """

    patch: ExamplePatch
    names: tuple[str, ...]
    address: str

    @property
    def caption(self) -> str:
        """What it shows, in words."""
        return ", ".join(self.names) or "no name"


Similar = Mapping[int, Sequence[SimilarCase]]
"""By label of a region of this image: the nearest regions of other images, the nearest first."""
