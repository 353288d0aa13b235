"""``classify``: the black box's probabilities for one image."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.host import Host
from lib.infers.task import Answer, HostedTask, Report
from lib.worker import Cancelled
from otherwise.images.image import Image


class Classify(HostedTask):
    """Asks the hosted classifier; replies as MONAI Label's own classification models do."""

    def __init__(self, host: Host) -> None:
        super().__init__(
            host,
            InferType.CLASSIFICATION,
            {name: index for index, name in enumerate(host.classifier.classes)},
            f"Probabilities of {', '.join(host.classifier.classes)} by {host.classifier.name}",
            {},
        )

    def answer(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> Answer:
        """Classify on the worker's thread."""
        prediction = self.host.explainer.classify(image, **arguments)
        scores = [
            {"idx": index, "label": name, "score": prediction.probabilities[name]}
            for index, name in enumerate(self.host.classifier.classes)
        ]
        return Answer(
            {
                "prediction": scores,
                "label": prediction.label,
                "image": {"id": image.id, "sha256": image.sha256},
                "classifier": asdict(self.host.classifier_ref),
            }
        )
