"""The report as PDF: two pages whose words can be searched, for planes and volumes, valid or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pypdf import PdfReader

from otherwise.explain.explanation import Explanation
from otherwise.report.pdf import ROWS, write_pdf

Explain = Callable[..., Explanation]


def text_of(path: Path) -> str:
    """Every word of a PDF, without line breaks."""
    return " ".join(" ".join(page.extract_text() for page in PdfReader(path).pages).split())


@pytest.mark.parametrize("dimension", [2, 3])
def test_it_says_what_the_page_says(explain: Explain, tmp_path: Path, dimension: int) -> None:
    explanation = explain(dimension)
    path = write_pdf(explanation, tmp_path / "report.pdf")
    assert len(PdfReader(path).pages) == 2
    told = text_of(path)
    for words in ("Which regions decide", "How this was made", explanation.target, "not for clinical decision"):
        assert words in told
    assert explanation.classifier.version[:40] in told
    assert [item.name for item in tmp_path.iterdir()] == ["report.pdf"]


def test_an_invalid_counterfactual_is_called_so(explain: Explain, tmp_path: Path) -> None:
    explanation = explain()
    found = replace(explanation.counterfactual, valid=False)
    told = text_of(write_pdf(replace(explanation, counterfactual=found, notes=("Look twice.",)), tmp_path / "r.pdf"))
    assert "No change was found" in told
    assert "Look twice." in told


def test_many_regions_and_none_fit_on_the_page(explain: Explain, tmp_path: Path) -> None:
    explanation = explain()
    many = tuple(replace(explanation.regions[0], label=number) for number in range(1, ROWS + 4))
    told = text_of(write_pdf(replace(explanation, regions=many), tmp_path / "many.pdf"))
    assert "3 weaker regions are left out" in told
    told = text_of(write_pdf(replace(explanation, regions=()), tmp_path / "none.pdf"))
    assert "No region was found that decides" in told
