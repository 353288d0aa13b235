"""From what a survival network returns to a survival curve.

A discrete-time network answers for intervals between fixed times. Readings of its outputs: conditional hazards and
their logits (Gensheimer & Narasimhan, nnet-survival, arXiv 1805.00917; logistic hazard), probabilities of an event in
each interval and their logits (Lee et al., DeepHit, AAAI 2018), and the survival curve itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, softmax

from otherwise.blackbox.outputs import AmbiguousOutputError
from otherwise.errors import BundleError, ClassifierError

READINGS = ("hazards", "hazard-logits", "interval-survival", "event-probabilities", "event-logits", "curve")
"""What the outputs of a survival network are. ``interval-survival``: one minus the hazard of each interval."""
AUTO = "auto"
"""The reading is to be found by ``read_survival``."""
TOLERANCE = 1e-3
"""By how much probabilities may leave [0, 1] and a survival curve may rise."""


def check_times(times: Sequence[float], horizon: float) -> None:
    """Refuse times that are no boundaries of intervals, or a horizon outside of them.

    Raises:
        BundleError: naming the fault.
    """
    boundaries = ",".join(f"{time:g}" for time in times)
    if len(times) < 2 or not np.isfinite(times).all() or times[0] != 0 or not (np.diff(times) > 0).all():
        raise BundleError(
            f"The times {boundaries or '(none)'} are no boundaries of intervals.",
            "Give them ascending, 0 first, such as --times 0,180,365,730.",
        )
    if not 0 < horizon <= times[-1]:
        raise BundleError(
            f"The horizon {horizon:g} lies outside of the times 0 to {times[-1]:g}.",
            f"Give one above 0 and up to {times[-1]:g} (--horizon).",
        )


def outputs_wanted(reading: str, intervals: int) -> tuple[int, ...]:
    """Return the numbers of outputs that fit so many intervals."""
    return (intervals,) if reading in READINGS[:3] else (intervals, intervals + 1)


def read_survival(outputs: np.ndarray, intervals: int, stressed: np.ndarray | None = None) -> tuple[str, str]:
    """Say from a network's outputs for several images how they are to be read.

    Args:
        outputs: ``(count, outputs)`` for images of many kinds.
        intervals: Number of intervals between the times.
        stressed: Outputs for inputs far beyond the usual range: probabilities stay in [0, 1] there, logits do not.

    Returns:
        One of ``READINGS``, and what was seen, one sentence.

    Raises:
        AmbiguousOutputError: if two readings fit.
        BundleError: if the times do not fit the outputs.
    """
    count = outputs.shape[1]
    if count not in (intervals, intervals + 1):
        raise BundleError(
            f"The model has {count} outputs for {intervals} intervals ({intervals + 1} times).",
            f"Give {count + 1} times for {count} intervals, 0 first (--times).",
        )
    every = outputs if stressed is None else np.concatenate([outputs, stressed])
    low, high = float(every.min()), float(every.max())
    seen = f"outputs lie between {low:.3g} and {high:.3g}"
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        if count == intervals:
            return "hazard-logits", f"{seen}, one for each interval: logits of hazards"
        raise AmbiguousOutputError(
            f"The {count} outputs are one more than the {intervals} intervals.",
            f"Give {count + 1} times (--times) or, if the last output stands for no event, --reading event-logits.",
        )
    if np.abs(outputs.sum(axis=1) - 1).max() <= TOLERANCE and count > 1:
        return "event-probabilities", "rows sum to one: probabilities of an event in each interval"
    starts = bool((np.abs(outputs[:, 0] - 1) <= TOLERANCE).all())
    falling = bool(np.diff(outputs, axis=1).max(initial=0) <= TOLERANCE)
    if count == intervals + 1 and starts and falling:
        return "curve", "rows begin with 1 and never rise: survival"
    may_be_events = count == intervals and every.sum(axis=1).max() <= 1 + TOLERANCE
    if count == intervals and not falling and not may_be_events:
        return "hazards", f"{seen} and rise and fall: hazards"
    fitting = {
        "hazards": "hazards of each interval",
        **({"event-probabilities": "probabilities of an event in each interval"} if may_be_events else {}),
        **({"curve": "survival at its end"} if falling else {}),
    }
    raise AmbiguousOutputError(
        f"The {seen}: {', or '.join(fitting.values())}.", f"Say which: --reading {' or '.join(fitting)}."
    )


def survival_curves(outputs: np.ndarray, reading: str, times: Sequence[float]) -> np.ndarray:
    """Return the probability of survival at each time.

    Args:
        outputs: ``(batch, outputs)`` of the network.
        reading: One of ``READINGS``.
        times: Boundaries of the intervals, ascending, 0 first.

    Returns:
        ``(batch, len(times))`` float64 in [0, 1], 1 at time 0, never rising.

    Raises:
        ClassifierError: if the outputs do not fit the times, are no probabilities, or survival rises.
    """
    outputs, intervals = np.asarray(outputs, np.float64), len(times) - 1
    wanted = outputs_wanted(reading, intervals)
    if outputs.ndim != 2 or outputs.shape[1] not in wanted:
        given = outputs.shape[1] if outputs.ndim == 2 else 1
        raise ClassifierError(
            f"The network has {given} outputs for {intervals} intervals ({len(times)} times).",
            f"Give {given + 1} times for {given} intervals, 0 first (--times), or another --reading.",
        )
    if not reading.endswith("logits"):
        _refuse_no_probabilities(outputs)
    if reading in ("hazards", "hazard-logits", "interval-survival"):
        # One minus the hazard, of logits computed by itself, so that it keeps its digits.
        kept = {"hazards": lambda x: 1 - x, "hazard-logits": lambda x: expit(-x), "interval-survival": lambda x: x}
        later = np.cumprod(np.clip(kept[reading](outputs), 0, 1), axis=1)
    elif reading == "curve":
        later = _without_start(outputs, intervals)
    else:
        events = softmax(outputs, axis=1) if reading == "event-logits" else outputs
        later = 1 - np.cumsum(events[:, :intervals], axis=1)
        if later.min(initial=0) < -TOLERANCE * intervals:
            raise ClassifierError(
                f"The probabilities of an event sum to {1 - later.min():.4g}.", "They should sum to 1 or less."
            )
    curves = np.concatenate([np.ones((len(outputs), 1)), later], axis=1)
    rising = np.diff(curves, axis=1).max(initial=0)
    if rising > TOLERANCE:
        broken = int((np.diff(curves, axis=1).max(axis=1) > TOLERANCE).sum())
        raise ClassifierError(
            f"Survival rises with time (by up to {rising:.2g}) for {broken} of {len(outputs)} images.",
            "It is no survival curve: give another --reading, such as hazards or event-probabilities.",
        )
    return np.asarray(np.clip(np.minimum.accumulate(curves, axis=1), 0.0, 1.0))


def survival_at(curves: np.ndarray, times: Sequence[float], horizon: float) -> np.ndarray:
    """Return the survival at one time; within an interval the hazard is taken as constant.

    Args:
        curves: ``(batch, len(times))``, see ``survival_curves``.
        times: Their times.
        horizon: From 0 to the last of them.

    Returns:
        ``(batch,)`` in [0, 1].
    """
    after = int(np.clip(np.searchsorted(times, horizon), 1, len(times) - 1))
    if horizon == times[after]:
        return np.asarray(curves[:, after])
    share = (horizon - times[after - 1]) / (times[after] - times[after - 1])
    start, end = curves[:, after - 1], curves[:, after]
    return np.asarray(start ** (1 - share) * end**share)


def _without_start(outputs: np.ndarray, intervals: int) -> np.ndarray:
    """Return a curve at the ends of the intervals; refuse one that does not begin with 1."""
    if outputs.shape[1] == intervals:
        return outputs
    if np.abs(outputs[:, 0] - 1).max(initial=0) > TOLERANCE:
        raise ClassifierError(
            f"Survival begins with {outputs[:, 0].min():.4g}, not with 1.", "Check --times and --reading."
        )
    return outputs[:, 1:]


def _refuse_no_probabilities(outputs: np.ndarray) -> None:
    if outputs.size and (outputs.min() < -TOLERANCE or outputs.max() > 1 + TOLERANCE):
        raise ClassifierError(
            f"The network returned values from {outputs.min():.4g} to {outputs.max():.4g}, no probabilities.",
            "If they are logits, say so: --reading hazard-logits or event-logits.",
        )
