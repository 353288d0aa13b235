"""One way to explain an image: the same for the command line, the server and a whole archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otherwise.agent.editing.rendering import Cancelled
from otherwise.agent.editing.search import Progress
from otherwise.agent.editing.search_settings import EditKind
from otherwise.blackbox.output_kind import output_kind
from otherwise.errors import CancelledError, ClassifierError
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import Explanation
from otherwise.explain.memory import refuse_declared, refuse_too_large
from otherwise.explain.placed import explain_find
from otherwise.finding.find import PatchScores
from otherwise.finding.finder import Finder
from otherwise.finding.scan import Scan
from otherwise.images.formats.limits import reading_size_checked_by
from otherwise.images.image import Image
from otherwise.images.kinds import Projection
from otherwise.images.listing import FoundImage
from otherwise.images.projecting import project
from otherwise.images.reading import read_image

SCORING_SHARE = 0.3
"""Share of the whole work that scoring all patches takes, for the progress bar."""

ScorePatches = Callable[[Finder, Image, int | None, Callable[[float], None]], PatchScores]
"""Finder, image, slice, progress -> the scores of all patches; a server remembers those of the last few images."""


MOST_NOISE = 0.5
"""Beyond noise of this share of the range an image is not to be recognised."""


@dataclass(frozen=True)
class ExplainRequest:
    """How to explain an image.

    Attributes:
        target: The class to flip to; None: the nearest other one. Of a value: see ``question.ask``.
        seed: For the alternatives.
        slice_index: For a 2-D classifier and a volume: which slice.
        projection: Explain a projection of the volume along its slices instead.
        find: For a classifier of patches: the rank of the find to explain, from 1.
        centre: For a classifier of patches: the middle of a patch to explain instead, RAS millimetres.
        noise: Explain the mean answer under noise of this share of the range; 0: the answer itself.
        scan: For a classifier of patches: how they are laid, where that is wanted otherwise.
        whole: For a classifier of patches: go on with the next find until the whole image flips.
        tolerance: Of a value: the distance within which it is reached; None: the model's own.
        edit: How the image may change, see ``SearchSettings``.
    """

    target: str | None = None
    seed: int = 0
    slice_index: int | None = None
    projection: Projection | None = None
    find: int = 1
    centre: tuple[float, float, float] | None = None
    noise: float = 0.0
    scan: Scan = field(default_factory=Scan)
    whole: bool = False
    tolerance: float | None = None
    edit: EditKind = "auto"


def read_for_explanation(
    explainer: Explainer, source: Path | FoundImage, request: ExplainRequest, part: str | None = None
) -> Image:
    """Read an image whose explanation fits into memory; refuse a larger one from its header.

    Args:
        explainer: The classifier and its agent.
        source: See ``read_image``.
        request: What is wanted.
        part: See ``read_image``.

    Raises:
        ImageError: see ``read_image`` and ``memory.refuse_declared``.
    """
    if (
        request.projection is not None or explainer.classifier.inputs.patches is not None
    ):  # the explanation is smaller than the image
        return read_image(source, part=part)
    with reading_size_checked_by(refuse_declared):
        return read_image(source, part=part)


def explain_request(
    explainer: Explainer,
    image: Image,
    request: ExplainRequest,
    progress: Progress = lambda stage, fraction: None,
    cancelled: Cancelled = lambda: False,
    score: ScorePatches = Finder.score,
) -> Explanation:
    """Explain an image, or one patch of it where the classifier looks at patches.

    Args:
        explainer: The classifier and its agent.
        image: The whole image.
        request: What is wanted.
        progress: Called with the stage and the share of the whole that is done.
        cancelled: Asked between steps.
        score: Scores the patches of an image.

    Raises:
        OtherwiseError: see ``Explainer.explain``, ``Finder`` and ``project``.
    """
    if request.projection is not None:
        image = project(image, request.projection)
    if request.edit != "auto":
        explainer = explainer.editing(request.edit)
    if request.noise:
        explainer = explainer.under_noise(request.noise)
    options: dict[str, Any] = {"target": request.target, "seed": request.seed, "cancelled": cancelled}
    if request.tolerance is not None:
        options["tolerance"] = request.tolerance
    if explainer.classifier.inputs.patches is None:
        request.scan.inputs(explainer.classifier.inputs)  # refuses settings that are for patches
        if request.whole:
            raise ClassifierError(f"{explainer.classifier.name} looks at whole images.", "Leave --whole out.")
        refuse_too_large(image)
        return explainer.explain(image, slice_index=request.slice_index, progress=progress, **options)

    if request.whole and output_kind(explainer.classifier).is_value:
        raise ClassifierError(
            f"{explainer.classifier.name} says a value, which does not flip.",
            "Leave --whole out; --find 2 explains the next patch.",
        )

    def report_share(part: float) -> None:
        progress("find", SCORING_SHARE * part)
        if cancelled():
            raise CancelledError("The search for patches was cancelled.", "Ask again when you want it.")

    def report_stage(stage: str, part: float) -> None:
        progress(stage, SCORING_SHARE + (1 - SCORING_SHARE) * part)

    finder = Finder(explainer.classifier, request.scan)
    scores = score(finder, image, request.slice_index, report_share)
    find = (
        finder.patch_at(image, request.centre, request.slice_index)
        if request.centre
        else finder.rank(scores, request.find)
    )
    return explain_find(explainer.explain, finder, image, scores, find, request.whole, progress=report_stage, **options)
