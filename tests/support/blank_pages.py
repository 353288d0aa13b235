"""Report pages without anything on them, for tests of the other DICOM objects.

Drawing the pages takes two thirds of the time that writing all objects takes. Tests that look at what is drawn do
without this fixture.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from otherwise.explain.explanation import Explanation

A4_INCHES = (8.27, 11.69)


def draw_blank_pages(explanation: Explanation, dots_per_inch: float) -> Iterator[np.ndarray]:
    """Yield two white pages of the size that ``otherwise.report.pdf.draw_pages`` gives them."""
    width, height = (int(inches * dots_per_inch) for inches in A4_INCHES)
    for _ in range(2):
        yield np.full((height, width, 3), 255, np.uint8)


@pytest.fixture
def blank_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pages among the DICOM objects blank."""
    monkeypatch.setattr("otherwise.report.dicom.secondary_capture.draw_pages", draw_blank_pages)
