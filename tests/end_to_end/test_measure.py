"""The figures that the README shows come from a real server, under the eyes of a real second client."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from otherwise.demo.setup import Setup
from otherwise.evaluation.server.measure import _again_and_again, measure_server

pytestmark = pytest.mark.long


def test_a_server_is_measured_while_it_explains(tmp_path: Path) -> None:
    setup = Setup(tmp_path / "out", "phantoms", None, "mammogram_classifier", "mammogram_agent", "cpu", once=True)
    figures = measure_server(setup, 1, Console(quiet=True))
    assert figures.images == 1
    assert 0 < figures.explain_seconds_median <= figures.explain_seconds_worst
    assert figures.info_requests >= 1
    assert 0 < figures.info_seconds_p95 < 60
    assert 0.1 < figures.peak_memory_gib < 16


def test_what_goes_wrong_while_measuring_is_not_swallowed() -> None:
    def broken() -> float:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"), _again_and_again(broken):
        pass
