"""The concordance index: how well predicted risks put patients in the order of their events."""

from __future__ import annotations

import numpy as np


def concordance_index(risks: np.ndarray, times: np.ndarray, events: np.ndarray) -> float:
    """Return Harrell's concordance index (Harrell et al., JAMA 247:2543, 1982).

    A pair of patients is comparable if the one with the shorter time had the event; with equal times, if one of them
    had it and the other did not. It is concordant if the risk of the one with the earlier event is higher; equal risks
    count one half.

    Args:
        risks: ``(count,)``, higher where the event is expected earlier.
        times: ``(count,)`` of the event or the end of follow-up.
        events: ``(count,)`` bool, whether the event was observed.

    Returns:
        In [0, 1]; 0.5 is chance, and what is returned where no pair is comparable.
    """
    risks, times, events = np.asarray(risks, float), np.asarray(times, float), np.asarray(events, bool)
    earlier = times[:, None] < times[None]
    comparable = events[:, None] & (earlier | ((times[:, None] == times[None]) & ~events[None]))
    higher, equal = risks[:, None] > risks[None], risks[:, None] == risks[None]
    pairs = int(comparable.sum())
    return float((comparable & higher).sum() + 0.5 * (comparable & equal).sum()) / pairs if pairs else 0.5
