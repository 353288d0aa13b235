"""The work of one process: load the models once, then explain one image after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from otherwise.batch.errors import Failure
from otherwise.explain.explanation import ModelRef
from otherwise.explain.loading import load_explainer
from otherwise.explain.request import ExplainRequest, explain_request, read_for_explanation
from otherwise.images.listing import FoundImage
from otherwise.report.folder import write_explanation


@dataclass(frozen=True)
class BatchOrder:
    """How to explain every image.

    Attributes:
        classifier: Bundle folder, or name of a shipped bundle.
        agent: Likewise.
        device: Where PyTorch runs both, such as ``cpu``, ``cuda`` or ``auto``.
        request: How to explain.
        trust_code: Whether Python that the classifier's bundle brings or names may be run.
        precision: In which the agent draws.
    """

    classifier: str
    agent: str
    device: str
    request: ExplainRequest
    trust_code: bool = False
    precision: str = "auto"


@dataclass(frozen=True)
class LoadedModels:
    """Names and content versions of the models, and the classes in the classifier's order."""

    classifier: ModelRef
    agent: ModelRef
    classes: tuple[str, ...]


class BatchWorker:
    """A worker that explains images with one pair of models.

    Raises:
        OtherwiseError: if the models cannot be loaded, or do not belong together.
    """

    def __init__(self, order: BatchOrder) -> None:
        self._explainer = load_explainer(
            order.classifier, order.agent, order.device, order.trust_code, precision=order.precision
        )
        self._request = order.request

    @property
    def models(self) -> LoadedModels:
        """Return the models that this worker holds."""
        classifier, agent = self._explainer.classifier, self._explainer.agent
        return LoadedModels(
            ModelRef(classifier.name, classifier.version), ModelRef(agent.name, agent.version), classifier.classes
        )

    def explain(
        self, image: FoundImage, out: Path, progress: Callable[[str, float], None] = lambda stage, part: None
    ) -> Failure | None:
        """Explain one image; return its errors instead of raising them.

        Args:
            image: The image.
            out: The explanation's folder, which appears whole or not at all; an older one is replaced.
            progress: Called with the stage and the share of this image that is done.

        Returns:
            Why there is no explanation; None: it has been written.
        """
        try:
            source = read_for_explanation(self._explainer, image, self._request)
            explanation = explain_request(self._explainer, source, self._request, progress)
            write_explanation(explanation, out, replace=True)
        except Exception as error:  # of one image; the others are not affected
            return Failure.of(error)
        return None
