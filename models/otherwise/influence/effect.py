"""The effect map: the effect of each part of a change on the black box.

A window slides over the change. Put in alone: the original with only this window of the change (is it sufficient?).
Left out alone: the counterfactual without it (is it necessary?). The mean of both changes of the target's log-odds is
this window's measured effect: the first and the last marginal contribution of a Shapley value (Shapley 1953), without
the ones in between. Within a window, the effect lies where the change is: it is shared out among the voxels in
proportion to how much each of them changes, which is exact where the classifier is linear and even. For the map that is
shown, the change counts times how sensitive the classifier is there (the agent's student says so): exact where it is
linear. Regions are those of the change: they hold whole things, which people can name.

Where all answers are exactly 0 or 1 there are no log-odds to compare; see ``tipping``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from otherwise.blackbox.checked import decision_value
from otherwise.blackbox.protocol import BlackBox
from otherwise.influence.tipping import EXACT, is_saturated, tipping_effect

MAX_WINDOWS = {2: 64, 3: 100}
"""Most windows over an image, by its dimensions; their number along an axis follows from it. More of them cost more
questions and tell less of each: on development images, 49 to 100 in 2-D and 64 to 216 in 3-D point equally well."""
COVERED = 0.95
"""Share of the change that is asked about, window by window, those that change most first."""
SENSITIVE_ANYWHERE = 0.05
"""Least sensitivity of a voxel, as a share of the mean: the student may be wrong, and the window's effect was measured.
"""
SMOOTHING = 0.6
"""Standard deviation in voxels over which a change counts for its neighbours: no classifier reads single voxels."""
BLUR, STROKE = {2: 0.18, 3: 0.1}, {2: 4.0, 3: 2.0}
"""The same for the map that is shown, by dimensions: a share of the edge over which the effect spreads beyond
``STROKE`` voxels; at most 0.4 of a window's reach. Chosen on development images: sharper, it shows the grain of a
change that spreads over a whole nodule; without ``STROKE``, it misses the strokes of a burned-in letter."""

VALUE_BLUR = 0.08
"""The same for the effect on a value, as a share of the whole edge: its features lie apart, and each counts."""

Sensitivity = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Image and counterfactual, ``(channels, *size)`` in [0, 1] -> how strongly each voxel's change moves the classifier,
``size``, not negative, in any unit."""


def window_centres(size: tuple[int, ...], most: int | None = None) -> tuple[list[np.ndarray], float]:
    """Lay a regular grid of half-overlapping windows over an image, at most ``most`` (None: ``MAX_WINDOWS``).

    Returns:
        Centres along each axis (voxels), and the stride; a window reaches one stride to either side of its centre.
    """
    most = most or MAX_WINDOWS[len(size)]
    stride = 1.0
    while np.prod([max(1, round(edge / stride)) for edge in size]) > most:
        stride *= 1.02
    counts = [max(1, round(edge / stride)) for edge in size]
    return [(np.arange(n) + 0.5) * edge / n - 0.5 for n, edge in zip(counts, size, strict=True)], stride


def windows(size: tuple[int, ...], most: int | None = None) -> Iterator[np.ndarray]:
    """Return smooth windows that sum to one everywhere: products of triangular hats (a partition of unity).

    Yields:
        ``size`` float32 in [0, 1].
    """
    centres, _ = window_centres(size, most)
    hats = [_hats(c, edge) for c, edge in zip(centres, size, strict=True)]
    for combination in product(*hats):
        window = combination[0]
        for hat in combination[1:]:
            window = np.multiply.outer(window, hat)
        yield window.astype(np.float32)


def _hats(centres: np.ndarray, edge: int) -> list[np.ndarray]:
    identity = np.eye(len(centres))
    places = np.arange(edge)
    return [np.interp(places, centres, row) for row in identity]


def put_in_and_leave_out(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray,
    masks: np.ndarray,
    checkpoint: Callable[[float], None] = lambda fraction: None,
    batch: int = 32,
) -> tuple[np.ndarray, np.ndarray]:
    """Ask the black box about each part of the change alone, and about the change without it.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise.
        masks: ``(n, *size)`` in [0, 1]: share of the change that belongs to the part.
        checkpoint: Called between batches with the share done; may raise to cancel.
        batch: Masks at a time, which bounds memory.

    Returns:
        Probabilities ``(n, classes)`` with the part put in alone, and with the part left out alone.
    """
    change = counterfactual - image
    alone, without = [], []
    for start in range(0, len(masks), batch):
        checkpoint(start / len(masks))
        part = masks[start : start + batch, None] * change[None]
        both = np.concatenate([image[None] + part, counterfactual[None] - part]).astype(np.float32)
        answers = classifier.predict(both.clip(0, 1))
        alone.append(answers[: len(part)])
        without.append(answers[len(part) :])
    return np.concatenate(alone), np.concatenate(without)


