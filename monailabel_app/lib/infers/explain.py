"""``explain``: the decisive regions of one image as a label map, and the whole explanation as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.host import Host
from lib.infers.params import AUTO, Params, one_of, whole_number
from lib.infers.task import MAX_SEED, Answer, HostedTask, Report
from lib.store import StorageError
from lib.worker import Cancelled
from otherwise.explain.explanation import Explanation
from otherwise.images.image import Image
from otherwise.report.folder import write_explanation

REGION_NAMES = {f"region {label}": label for label in range(1, 10)}
"""What regions are called until somebody names what they show; stock clients prepare one segment for each."""


class Explain(HostedTask):
    """Searches for what would make the classifier decide otherwise.

    Of MONAI Label's types only a segmentation is offered with a button and shown as segments by the stock Slicer
    plug-in (it lists neither ``classification`` nor ``others``), and a label map of regions is just that.
    """

    def __init__(self, host: Host) -> None:
        super().__init__(
            host,
            InferType.SEGMENTATION,
            REGION_NAMES,
            f"Regions that would make {host.classifier.name} decide otherwise",
            {"target": [AUTO, *host.classifier.classes], "seed": 0},
        )

    def check(self, params: Params) -> dict[str, Any]:
        """Add the class to flip to, and the seed."""
        return {
            **super().check(params),
            "target": one_of(params, "target", self.host.classifier.classes),
            "seed": whole_number(params, "seed", 0, MAX_SEED) or 0,
        }

    def answer(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> Answer:
        """Explain on the worker's thread, and keep the result."""
        explanation = self.host.explainer.explain(image, **arguments, progress=report, cancelled=cancelled)
        try:
            folder = self._keep(explanation)
            content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
            label_map = (folder / content["files"]["regions"]).read_bytes()
        except OSError as error:
            raise StorageError(
                f"The explanation could not be written ({error.strerror}).", "Make room on the server's disk."
            ) from error
        labels = {f"region {region.label}": region.label for region in explanation.regions}
        return Answer({**content, "id": explanation.id, "label_names": labels}, label_map)

    def _keep(self, explanation: Explanation) -> Path:
        folder = self.host.store.new(explanation.id)
        return write_explanation(explanation, folder)
