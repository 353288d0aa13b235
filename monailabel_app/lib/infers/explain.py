"""``explain``: the decisive regions of one image as a label map, and the whole explanation as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.infers.find import MOST_FINDS, SCAN_OPTIONS, PatchScoreCache, scan_of, scan_params
from lib.infers.task import HostedTask, Report, TaskAnswer
from lib.runtime.host import Host
from lib.runtime.worker import Cancelled
from lib.settings.params import AUTO, MAX_SEED, Params, number, one_of, place, text, whole_number, yes_or_no
from lib.storage.explanation_store import StorageError, read_content, require_room
from otherwise.agent.editing.search_settings import EditKind
from otherwise.blackbox.output_kind import output_kind
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import Explanation
from otherwise.explain.request import MOST_NOISE, ExplainRequest, explain_request
from otherwise.finding.finder import Finder
from otherwise.images.image import Image
from otherwise.report.folder import write_explanation

MOST_LETTERS = 100
"""Longest target value as text."""
MOST_TOLERANCE = 1e12
EDITS: tuple[str, ...] = get_args(EditKind)
REGION_NAMES = {f"region {label}": label for label in range(1, 10)}
"""Names of regions until somebody gives them one; stock clients prepare one segment for each."""


class Explain(HostedTask):
    """Searches for a change that makes the classifier decide otherwise.

    Of MONAI Label's types only a segmentation is offered with a button and shown as segments by the stock Slicer
    plug-in (it lists neither ``classification`` nor ``others``), and a label map of regions is just that.
    """

    keeps_result = True

    def __init__(
        self,
        host: Host,
        looks: PatchScoreCache | None = None,
        with_names: Callable[[Explanation], Explanation] = lambda explanation: explanation,
        on_saved: Callable[[], None] = lambda: None,
    ) -> None:
        self.says_value = output_kind(host.classifier).is_value
        targets: Any = AUTO if self.says_value else [AUTO, *host.classifier.classes]
        options: dict[str, Any] = {"target": targets, "seed": 0, "noise": 0.0, "edit": list(EDITS)}
        if self.says_value:
            options["tolerance"] = AUTO
        super().__init__(
            host,
            InferType.SEGMENTATION,
            REGION_NAMES,
            f"Regions that would make {host.classifier.name} decide otherwise",
            {**options, "find": 1, "centre": AUTO, "whole": False, **SCAN_OPTIONS} if looks else options,
        )
        self.looks = looks
        self.with_names, self.on_saved = with_names, on_saved

    def check(self, params: Params) -> dict[str, Any]:
        """Add the target class, the seed, the noise, the kind of edit and the patch."""
        checked = {
            **super().check(params),
            "target": self._target(params),
            "seed": whole_number(params, "seed", 0, MAX_SEED) or 0,
            "noise": number(params, "noise", 0.0, MOST_NOISE) or 0.0,
            "edit": one_of(params, "edit", EDITS) or EDITS[0],
        }
        if self.says_value:
            checked["tolerance"] = number(params, "tolerance", 0.0, MOST_TOLERANCE)
        if self.looks:
            checked["find"] = whole_number(params, "find", 1, MOST_FINDS) or 1
            checked["centre"] = place(params, "centre")
            checked["whole"] = yes_or_no(params, "whole")
            checked |= scan_params(params, self.host)
        return checked

    def _target(self, params: Params) -> str | None:
        """Return the target class or, of a value, the target as text, which the explainer reads."""
        if self.says_value:
            return text(params, "target", MOST_LETTERS)
        return one_of(params, "target", self.host.classifier.classes)

    def answer(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> TaskAnswer:
        """Explain on the worker's thread, and store the result."""
        require_room(self.host.store.root)
        arguments = dict(arguments)
        owner = arguments.pop("owner", None)
        explanation = self.with_names(self._explain(image, arguments, cancelled, report))
        try:
            if owner is not None:
                self.host.owners.set(explanation.id, owner)  # before anybody can find it
            folder = self._keep(explanation)
            content = response_for(folder)
            label_map = (folder / content["files"]["regions"]).read_bytes()
            self.on_saved()
        except OSError as error:
            raise StorageError(
                f"The explanation could not be written ({error.strerror}).", "Make room on the server's disk."
            ) from error
        return TaskAnswer(content, label_map)

    def _explain(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> Explanation:
        score = self.looks.score if self.looks else Finder.score
        scan = scan_of(arguments)
        arguments = {name: value for name, value in arguments.items() if name not in SCAN_OPTIONS} | {"scan": scan}
        return explain_request(
            cast(Explainer, self.host.explainer), image, ExplainRequest(**arguments), report, cancelled, score
        )

    def _keep(self, explanation: Explanation) -> Path:
        folder = self.host.store.new(explanation.id)
        return write_explanation(explanation, folder)


def response_for(folder: Path) -> dict[str, Any]:
    """Return the reply for a stored explanation.

    Raises:
        DamagedError: if it cannot be read.
        OSError: if it does not exist (any more).
    """
    content = read_content(folder)
    labels = {f"region {region['label']}": region["label"] for region in content["regions"]}
    return {**content, "label_names": labels}
