"""Choose and load the classifier and the agent of a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from otherwise.agent.bundle import Agent
    from otherwise.blackbox.protocol import BlackBox


_PHANTOMS = ("mammogram", "nodule")
"""Kinds of phantoms with a shipped pair; the IDs of phantoms begin with the kind."""


def choose_pair(image: Path, classifier: str | None, agent: str | None) -> tuple[str, str]:
    """Return the classifier and the agent for an image.

    By default, phantoms are explained by their shipped pair, and shipped classifiers by their shipped agent.

    Args:
        image: File or folder.
        classifier: Folder or name; None: not given.
        agent: Folder or name; None: not given.

    Raises:
        BadParameter: if there is no default for this image.
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
    """Return the kind of a phantom in a folder of ``otherwise phantoms``; None for other images."""
    image = image.resolve()
    for folder in (image, *image.parents[:2]):
        truths = folder / "truth"
        if truths.is_dir():
            name = next((item.name for item in sorted(truths.iterdir()) if (item / "truth.json").is_file()), "")
            kind = name.partition("-")[0]
            return kind if kind in _PHANTOMS else None
    return None


def load_pair(classifier: str, agent: str, device: str, trust_code: bool = False) -> tuple[BlackBox, Agent]:
    """Load both onto one device. PyTorch is imported here, so that the command line starts quickly.

    Raises:
        OtherwiseError: see ``load_classifier`` and ``load_agent``.
    """
    from otherwise.agent.bundle import load_agent
    from otherwise.blackbox.loading import load_classifier

    return load_classifier(classifier, device=device, trust_code=trust_code), load_agent(agent, device=device)
