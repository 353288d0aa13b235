"""Store the weights of a hosted network in the layout in which it computes fastest.

On a CPU, convolutions are fastest with channels as the last axis in memory (oneDNN); shapes and answers stay as they
are. A network's own code may need the usual layout: ``Tensor.view`` refuses another one. So the network is asked before
and after.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from otherwise.blackbox.protocol import InputSpec

ASKED = 2
"""Images that the network is asked about; of one alone, ``Tensor.view`` may accept either layout."""
AGREE = 1e-5
"""Greatest difference of two outputs that are the same, as a share of the greatest output (at least 1)."""
MOST_VALUES = 2**22
"""Greatest number of values of an image of which the network is asked; beyond it loading would take long."""


def use_channels_last(network: nn.Module, inputs: InputSpec, scores: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Store the weights of convolutions channels last, if the network gives the same answer then.

    Args:
        network: In evaluation mode; the layout of its weights is changed in place. TorchScript and exported programs
            have such weights, too. What ``torch.compile`` made is left alone, since it chooses layouts itself.
        inputs: Size of its images. It is asked about noise.
        scores: Asks it about views ``(batch, channels, *size)`` in [0, 1].

    Returns:
        Whether they are stored so: on a CPU, if a network with convolutions neither fails nor answers otherwise.
    """
    weights = [weight for weight in network.parameters() if weight.ndim in (4, 5)]
    shape = (inputs.channels, *inputs.size)
    if not weights or math.prod(shape) > MOST_VALUES or hasattr(network, "_orig_mod"):
        return False
    if any(weight.device.type != "cpu" for weight in weights):
        return False
    images = np.random.default_rng(0).random((ASKED, *shape), dtype=np.float32)
    before = _answer(scores, images)
    if before is None:
        return False
    _store(weights, channels_last=True)
    after = _answer(scores, images)
    if after is not None and _same(before, after):
        return True
    _store(weights, channels_last=False)
    return False


def _answer(scores: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray | None:
    """Return finite outputs; None where the network fails, which is reported when it is asked for an explanation."""
    try:
        answer = np.asarray(scores(images), dtype=np.float64)
    except Exception:  # any error of the network's own code
        return None
    return answer if np.isfinite(answer).all() else None


def _same(before: np.ndarray, after: np.ndarray) -> bool:
    if before.shape != after.shape:
        return False
    return bool(np.abs(after - before).max(initial=0) <= AGREE * max(1.0, np.abs(before).max(initial=0)))


def _store(weights: list[nn.Parameter], channels_last: bool) -> None:
    for weight in weights:
        last = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
        weight.data = weight.data.contiguous(memory_format=last if channels_last else torch.contiguous_format)
