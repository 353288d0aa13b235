"""Style of the guidance by the student's gradient while an edit is rendered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuidanceStyle:
    """Style of the guidance by the student's gradient; see ``editing.guidance``.

    Attributes:
        share: Share of the voxels that are guided, those with the largest gradient, in (0, 1].
        smooth: Whether the gradient is blurred first.
        shrinkage: Soft threshold of the finished change, as a share of the intensity range. Faint changes vanish.
    """

    share: float = 1.0
    smooth: bool = False
    shrinkage: float = 0.0


EVERYWHERE = GuidanceStyle()
"""Raw gradient at all voxels, for a student of 2-D images that was not trained in noise."""
SMOOTH = GuidanceStyle(smooth=True)
"""Blurred gradient at all voxels, for a student of volumes that was not trained in noise.

Its convolutions of stride two leave a lattice in the raw gradient, and an edit would show it."""
STRONGEST_VOXELS = GuidanceStyle(share=0.1, smooth=True, shrinkage=0.005)
"""Blurred gradient at the strongest voxels, for a student trained in noise: its gradient concentrates at features."""
