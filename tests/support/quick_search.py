"""Settings of a search that gives up at once, for untrained agents, which would try everything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from otherwise.agent.editing.search_settings import SearchSettings

ONE_ATTEMPT = SearchSettings(
    rounds=1, attempts=SearchSettings().attempts[:1], strengths=(1.0,), farther=(), alternatives=0
)
EXPLAINER = "otherwise.explain.loading.SearchSettings"
"""Where the loader of commands, server and batches makes the settings of a search."""
VALIDATION = "otherwise.agent.training.validation.SearchSettings"
"""Where the validation of a training makes them."""


def quickly_explaining(command: Sequence[object]) -> list[str]:
    """Return a command ``python -c code ...`` as one whose explanations are made by one attempt.

    Args:
        command: The interpreter, ``-c``, the code and its arguments.
    """
    python, option, code, *arguments = map(str, command)
    assert option == "-c"
    quick = (
        "import sys\n"
        f"sys.path.append({str(Path(__file__).parents[1])!r})\n"
        "from unittest import mock\n"
        "from support.quick_search import EXPLAINER, ONE_ATTEMPT\n"
        "mock.patch(EXPLAINER, lambda **_: ONE_ATTEMPT).start()\n"
    )
    return [python, "-c", quick + code, *arguments]


def path_for_other_processes(folder: Path) -> str:
    """Return the part of PYTHONPATH by which processes that start from now on validate trainings by one attempt.

    Python imports ``sitecustomize`` from there when it starts.

    Args:
        folder: New folder for ``sitecustomize.py``.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "from unittest import mock\n"
        "from support.quick_search import ONE_ATTEMPT, VALIDATION\n"
        "mock.patch(VALIDATION, lambda **_: ONE_ATTEMPT).start()\n"
    )
    return os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
