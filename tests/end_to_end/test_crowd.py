"""Eight people explain at once, and everything else the server offers is still answered at once.

A few seconds here; ``otherwise benchmark crowd --seconds 600`` takes the time that figures need.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from otherwise.demo.setup import Setup
from otherwise.evaluation.server.crowd import PROBES, measure_crowd

pytestmark = pytest.mark.long


@pytest.mark.slow
def test_everything_answers_while_eight_clients_explain(tmp_path: Path) -> None:
    setup = Setup(tmp_path / "out", "phantoms", None, "mammogram_classifier", "mammogram_agent", "cpu", once=True)
    figures = measure_crowd(setup, 8, 8, Console(quiet=True))
    print(figures.waits)

    assert figures.explained > 0
    assert figures.failed == 0
    assert set(figures.waits) == {*PROBES, "all"}
    # An explanation takes seconds: a server that waits for one shows here, however busy the machine of the tests is.
    slow = {name: waits for name, waits in figures.waits.items() if waits.p50 > 0.2 or waits.p99 > 1}
    assert not slow
