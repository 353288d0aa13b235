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
"""For an ordinary student of 2-D images, whose gradient spreads over many voxels."""
SMOOTH = GuidanceStyle(smooth=True)
"""For an ordinary student of volumes: its convolutions of stride two leave a lattice in the gradient, and an edit that
follows it is drawn as one."""
STRONGEST_VOXELS = GuidanceStyle(share=0.1, smooth=True, shrinkage=0.005)
"""For a student trained in noise, whose gradient is concentrated where a feature is."""
