from __future__ import annotations

import pytest

from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.phantoms.nodule import NoduleSettings, nodules
from otherwise.phantoms.phantom import Phantom


@pytest.fixture(scope="session")
def twelve_mammograms() -> list[Phantom]:
    return list(mammograms(7, 12, MammogramSettings(confound=0.5)))


@pytest.fixture(scope="session")
def twelve_nodules() -> list[Phantom]:
    return list(nodules(7, 12, NoduleSettings(confound=0.5)))


@pytest.fixture(scope="session", params=["mammogram", "nodule"])
def phantoms(
    request: pytest.FixtureRequest, twelve_mammograms: list[Phantom], twelve_nodules: list[Phantom]
) -> list[Phantom]:
    return twelve_mammograms if request.param == "mammogram" else twelve_nodules
