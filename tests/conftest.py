"""The shipped models behind a real server in a process of its own, started once for all tests."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, settings

import support.lean_monai  # noqa: F401

# isort: split
from otherwise.demo.client import session
from otherwise.demo.server import server
from otherwise.demo.setup import Setup
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from support import forked_python

pytest_plugins = ["support.blank_pages", "support.parallel"]

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REAL_DICOM = Path(__file__).resolve().parents[2] / "shared" / "data" / "dicom"
OBLIQUE = np.array([[0.28, -0.96, 0, 12.5], [0.96, 0.28, 0, -7.0], [0, 0, 1.5, 3.25], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Served:
    """The server under test."""

    url: str
    studies: Path
    log: Path
    session: requests.Session

    def infer(self, model: str, params: str = "{}", **arguments: Any) -> requests.Response:
        query = {key: arguments.pop(key) for key in ("image", "session_id", "output") if key in arguments}
        url = f"{self.url}/infer/{model}"
        return self.session.post(url, params=query, data={"params": params}, timeout=300, **arguments)

    def get(self, address: str) -> requests.Response:
        return self.session.get(self.url + address, timeout=60)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    out = tmp_path_factory.mktemp("served")
    studies = out / "studies"
    for phantom in mammograms(seed=31_415, count=3, settings=MammogramSettings()):
        write_image(phantom.image, studies / f"{phantom.image.id}.nrrd")
    oblique = next(mammograms(seed=31_416, count=1, settings=MammogramSettings())).image
    write_image(Image(oblique.array, Geometry(oblique.geometry.shape, OBLIQUE), "oblique", 2), studies / "oblique.nrrd")
    volume = np.random.default_rng(0).uniform(size=(1, 16, 16, 5)).astype(np.float32)
    write_image(Image(volume, Geometry((16, 16, 5), np.eye(4))), studies / "volume.nrrd")
    colours = np.concatenate([oblique.array, 0.5 * oblique.array, 0.2 * oblique.array])
    write_image(Image(colours, oblique.geometry, "colours", 2), studies / "colours.nrrd")

    setup = Setup(out, "test", None, "mammogram_classifier", "mammogram_agent", device="cpu")
    with server(setup, studies, forked_python.start) as running, session() as client:
        running.wait_until_ready()
        yield Served(running.url, studies, running.log, client)


@pytest.fixture(scope="session")
def real_dicom() -> Path:
    if not REAL_DICOM.is_dir():
        pytest.skip(f"no real DICOM files in ../shared/data/dicom ({REAL_DICOM} is not there)")
    return REAL_DICOM


@pytest.fixture
def otherwise() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as a user does."""

    def run(*words: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from otherwise.cli import main; main()", *map(str, words)]
        return forked_python.run(command, timeout)

    return run


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]
