"""Ratio of our map's mean figure to the best peer's on the same images, with its interval."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from otherwise.evaluation.benchmark.run import resampled_means

Rows = Sequence[Mapping[str, float | str | None]]

OF_MAGNITUDE = "_of_magnitude"
"""A peer's map may say more by its magnitude than by its sign: it is taken by whichever points better."""


@dataclass(frozen=True)
class LeadOverPeers:
    """Ratio of our mean to a peer's, over the images for which both have a figure.

    Attributes:
        peer: The method with the greatest mean among the peers.
        figure: Which of its figures: as it is, or of its magnitude.
        ours: Our mean over the images that the peer was given.
        theirs: Its mean.
        ratio: Ours over theirs.
        low: Lower end of the ratio's 95 % interval: bootstrap over images, both methods on the same ones.
        high: Upper end.
        images: How many.
    """

    peer: str
    figure: str
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    images: int

    def to_dict(self) -> dict[str, str | float]:
        """Return plain values for JSON."""
        return asdict(self)


def lead_over_peers(
    rows: Rows, figure: str, peers: Collection[str], mine: str = "ours", draws: int = 2000, seed: int = 0
) -> LeadOverPeers | None:
    """Return the ratio of our mean to that of the best peer.

    Args:
        rows: Of ``run``.
        figure: More is better, such as ``average_precision``.
        peers: Names of the methods to compare with.
        mine: Name of our method.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        None if no image has the figure of both sides.
    """
    ours = _values(rows, mine, figure)
    theirs_by = {(peer, kind): _values(rows, peer, kind) for peer in peers for kind in (figure, figure + OF_MAGNITUDE)}
    means = {name: float(np.mean(list(own.values()))) for name, own in theirs_by.items() if own.keys() & ours.keys()}
    if not means:
        return None
    peer, kind = max(means, key=lambda name: (means[name], name))
    theirs = theirs_by[peer, kind]
    both = np.array([(ours[case], theirs[case]) for case in sorted(ours.keys() & theirs.keys())])
    drawn = resampled_means(both, seed, draws)
    ratios = drawn[:, 0] / np.maximum(drawn[:, 1], np.finfo(float).tiny)
    mine_here, theirs_here = (round(float(value), 4) for value in both.mean(axis=0))
    low, high = (round(float(value), 4) for value in np.quantile(ratios, [0.025, 0.975]))
    ratio = round(float(both[:, 0].mean() / max(both[:, 1].mean(), np.finfo(float).tiny)), 4)
    return LeadOverPeers(peer, kind, mine_here, theirs_here, ratio, low, high, len(both))


def _values(rows: Rows, method: str, figure: str) -> dict[str, float]:
    own = (row for row in rows if row["method"] == method)
    return {str(row["case"]): float(value) for row in own if (value := row.get(figure)) is not None}
