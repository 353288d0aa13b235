"""Load a classifier and its agent: the one place for the command line, the server and archive runs."""

from __future__ import annotations

from pathlib import Path

from otherwise.agent.bundle import load_agent
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.agent.precision import Precision
from otherwise.blackbox.loading import load_classifier
from otherwise.explain.explainer import Explainer


def load_explainer(
    classifier: str | Path,
    agent: str | Path,
    device: str = "cpu",
    trust_code: bool = False,
    confidence: float | None = None,
    precision: Precision | str = Precision.AUTO,
) -> Explainer:
    """Load a classifier and its agent onto one device.

    Args:
        classifier: Bundle folder, or name of a shipped bundle.
        agent: Likewise.
        device: Where PyTorch runs both, such as ``cpu``, ``cuda:0`` or ``auto``.
        trust_code: Whether Python that the classifier's bundle brings or names may be run.
        confidence: See ``SearchSettings``.
        precision: In which the agent draws, see ``Precision``.

    Raises:
        OtherwiseError: if one cannot be loaded, or they do not belong together.
    """
    box = load_classifier(classifier, device=device, trust_code=trust_code)
    drawer = load_agent(agent, device=device, precision=precision)
    return Explainer(box, drawer, SearchSettings(confidence=confidence))
