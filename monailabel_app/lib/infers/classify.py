"""``classify``: the black box's probabilities for one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.infers.find import PatchScoreCache
from lib.infers.task import HostedTask, Report, TaskAnswer
from lib.runtime.host import Host
from lib.runtime.worker import Cancelled
from lib.settings.params import AUTO, Params, place
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.output_kind import output_kind
from otherwise.images.image import Image


class Classify(HostedTask):
    """Asks the hosted classifier; replies as MONAI Label's own classification models do."""

    def __init__(self, host: Host, looks: PatchScoreCache | None = None) -> None:
        # A classifier of patches may have to score all of them.
        self.interactive = looks is None
        super().__init__(
            host,
            InferType.CLASSIFICATION,
            {name: index for index, name in enumerate(host.classifier.classes)},
            f"{_what_is_said(host)} by {host.classifier.name}",
            {"centre": AUTO} if looks else {},
        )
        self.looks = looks

    def check(self, params: Params) -> dict[str, Any]:
        """Add the patch."""
        return {**super().check(params), "centre": place(params, "centre") if self.looks else None}

    def answer(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> TaskAnswer:
        """Classify on the worker's thread."""
        probabilities = self._probabilities(image, arguments, cancelled, report)
        scores = [
            {"idx": index, "label": name, "score": probabilities[name]}
            for index, name in enumerate(self.host.classifier.classes)
        ]
        kind = output_kind(self.host.classifier)
        value = {}
        if kind.is_value:
            amount = float(kind.value_of(np.array([score["score"] for score in scores])))
            value = {"value": {"amount": amount, "unit": kind.unit, "name": kind.name, "kind": kind.kind}}
        return TaskAnswer(
            {
                **value,
                "prediction": scores,
                "label": self._label(probabilities),
                "image": {"id": image.id, "sha256": image.sha256},
                "classifier": asdict(self.host.classifier_ref),
            }
        )

    def _label(self, probabilities: Mapping[str, float]) -> str:
        """Return the class that is said, by the classifier's own thresholds."""
        classes = self.host.classifier.classes
        values = np.array([probabilities[name] for name in classes])
        return classes[DecisionRule.of(self.host.classifier).label(values)]

    def _probabilities(
        self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report
    ) -> Mapping[str, float]:
        """Return the probabilities of the image, or of its chosen or most suspicious patch."""
        slice_index, centre = arguments["slice_index"], arguments["centre"]
        if self.looks is None:
            return self.host.explainer.classify(image, slice_index).probabilities
        if centre is not None:
            return self.looks.finder.patch_at(image, centre, slice_index).probabilities
        look = self.looks.get(image, slice_index, cancelled, report)
        return self.looks.finder.rank(look, 1).probabilities


def _what_is_said(host: Host) -> str:
    """Return the answer of the model: probabilities of classes, or a value with its unit."""
    kind = output_kind(host.classifier)
    if not kind.is_value:
        return f"Probabilities of {', '.join(host.classifier.classes)}"
    return kind.name.capitalize() if kind.unit == "1" else f"{kind.name.capitalize()} in {kind.unit}"