def measured_effect(
    before: np.ndarray,
    after: np.ndarray,
    alone: np.ndarray,
    without: np.ndarray,
    target: int,
    multi_label: bool = False,
) -> np.ndarray:
    """Return the mean gain in the target's log-odds by putting a part in and by not leaving it out.

    Args:
        before: Probabilities of the original ``(classes,)``.
        after: Probabilities of the counterfactual ``(classes,)``.
        alone: ``(n, classes)``, see ``put_in_and_leave_out``.
        without: ``(n, classes)``.
        target: Index of the target class.
        multi_label: See ``BlackBox.multi_label``.
    """
    answers = np.concatenate([before[None], after[None], alone, without])
    positive = answers[answers > 0]
    least = min(EXACT, float(positive.min()))  # an exact zero is no more than the smallest of these answers
    values = decision_value(answers, target, multi_label, least)
    start, end, put_in, left_out = values[0], values[1], values[2 : 2 + len(alone)], values[2 + len(alone) :]
    return np.asarray((put_in - start + end - left_out) / 2)


@dataclass(frozen=True, eq=False)
class EffectMap:
    """The effect of a change at each voxel.

    Attributes:
        values: ``size`` float32: log-odds of the target. Their sum is the sum of what was measured of all windows.
        located: The same effects, within each window where the sensitivity says; ``values`` where there is none.
        saturated: Whether all answers were exactly 0 or 1, so that the effects are shares of tips, see ``tipping``.
    """

    values: np.ndarray
    located: np.ndarray
    saturated: bool


def measure_effect(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray,
    target: int,
    checkpoint: Callable[[float], None] = lambda fraction: None,
    most: int | None = None,
    follow: bool = True,
    sensitivity: Sensitivity | None = None,
) -> EffectMap:
    """Measure the effect of the change everywhere.

    What little changes outside the windows that hold nearly all of the change is not asked about: zero.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise.
        target: Index of the target class.
        checkpoint: See ``put_in_and_leave_out``.
        most: Most windows; None: ``MAX_WINDOWS``.
        follow: Whether a window's effect lies where its change is; else evenly over the window.
        sensitivity: Where within a window the change counts, for ``EffectMap.located``; None: everywhere alike.
    """
    size = image.shape[1:]
    change = np.abs(counterfactual - image).max(axis=0)
    if not change.any():
        nothing = np.zeros(size, dtype=np.float32)
        return EffectMap(nothing, nothing, False)
    masks = _covering(np.stack(list(windows(size, most))), change)
    before, after = classifier.predict(np.stack([image, counterfactual]).astype(np.float32))
    alone, without = put_in_and_leave_out(classifier, image, counterfactual, masks, checkpoint)
    saturated = is_saturated(np.concatenate([before[None], after[None], alone, without]))
    if saturated:
        effects = tipping_effect(classifier, image, counterfactual, masks, target, checkpoint)
    else:
        effects = measured_effect(before, after, alone, without, target, classifier.multi_label)

    def shared_out(counts: np.ndarray) -> np.ndarray:
        shares = masks * counts
        shares /= shares.sum(axis=tuple(range(1, shares.ndim)), keepdims=True)
        return np.asarray(np.tensordot(effects, shares, axes=1), dtype=np.float32)

    values = shared_out(ndimage.gaussian_filter(change, SMOOTHING) if follow else np.ones_like(change))
    if sensitivity is None:
        return EffectMap(values, values, saturated)
    counts = change * _relative(sensitivity(image, counterfactual))
    return EffectMap(values, shared_out(ndimage.gaussian_filter(counts, SMOOTHING)), saturated)


def shown_effect(effect: np.ndarray, of_value: bool = False) -> np.ndarray:
    """Blur an effect map ``size`` for people: where the classifier looks rather than each grain of the change.

    The further the effect spreads, the blunter: a letter's strokes stay strokes, and the texture of a nodule becomes
    the nodule. How far it spreads is its participation ratio, ``(sum |e|)^2 / sum e^2`` voxels: n of them for an effect
    that is the same in n voxels and zero elsewhere. Regions are made of the sharp map: two things that decide and lie
    side by side stay two. The sum stays the same, and nothing is mirrored at the border: what lies near a corner is not
    strongest in the corner itself.
    """
    strength = np.abs(effect).astype(np.float64)
    if not strength.any():
        return effect
    edge = (strength.sum() ** 2 / np.square(strength).sum()) ** (1 / effect.ndim)
    _, stride = window_centres(effect.shape)

    spread = VALUE_BLUR * edge if of_value else BLUR[effect.ndim] * max(0.0, edge - STROKE[effect.ndim])
    deviation = min(spread, 0.4 * stride)

    def blurred(values: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(values, deviation, mode="constant"))

    return np.asarray(blurred(effect / blurred(np.ones(effect.shape, np.float32))), dtype=np.float32)


def _relative(sensitivity: np.ndarray) -> np.ndarray:
    """Return a sensitivity ``size`` as a multiple of its mean, nowhere zero; 1 everywhere if it is zero everywhere."""
    mean = float(sensitivity.mean())
    return SENSITIVE_ANYWHERE + sensitivity / mean if mean > 0 else np.ones_like(sensitivity)


def _covering(masks: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return the fewest windows ``(n, *size)`` that hold ``COVERED`` of a change ``size``."""
    held = np.tensordot(masks, change, axes=change.ndim)
    order = np.argsort(-held, kind="stable")
    enough = int(np.searchsorted(np.cumsum(held[order]), COVERED * held.sum())) + 1
    return np.asarray(masks[np.sort(order[:enough])])
