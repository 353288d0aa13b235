"""ReX, causal responsibility, for planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import ClassifierError
from otherwise.evaluation.benchmark.methods.method import SEED


def rex(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    """Return the causal responsibility of each pixel (Chockler et al., arXiv 2411.08875; rex-xai); planes only."""
    from rex_xai.explanation.rex import calculate_responsibility
    from rex_xai.input.config import CausalArgs
    from rex_xai.input.input_data import Data
    from rex_xai.responsibility.prediction import Prediction

    pixels = torch.from_numpy(image)[None]

    def predict(images: Any, target: Any = None, **more: Any) -> list[Any]:
        batch = images if isinstance(images, torch.Tensor) else torch.stack(list(images))
        answers = classifier.predict(batch.reshape(-1, *image.shape).float().numpy())
        answered = []
        for answer in answers:
            found = Prediction(int(answer.argmax()), float(answer.max()))
            if target is not None:
                found.target, found.target_confidence = target.classification, float(answer[target.classification])
            answered.append(found)
        return answered

    args = CausalArgs()
    args.seed, args.progress_bar, args.iters, args.min_box_size = SEED, False, 10, 6
    data = Data(pixels, list(pixels.shape), "cpu", mode="RGB")
    data.data = pixels
    data.mask_value = float(image.mean())
    data.target = predict(pixels)[0]
    if data.target.classification != label:
        raise ClassifierError("ReX explains the class that is answered.", "Ask it for that class.")
    maps, _ = calculate_responsibility(data, args, predict)
    return np.asarray(maps.get(label), dtype=np.float32).reshape(image.shape[1:])
