"""Non-maximum suppression of patches: of those that show the same place, the most probable one is kept."""

from __future__ import annotations

import numpy as np
import torch
from monai.data.box_utils import non_max_suppression

MOST_COMMON = 0.1
"""Two patches that share more than this (intersection over union) show the same place."""


def best_of_each_place(
    starts: np.ndarray, scores: np.ndarray, size: tuple[int, ...], spacing: tuple[float, ...]
) -> list[int]:
    """Return the numbers of the best patch of each place, the most probable first.

    Args:
        starts: ``(patches, 2 or 3)`` first voxels.
        scores: ``(patches,)`` probabilities.
        size: Voxels of a patch.
        spacing: Millimetres of a voxel.
    """
    step = np.array(spacing)
    low = starts * step
    boxes = torch.from_numpy(np.concatenate([low, low + np.array(size) * step], axis=1)).float()
    kept = non_max_suppression(boxes, torch.from_numpy(scores), nms_thresh=MOST_COMMON, max_proposals=-1)
    # MONAI ranks in single precision; patches that are alike to it are ranked here.
    return sorted((int(index) for index in kept), key=lambda index: -scores[index])
