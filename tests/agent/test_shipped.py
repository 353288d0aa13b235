"""Every shipped agent belongs to a shipped classifier, and its card's command would make such a one again."""

from __future__ import annotations

import pytest

from otherwise import resources
from otherwise.agent.bundle import load_agent
from otherwise.blackbox.loading import find_bundle, load_classifier

AGENTS = [name for name in resources.shipped_bundles() if name.endswith("_agent")]


@pytest.mark.parametrize("name", AGENTS)
def test_a_shipped_agent_is_what_its_card_says(name: str) -> None:
    agent, classifier = load_agent(name), load_classifier(name.replace("_agent", "_classifier"))
    assert agent.classifier_version == classifier.version
    assert agent.model.architecture.size == tuple(classifier.inputs.size)
    card = (find_bundle(name) / "docs" / "README.md").read_text()
    assert f"--classifier {classifier.name}" in card
    assert (f"--student-noise {agent.student_noise:g}" in card) == (agent.student_noise > 0)
