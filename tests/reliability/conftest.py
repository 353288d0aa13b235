"""Studies and servers that something happens to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from support import app_in_process
from support.fake_explainer import FakeExplainer, plane

Serve = Callable[..., AbstractContextManager[tuple[TestClient, Any]]]


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A few mammograms, as the shipped models look at them."""
    folder = tmp_path / "studies"
    for phantom in mammograms(seed=1_618, count=3, settings=MammogramSettings()):
        write_image(phantom.image, folder / f"{phantom.image.id}.nrrd")
    return folder


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Opens the server in this process, with a fake explainer and two images; can be called again."""
    studies = tmp_path / "planes"
    for name, seed, brightness in (("dark", 1, 0.1), ("bright", 2, 0.7)):
        write_image(plane(seed, brightness), studies / f"{name}.nrrd")

    @contextmanager
    def start(**conf: str) -> Iterator[tuple[TestClient, Any]]:
        conf = {"state": str(tmp_path / "state"), "device": "cpu", **conf}
        with app_in_process.open_app(app_in_process.app_class(), studies, conf, FakeExplainer()) as made:
            yield made

    return start
