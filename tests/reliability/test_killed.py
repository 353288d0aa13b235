"""A server that is killed at any instant has lost nothing that it acknowledged, and is soon back.

Two kills here; the full hundred: ``OTHERWISE_KILLS=100 OTHERWISE_START_SECONDS=15 pytest -s`` with this file.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import numpy as np
import psutil
import pytest
from killing import CLASSIFIER, SHIPPED_AGENT, Crowd, Promises, instants, two_pairs

from otherwise.demo.server import server
from otherwise.demo.setup import Setup
from support import forked_python

KILLS = int(os.environ.get("OTHERWISE_KILLS", "2"))
START_SECONDS = float(os.environ.get("OTHERWISE_START_SECONDS", "60"))
"""From exec to ready. On a quiet machine 15; whatever else runs on that of the tests is not the server's fault."""
START_CPU_SECONDS = 15.0
"""The same as work that the start takes, which depends less on what else runs."""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes are killed otherwise there")
def test_nothing_acknowledged_is_lost_however_often_the_server_is_killed(studies: Path, tmp_path: Path) -> None:
    setup = Setup(tmp_path, "test", None, CLASSIFIER, SHIPPED_AGENT, device="cpu")
    images, pairs = sorted(path.stem for path in studies.glob("*.nrrd")), two_pairs(tmp_path / "state")
    promises, seeds, seconds, work = Promises(), count(), [], []
    for instant in (*instants(KILLS), None):
        with server(setup, studies, forked_python.start) as running:
            seconds.append(running.wait_until_ready())
            times = psutil.Process(running.process.pid).cpu_times()
            work.append(times.user + times.system)
            assert promises.broken(running.url) == []
            if instant is not None:
                Crowd(running, images, pairs, promises, seeds).kill_after(instant)
            assert "Traceback" not in running.log.read_text(encoding="utf-8")
    counts = ", ".join(f"{number} {kind}" for kind, number in promises.counts.items())
    print(
        f"{KILLS} kills, promised: {counts}; start p50 {np.median(seconds):.1f} s, longest {max(seconds):.1f} s", end=""
    )
    print(f" ({max(work):.1f} s of CPU), load {os.getloadavg()[0]:.0f}")
    assert promises.counts["jobs"]
    assert promises.counts["notes"]
    assert max(work) < START_CPU_SECONDS
    assert max(seconds) < START_SECONDS
