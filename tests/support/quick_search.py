"""Settings of a search that gives up at once, for untrained agents, which would try everything."""

from __future__ import annotations

from otherwise.agent.editing.search import SearchSettings

ONE_ATTEMPT = SearchSettings(rounds=1, attempts=SearchSettings().attempts[:1], strengths=(1.0,), alternatives=0)
EXPLAINER = "otherwise.explain.loading.SearchSettings"
"""Where the loader of commands, server and batches makes the settings of a search."""
VALIDATION = "otherwise.agent.training.validation.SearchSettings"
"""Where the validation of a training makes them."""
