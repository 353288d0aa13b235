"""The report as PDF: two pages whose words can be searched, for planes and volumes, valid or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from pypdf import PdfReader

from otherwise.explain.explanation import Explanation, Seen
from otherwise.images.image import Geometry, Image
from otherwise.report.paper import A4, WIDTH
from otherwise.report.pdf import ROWS, write_pdf
from otherwise.report.words import probability

Explain = Callable[..., Explanation]


def text_of(path: Path) -> str:
    """Every word of a PDF, without line breaks."""
    return " ".join(" ".join(page.extract_text() for page in PdfReader(path).pages).split())


@pytest.mark.parametrize("dimension", [2, 3])
def test_it_says_what_the_page_says(explain: Explain, tmp_path: Path, dimension: int) -> None:
    explanation = explain(dimension)
    path = write_pdf(explanation, tmp_path / "report.pdf")
    assert len(PdfReader(path).pages) == 2
    text = text_of(path)
    for words in ("Which regions decide", "How this was made", explanation.target, "not for clinical decision"):
        assert words in text
    assert explanation.classifier.version[:40] in text
    for ends in ("darker", "brighter", "against", "towards"):
        assert ends in text, "the ends of a colour bar"
    for answer in (explanation.prediction, explanation.minimal, explanation.counterfactual):
        for value in answer.probabilities.values():
            assert probability(value) in text
    assert [item.name for item in tmp_path.iterdir()] == ["report.pdf"]


def test_no_heading_of_a_picture_reaches_the_next_one(explain: Explain, tmp_path: Path) -> None:
    explanation = explain()
    found = replace(explanation.counterfactual, valid=False)
    for shown in (explanation, replace(explanation, counterfactual=found)):
        page = PdfReader(write_pdf(shown, tmp_path / "report.pdf")).pages[0]
        sizes: dict[str, float] = {}
        page.extract_text(visitor_text=lambda text, cm, tm, font, size, sizes=sizes: sizes.update({text.strip(): size}))
        headings = [text for text in sizes if text.endswith(" minus original")]
        assert headings
        for heading in headings:
            bold = FontProperties(weight="bold")
            across = TextPath((0, 0), heading, size=sizes[heading], prop=bold).get_extents().x1
            assert across < A4[0] * 72 * WIDTH / 3, "three pictures in a row"


@pytest.mark.parametrize("dimension", [2, 3])
def test_regions_have_an_area_in_a_plane_and_a_volume_in_space(
    explain: Explain, tmp_path: Path, dimension: int
) -> None:
    text = text_of(write_pdf(explain(dimension), tmp_path / "report.pdf"))
    assert ("Area" in text, " mm²" in text) == (dimension == 2,) * 2
    assert ("Volume" in text, " mm³" in text) == (dimension == 3,) * 2


def test_an_invalid_counterfactual_is_called_so(explain: Explain, tmp_path: Path) -> None:
    explanation = explain()
    found = replace(explanation.counterfactual, valid=False)
    text = text_of(write_pdf(replace(explanation, counterfactual=found, notes=("Look twice.",)), tmp_path / "r.pdf"))
    assert "No change was found" in text
    assert "Look twice." in text


def test_many_classes_are_left_out_but_never_those_that_matter(explain: Explain, tmp_path: Path) -> None:
    explanation = explain()
    others = {f"finding {number}": 0.001 * number for number in range(12)}
    probabilities = {**others, **explanation.prediction.probabilities}
    prediction = replace(explanation.prediction, probabilities=probabilities)
    path = write_pdf(replace(explanation, prediction=prediction), tmp_path / "r.pdf")
    first = " ".join(PdfReader(path).pages[0].extract_text().split())
    assert "8 less probable classes are left out" in first
    assert "finding 11" in first
    assert "finding 7" not in first


@pytest.mark.parametrize("dimension", [2, 3])
def test_it_shows_what_the_classifier_saw(explain: Explain, tmp_path: Path, dimension: int) -> None:
    def pictures(explanation: Explanation, name: str) -> int:
        pages = PdfReader(write_pdf(explanation, tmp_path / name)).pages  # each page names the pictures of all
        return len({picture.name for page in pages for picture in page.images})

    blind = explain(dimension)
    edges = (24, 16, 12) if dimension == 3 else (24, 16, 1)
    grey = np.random.default_rng(0).random((1, *edges)).astype(np.float32)
    image = Image(grey, Geometry(edges, np.eye(4)), "seen", dimension)
    explanation = replace(blind, seen=Seen(image, (-5.0, 70.0), 0.25, 0.0, "rows,columns"))
    text = text_of(write_pdf(explanation, tmp_path / "seen.pdf"))
    assert "As the classifier sees it" in text
    assert "black at -5 and white at 70; 25 % of the voxels are darker" in text
    assert "As the classifier sees it" not in text_of(write_pdf(blind, tmp_path / "blind.pdf"))
    assert pictures(explanation, "a.pdf") == pictures(blind, "b.pdf") + 1


def test_many_regions_and_none_fit_on_the_page(explain: Explain, tmp_path: Path) -> None:
    explanation = explain()
    many = tuple(replace(explanation.regions[0], label=number) for number in range(1, ROWS + 4))
    text = text_of(write_pdf(replace(explanation, regions=many), tmp_path / "many.pdf"))
    assert "3 weaker regions are left out" in text
    text = text_of(write_pdf(replace(explanation, regions=()), tmp_path / "none.pdf"))
    assert "No region was found that decides" in text
