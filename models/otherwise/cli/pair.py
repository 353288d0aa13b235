"""The classifier and the agent that a command names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otherwise.agent.bundle import Agent
    from otherwise.blackbox.protocol import BlackBox


def load_pair(classifier: str, agent: str, device: str, trust_code: bool = False) -> tuple[BlackBox, Agent]:
    """Load both onto one device; torch is imported no sooner than that, so that the command line starts quickly.

    Raises:
        OtherwiseError: see ``load_classifier`` and ``load_agent``.
    """
    from otherwise.agent.bundle import load_agent
    from otherwise.blackbox.loading import load_classifier

    return load_classifier(classifier, device=device, trust_code=trust_code), load_agent(agent, device=device)
