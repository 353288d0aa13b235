"""The classifier and the agent that a command names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from otherwise.agent.bundle import Agent
    from otherwise.blackbox.protocol import BlackBox


_PHANTOMS = ("mammogram", "nodule")
"""Kinds of our phantoms for which a pair is shipped; their ids begin so."""


def choose_pair(image: Path, classifier: str | None, agent: str | None) -> tuple[str, str]:
    """Return the classifier and the agent for an image.

    Without a classifier, the shipped pair is taken for a phantom of ours, and only for one. Without an agent, that of
    a shipped classifier is.

    Args:
        image: File or folder.
        classifier: As given.
        agent: As given.

    Raises:
        BadParameter: if one has to be given.
    """
    if classifier is None:
        kind = _phantom_kind(image)
        if kind is None:
            raise typer.BadParameter("Give --classifier and --agent. Shipped ones are in the list of otherwise models.")
        classifier = f"{kind}_classifier"
    if agent is None:
        if not classifier.endswith("_classifier") or Path(classifier).name != classifier:
            raise typer.BadParameter("Give --agent, which is trained for that classifier.")
        agent = f"{classifier.removesuffix('_classifier')}_agent"
    return classifier, agent


def _phantom_kind(image: Path) -> str | None:
    """Return the kind of a phantom that lies where ``otherwise phantoms`` wrote it; None: it is something else."""
    image = image.resolve()
    for folder in (image, *image.parents[:2]):
        truths = folder / "truth"
        if truths.is_dir():
            name = next((item.name for item in sorted(truths.iterdir()) if (item / "truth.json").is_file()), "")
            kind = name.partition("-")[0]
            return kind if kind in _PHANTOMS else None
    return None


def load_pair(classifier: str, agent: str, device: str, trust_code: bool = False) -> tuple[BlackBox, Agent]:
    """Load both onto one device; torch is imported no sooner than that, so that the command line starts quickly.

    Raises:
        OtherwiseError: see ``load_classifier`` and ``load_agent``.
    """
    from otherwise.agent.bundle import load_agent
    from otherwise.blackbox.loading import load_classifier

    return load_classifier(classifier, device=device, trust_code=trust_code), load_agent(agent, device=device)
