"""Studies and servers that something happens to."""

from __future__ import annotations

from pathlib import Path

import pytest

from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A few mammograms, as the shipped models look at them."""
    folder = tmp_path / "studies"
    for phantom in mammograms(seed=1_618, count=3, settings=MammogramSettings()):
        write_image(phantom.image, folder / f"{phantom.image.id}.nrrd")
    return folder
