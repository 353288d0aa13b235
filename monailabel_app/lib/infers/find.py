"""``find``: the patches of a large image that are worth explaining, for a classifier of patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cachetools import LRUCache
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.infers.task import HostedTask, Report, TaskAnswer
from lib.runtime.host import Host
from lib.runtime.worker import Cancelled
from lib.settings.params import AUTO, MAX_SLICES, Params, ParamsError, number, refuse_unknown, whole_number
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.view import image_warnings
from otherwise.errors import CancelledError, OtherwiseError
from otherwise.finding.find import PatchScores
from otherwise.finding.finder import Finder
from otherwise.finding.scan import Scan
from otherwise.images.image import Image

MOST_FINDS = 100
KEPT = 8
"""Images whose scores are remembered, so that explaining a find does not score all patches again."""


SCAN_OPTIONS: dict[str, Any] = {"overlap": AUTO, "share": AUTO, "foreground": AUTO}
"""How patches are laid; ``auto``: as the classifier's bundle says."""
MOST_OVERLAP = 0.95


def scan_params(params: Params, host: Host) -> dict[str, float | None]:
    """Read how patches are laid; None: as the classifier's bundle says.

    Raises:
        ParamsError: if a value is no number in its range; of the foreground that is the classifier's intensity range.
    """
    found = {
        "overlap": number(params, "overlap", 0.0, MOST_OVERLAP),
        "share": number(params, "share", 0.0, 1.0),
        "foreground": number(params, "foreground", -1e6, 1e6),
    }
    try:
        scan_of(found).inputs(host.classifier.inputs)
    except OtherwiseError as error:
        raise ParamsError(error.detail, error.hint) from error
    return found


def scan_of(arguments: Mapping[str, Any]) -> Scan:
    """Return the settings of one search."""
    return Scan(arguments.get("overlap"), arguments.get("share"), arguments.get("foreground"))


class PatchScoreCache:
    """The classifier's scores of all patches of the last few images.

    Used by the worker's thread alone.

    Args:
        host: Its classifier scores.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._kept: LRUCache[tuple[str, InputSpec, str, int | None, Scan], PatchScores] = LRUCache(KEPT)

    @property
    def finder(self) -> Finder:
        """Return a finder with the classifier in use."""
        return Finder(self.host.classifier)

    def get(
        self, image: Image, slice_index: int | None, cancelled: Cancelled, report: Report, scan: Scan | None = None
    ) -> PatchScores:
        """Return the scores of an image's patches for a task that needs all of them.

        Raises:
            CancelledError: if ``cancelled`` says so.
        """

        def progress(part: float) -> None:
            report("find", part)
            if cancelled():
                raise CancelledError("The search for patches was cancelled.", "Ask again when you want it.")

        return self.score(Finder(self.host.classifier, scan), image, slice_index, progress)

    def score(
        self, finder: Finder, image: Image, slice_index: int | None, progress: Callable[[float], None]
    ) -> PatchScores:
        """Return the scores of an image's patches; the last few images are remembered. See ``Finder.score``.

        Bundles of the same version may lay patches otherwise: their inputs count.
        """
        key = (finder.classifier.version, finder.inputs, image.sha256, slice_index, finder.scan)
        scores = self._kept.get(key) or finder.score(image, slice_index, progress)
        self._kept[key] = scores
        return scores


class FindTask(HostedTask):
    """Scores every patch; replies with boxes and scores as MONAI Label's detection models do."""

    def __init__(self, host: Host, looks: PatchScoreCache) -> None:
        finder = looks.finder
        labels = {name: index for index, name in enumerate(finder.patches.wanted)}
        if finder.concern is None:
            text = f"Patches that {host.classifier.name} calls {' or '.join(labels)}"
        else:
            text = f"Patches with the {finder.concern.extreme} {finder.kind.name}, as {host.classifier.name} says it"
        super().__init__(host, InferType.DETECTION, labels, text, {"most": 20, **SCAN_OPTIONS})
        self.looks = looks

    def check(self, params: Params) -> dict[str, Any]:
        """Return the slice, the number of finds, and the scan."""
        refuse_unknown(params, self.config())
        return {
            "slice_index": whole_number(params, "slice_index", 0, MAX_SLICES),
            "most": whole_number(params, "most", 1, MOST_FINDS) or 20,
            **scan_params(params, self.host),
        }

    def answer(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> TaskAnswer:
        """Score all patches on the worker's thread."""
        from otherwise.report.finds import describe  # loads matplotlib: not while the server starts

        scan = scan_of(arguments)
        scores = self.looks.get(image, arguments["slice_index"], cancelled, report, scan)
        finder = Finder(self.host.classifier, scan)
        window, wanted = finder.inputs.intensity, finder.patches.wanted
        finds = [describe(image, found, window) for found in finder.finds(scores, arguments["most"])]
        return TaskAnswer(
            {
                # The reply of MONAI Label's detection models; for an oblique image ``finds`` is more exact.
                "box": [found["box_ras"] for found in finds],
                "label": [
                    wanted[0] if finder.concern else _likeliest(found["probabilities"], wanted) for found in finds
                ],
                "label_scores": [found["probability"] for found in finds],
                "finds": finds,
                "image": {"id": image.id, "sha256": image.sha256},
                "warnings": [asdict(warning) for warning in (*image_warnings(image, finder.inputs), *scores.warnings)],
                "classifier": asdict(self.host.classifier_ref),
            }
        )


def _likeliest(probabilities: Mapping[str, float], names: Sequence[str]) -> str:
    return max(names, key=lambda name: probabilities[name])
