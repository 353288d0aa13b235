"""Decisive regions: connected parts of the effect map, each measured on the black box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.influence.effect import measured_effect, put_in_and_leave_out
from otherwise.influence.parts import soft

MOST_REGIONS = 5
"""More than a handful is no explanation."""


@dataclass(frozen=True)
class MeasuredRegion:
    """One region on the classifier's grid.

    Attributes:
        mask: bool ``size``.
        effect: Measured change of the target's log-odds.
        sufficient: Alone it flips the black box.
        necessary: Without it the black box does not flip.
        above_floor: Its mean change exceeds the mean reconstruction error there.
    """

    mask: np.ndarray
    effect: float
    sufficient: bool
    necessary: bool
    above_floor: bool


def reconstruction_floor(image: np.ndarray, reconstruction: np.ndarray, width: float = 1.5) -> np.ndarray:
    """Return the autoencoder's own error about each voxel: changes below it are no evidence.

    Args:
        image: ``(channels, *size)`` in [0, 1].
        reconstruction: Likewise, without any edit.
        width: Standard deviation of the neighbourhood in voxels.

    Returns:
        ``size`` float32, never below one grey level of 255.
    """
    error = np.abs(reconstruction - image).mean(axis=0)
    return np.maximum(ndimage.gaussian_filter(error, width), 1 / 255).astype(np.float32)


def candidate_regions(effect: np.ndarray, threshold: float = 0.2, most: int = MOST_REGIONS) -> list[np.ndarray]:
    """Find connected parts in which the effect is high; it is smoothed by a voxel so that threads hang together.

    Args:
        effect: ``size``, see ``measure_effect``.
        threshold: Share of the smoothed maximum.
        most: Most parts.

    Returns:
        Masks bool ``size``, the greatest sum of effects first.
    """
    smooth = ndimage.gaussian_filter(effect, 1.0)
    peak = float(smooth.max())
    if peak <= 0:
        return []
    labels, count = ndimage.label(smooth > threshold * peak)
    sums = ndimage.sum_labels(effect, labels, np.arange(1, count + 1))
    return [labels == 1 + index for index in np.argsort(-sums)[:most]]


def measure_regions(
    classifier: BlackBox,
    image: np.ndarray,
    counterfactual: np.ndarray,
    effect: np.ndarray,
    floor: np.ndarray,
    target: int,
    saturated: bool = False,
) -> list[MeasuredRegion]:
    """Find the decisive regions and measure each: put in alone and left out alone.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        counterfactual: Likewise.
        effect: ``size``, see ``measure_effect``.
        floor: ``size``, see ``reconstruction_floor``.
        target: Index of the target class.
        saturated: Whether all answers are exactly 0 or 1; a region's effect is then the sum of its map.

    Returns:
        Strongest measured effect first; none where nothing speaks for the target.
    """
    masks = candidate_regions(effect)
    if not masks:
        return []
    before, after = classifier.predict(np.stack([image, counterfactual]).astype(np.float32))
    alone, without = put_in_and_leave_out(classifier, image, counterfactual, np.stack([soft(mask) for mask in masks]))
    if saturated:
        effects = np.array([float(effect[mask].sum()) for mask in masks])
    else:
        effects = measured_effect(before, after, alone, without, target, classifier.multi_label)
    rule = DecisionRule.of(classifier)
    flips, unflips = rule.predicts(alone, target), ~rule.predicts(without, target)
    after_flips = bool(rule.predicts(after, target))
    change = np.abs(counterfactual - image).mean(axis=0)
    regions = [
        MeasuredRegion(
            mask,
            float(e),
            bool(s),
            bool(n) and after_flips,
            bool(change[mask].mean() > floor[mask].mean()),
        )
        for mask, e, s, n in zip(masks, effects, flips, unflips, strict=True)
    ]
    return sorted(regions, key=lambda region: -region.effect)
