"""A small forest for suites of a few tiny images."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otherwise.evaluation.benchmark import realism


@pytest.fixture(scope="module", autouse=True)
def few_trees(request: pytest.FixtureRequest) -> Iterator[None]:
    """Use fewer trees to tell textures apart; ``test_realism.py`` uses all of them."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.path.name.startswith("test_realism"):
            patch.setattr(realism, "TREES", 20)
        yield
