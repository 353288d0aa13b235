"""What is asked of an image, apart from the image and the models: the same for one image as for a whole archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from otherwise.agent.editing.search import Progress
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import Explanation
from otherwise.explain.placed import explain_find
from otherwise.finding.finder import Finder
from otherwise.images.image import Image
from otherwise.images.kinds import Projection
from otherwise.images.projecting import project


@dataclass(frozen=True)
class ExplainRequest:
    """How to explain an image.

    Attributes:
        target: The class to flip to; None: the nearest other one.
        seed: For the alternatives.
        slice_index: For a 2-D classifier and a volume: which slice.
        projection: Instead, see through the volume along its slices.
        find: For a classifier of patches: which of its finds, from 1.
        centre: For a classifier of patches, instead: the middle of a patch, RAS millimetres.
        noise: Explain the classifier's mean answer over copies with noise of this share of the range; 0: its answer.
    """

    target: str | None = None
    seed: int = 0
    slice_index: int | None = None
    projection: Projection | None = None
    find: int = 1
    centre: tuple[float, float, float] | None = None
    noise: float = 0.0


def explain_request(
    explainer: Explainer, image: Image, request: ExplainRequest, progress: Progress = lambda stage, fraction: None
) -> Explanation:
    """Explain an image, or a find in its place where the classifier looks at patches.

    Raises:
        OtherwiseError: see ``Explainer.explain``, ``Finder`` and ``project``.
    """
    if request.projection is not None:
        image = project(image, request.projection)
    if request.noise:
        explainer = explainer.under_noise(request.noise)
    options: dict[str, Any] = {"target": request.target, "seed": request.seed, "progress": progress}
    if explainer.classifier.inputs.patches is None:
        return explainer.explain(image, slice_index=request.slice_index, **options)
    finder = Finder(explainer.classifier)
    scores = finder.score(image, request.slice_index)
    chosen = (
        finder.patch_at(image, request.centre, request.slice_index)
        if request.centre
        else finder.rank(scores, request.find)
    )
    return explain_find(explainer.explain, finder, image, scores, chosen, **options)
