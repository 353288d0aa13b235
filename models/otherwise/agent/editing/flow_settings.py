"""Settings of the search among edits by flow, see ``flow_search``."""

from __future__ import annotations

from dataclasses import dataclass

QUARTERS = (0.25, 0.5, 0.75, 1.0)
"""Parts of an interval of strengths that are edited in one call: four images cost the networks less than two calls."""


@dataclass(frozen=True)
class FlowSettings:
    """Settings of the search among edits by flow.

    Attributes:
        guidance_scales: See ``FlowStrength``; each is tried where those before it do not convince.
        starts: Least and greatest time from which the flow is followed.
        first: Time between them up to which strengths are tried first.
        quarterings: How often the interval in which the least convincing strength lies is divided into four, from 1.
        windows: Most windows whose effect is measured to find the region.
        shares: Shares of the voxels that may be edited, ascending.
        slack: Of the edits of the region that are enough, the most realistic one counts whose change is at most so many
            times the least change.
        levels: Changes, in [0, 1], above which connected parts of the change are regions too.
        touched: Shares of the voxels of the strongest effect that such parts have to touch.
        seam: Greatest seam of an edit in a region, see ``regions.seam``.
        stronger: Factor of the strength of alternatives.
        along: Factors of the strength for the path within the region, ascending.
        steps: Solver steps.
        grain_depths: Times to which the edits of the region are noised to take their grain away, see
            ``without_grain``. The first one at which an edit still convinces counts; failing that, the grain stays.
        grain_steps: Solver steps of that.
        reconstruction_depth: Time up to which the image is inverted to see what the autoencoder itself loses.
        border: Standard deviation in voxels of the region's soft border.
        evidence: Size of the evidence of the target that the edit asks for, in (0, 1]; see ``opposite_evidence``.
        asked: Of a value: size of the evidence at which it is reached. Edits on an ``EvidenceScale`` with each of
            ``deep_guidance`` are tried before those on a ``TimeScale``. None: they are not, as of classes.
        deep: Time from which edits on an ``EvidenceScale`` follow the flow.
        deep_guidance: See ``asked``.
        deep_steps: Their solver steps.
        least_move: Change of the target's probability without which more strength is no use.
    """

    guidance_scales: tuple[float, ...] = (3.0, 2.0)
    starts: tuple[float, float] = (0.35, 0.95)
    first: float = 0.75
    quarterings: int = 1
    windows: int = 64
    shares: tuple[float, ...] = (1 / 64, 1 / 32, 1 / 16, 1 / 11, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2)
    stronger: float = 1.1
    along: tuple[float, ...] = (0.7, 0.85, 1.0, 1.1)
    steps: int = 6
    grain_depths: tuple[float, ...] = (0.3, 0.2, 0.1)
    grain_steps: int = 2
    slack: float = 1.25
    levels: tuple[float, ...] = (0.3, 0.2, 0.14, 0.1, 0.07, 0.05)
    touched: tuple[float, ...] = (1 / 64, 1 / 16, 1 / 6)
    seam: float = 0.06
    border: float = 2.5
    evidence: float = 1.0
    asked: float | None = None
    deep: float = 0.9
    deep_guidance: tuple[float, ...] = (1.0, 3.0)
    deep_steps: int = 12
    least_move: float = 0.15
    reconstruction_depth: float = 0.5

    def most_edits(self, alternatives: int) -> int:
        """Return the greatest number of edits that the black box may be asked about."""
        of_region = 2 + 2 * self.windows + len(self.shares) + len(self.levels) * len(self.touched)
        scales = len(self.guidance_scales) + (len(self.deep_guidance) if self.asked is not None else 0)
        of_whole = scales * len(QUARTERS) * (1 + self.quarterings)
        of_grain = len(self.grain_depths) * (1 + len(self.along) + alternatives)
        return of_whole + of_region + len(self.along) + of_grain + alternatives


USUAL_FLOW = FlowSettings()
