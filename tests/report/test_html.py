"""The page is whole, safe to open, and tells what the explanation tells."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from otherwise.explain.explanation import Explanation, PathPoint, Prediction
from otherwise.images.atomic import WriteError
from otherwise.images.image import Geometry, Image
from otherwise.report.cards import cards
from otherwise.report.html import render_report, write_report
from otherwise.report.panels import Panels

Explain = Callable[..., Explanation]
EVIL = '<script>alert("x")</script>&$\\frac{1}{0}$'


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.hidden = 0
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("dimension", [2, 3])
def test_page_brings_everything_along(explain: Explain, tmp_path: Path, dimension: int) -> None:
    path = write_report(explain(dimension), tmp_path / "new" / "report.html")
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert "http:" not in html
    assert "https:" not in html
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), f"{tag} refers to {value[:80]}"
    assert not re.search(r"url\((?!#)", html)
    assert not re.search(r"@import", html)
    assert all("alt" in image for image in page.all("img"))


def test_answer_stands_first(explain: Explain) -> None:
    text = Page(render_report(explain())).text
    assert "The model says malignant (0.93). It would say benign (0.59) if 3.1 % of the image" in text
    assert "not for clinical decision" in text
    assert "below the reconstruction floor" in text


def test_first_pictures_show_the_change_that_the_headline_names(explain: Explain) -> None:
    explanation = explain()
    full, minimal = explanation.counterfactual, replace(explanation.minimal, valid=False)
    for shown, other, changed in (
        (explanation, "Full counterfactual", ("Minimal change", explanation.minimal)),
        (replace(explanation, minimal=minimal), "Minimal change: none found", ("Full counterfactual", full)),
        (replace(explanation, regions=()), "Minimal change", ("Full counterfactual", full)),
    ):
        page, (title, found) = render_report(shown), changed
        text = Page(page).text
        assert f"It would say benign ({found.probabilities['benign']:.2f})" in text
        titles = re.findall(r"<figcaption>\s*<h3>([^<]*)</h3>", page)[:6]
        assert titles == ["Original", title, f"{title} minus original", "Measured effect", "Decisive regions", other]


def test_minimal_change_is_shown_as_its_own_difference(explain: Explain) -> None:
    explanation = explain()
    volumes, panels = explanation.volumes, Panels(explanation)
    shown = cards(explanation, panels)[2]
    minimal = volumes.minimal.with_array(volumes.minimal.array - volumes.original.array)
    assert shown.panels == panels.change(minimal, shown.panels[0].alt)
    assert shown.panels != panels.change(volumes.difference, shown.panels[0].alt)


def test_every_region_is_in_the_table(explain: Explain) -> None:
    explanation = explain()
    first, second = explanation.regions
    many = (first, *(replace(second, label=label, effect=-label / 100) for label in range(2, 31)))
    page = render_report(replace(explanation, regions=many))
    rows = re.findall(r"<tr[^>]*>\s*<th scope=\"row\" data-label=\"No.\">(\d+)</th>", page)
    assert rows == [str(label) for label in range(1, 31)]
    text = Page(page).text
    assert "mass with spiculated margin" in text
    assert "no name" in text
    assert "no evidence" in text
    assert "−0.30" in text


def test_outlines_carry_the_regions_numbers_and_mark_what_is_no_evidence(explain: Explain) -> None:
    html = render_report(explain())
    assert set(re.findall(r'class="number"[^>]*>(\d+)<', html)) == {"1", "2"}
    assert 'class="line weak"' in html


@pytest.mark.parametrize("dimension", [2, 3])
def test_path_is_shown_step_by_step_with_its_probabilities(explain: Explain, dimension: int) -> None:
    explanation = explain(dimension)
    html = render_report(explanation)
    film = html[html.index('<ol class="film">') :]
    assert film.count("<li") == len(explanation.path)
    assert film.count('class="flipped"') == 4
    assert len(re.search(r'data-positions="([^"]*)"', html).group(1).split()) == len(explanation.path)


def test_volumes_are_shown_in_three_planes(explain: Explain) -> None:
    text = Page(render_report(explain(3))).text
    for plane in ("axial", "coronal", "sagittal"):
        assert text.count(f"{plane}, slice") == 6


def test_invalid_counterfactual_is_announced(explain: Explain) -> None:
    valid = explain()
    banner = "No change was found for which the model changes its mind; below is the nearest attempt"
    assert banner not in render_report(valid)
    found = replace(valid.counterfactual, valid=False, probabilities={"benign": 0.41, "malignant": 0.59})
    text = Page(render_report(replace(valid, counterfactual=found, minimal=replace(valid.minimal, valid=False)))).text
    assert banner in text
    assert "It would say" not in text


def test_names_are_never_markup(explain: Explain) -> None:
    explanation = explain()
    evil = {EVIL: 0.9, "benign": 0.1}
    region = replace(explanation.regions[0], concept={"name": EVIL, "code": EVIL, "confidence": 1.0})
    html = render_report(
        replace(
            explanation,
            image_id=EVIL,
            target=EVIL,
            prediction=Prediction("benign", evil),
            classifier=replace(explanation.classifier, name=EVIL, version=EVIL),
            agent=replace(explanation.agent, name=EVIL),
            counterfactual=replace(explanation.counterfactual, probabilities=evil),
            minimal=replace(explanation.minimal, probabilities=evil),
            path=tuple(PathPoint(point.strength, evil) for point in explanation.path),
            regions=(region,),
            notes=(EVIL,),
            created=EVIL,
        )
    )
    assert "<script>alert" not in html
    assert len(Page(html).all("script")) == 1
    assert EVIL in Page(html).text


def test_nothing_changed_and_nothing_decides_is_still_a_page(explain: Explain) -> None:
    explanation = explain()
    volumes, original = explanation.volumes, explanation.volumes.original
    nothing = original.with_array(np.zeros_like(original.array))
    none = replace(explanation.counterfactual, valid=False, changed_fraction=0.0, l1=0.0)
    html = render_report(
        replace(
            explanation,
            regions=(),
            alternatives=(),
            path=explanation.path[:1],
            counterfactual=none,
            volumes=replace(
                volumes,
                counterfactual=original,
                difference=nothing,
                effect=nothing,
                regions=original.with_array(np.zeros(original.array.shape, np.uint8)),
                path=(original,),
                alternatives=(),
            ),
        )
    )
    assert "No region was found that decides" in html


def test_large_images_are_reduced(explain: Explain) -> None:
    explanation = explain()
    volumes = explanation.volumes
    repeated = {
        name: enlarged(getattr(volumes, name), 12)
        for name in ("original", "counterfactual", "difference", "effect", "floor", "regions", "minimal")
    }
    large = replace(volumes, **repeated, path=(repeated["original"],), alternatives=())
    html = render_report(replace(explanation, volumes=large, path=explanation.path[:1], alternatives=()))
    widths = [png_width(uri) for uri in re.findall(r"data:image/png;base64,([^\"]+)", html)]
    assert 256 < max(widths) <= 800


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are a POSIX matter")
def test_full_disk_leaves_the_former_report(explain: Explain, tmp_path: Path) -> None:
    import resource

    path = tmp_path / "report.html"
    path.write_text("former", encoding="utf-8")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(WriteError, match=r"report\.html"):
            write_report(explain(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text(encoding="utf-8") == "former"
    assert list(tmp_path.iterdir()) == [path]


def enlarged(image: Image, factor: int) -> Image:
    """The same picture with every pixel repeated."""
    array = image.array.repeat(factor, axis=1).repeat(factor, axis=2)
    affine = image.geometry.affine @ np.diag([1 / factor, 1 / factor, 1, 1])
    return Image(array, Geometry(array.shape[1:], affine), image.id, image.dimension)


def png_width(encoded: str) -> int:
    """Read the width from a PNG's header."""
    return int.from_bytes(base64.b64decode(encoded[:64])[16:20], "big")
