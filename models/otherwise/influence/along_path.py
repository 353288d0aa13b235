"""The effect map that is shown: the mean over an edit and a lesser one of its path, the nearest to the boundary.

A convincing edit changes more than what tips the answer. The mean over two points of the path says more surely what
decides, as integrated gradients average over a path (Sundararajan et al., arXiv 1703.01365).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from otherwise.blackbox.protocol import BlackBox
from otherwise.influence.effect import EffectMap, Sensitivity, measure_effect

LESSER_WINDOWS = {2: 64, 3: 8}
"""Most windows over the lesser edit, by an image's dimensions, chosen on development images.

Their number along each axis of a cube is even: a window in the very middle of an image would flatter lesions that were
centred there.
"""


def effect_along_path(
    classifier: BlackBox,
    image: np.ndarray,
    effect: EffectMap,
    lesser: np.ndarray,
    target: int,
    checkpoint: Callable[[float], None] = lambda fraction: None,
    sensitivity: Sensitivity | None = None,
) -> np.ndarray:
    """Return the mean effect of an edit and of a lesser one, in proportion to that of the edit itself.

    Args:
        classifier: The black box.
        image: ``(channels, *size)`` in [0, 1].
        effect: Of the edit.
        lesser: ``(channels, *size)``: an edit of the same kind that changes less.
        target: Index of the target class.
        checkpoint: See ``measure_effect``.
        sensitivity: Likewise.

    Returns:
        ``size`` float32: log-odds of the target; its absolute values have the same sum as those of
        ``effect.located``.
    """
    if effect.saturated:
        return effect.located
    most = LESSER_WINDOWS[image.ndim - 1]
    other = measure_effect(classifier, image, lesser, target, checkpoint, most, sensitivity=sensitivity)
    together = effect.located + other.located
    size = np.abs(together).sum()
    if other.saturated or not size:
        return effect.located
    return np.asarray(together * (np.abs(effect.located).sum() / size), dtype=np.float32)
