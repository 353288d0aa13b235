"""What an explanation shows, in words, numbers and pictures: as given, unknown last, and nothing that runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from otherwise.annotations.region import RegionError, RegionMask
from otherwise.annotations.vocabulary import Term, load_vocabulary
from otherwise.explain.explanation import ConceptEntry, Concepts, Explanation
from otherwise.images.image import Geometry, Image
from otherwise.report.examples import SIDE, ExamplePatch, cut_patch
from otherwise.report.explanation_json import explanation_json, schema
from otherwise.report.folder import read_explanation, write_explanation
from otherwise.report.html import render_report, write_report
from otherwise.report.pdf import ROWS, write_pdf
from otherwise.report.similar import SimilarCase

Explain = Callable[..., Explanation]
CASTING = Term("SCT", "129762002", "Fine linear, branching (casting) calcification")
MARKER = Term("99OTHERWISE", "marker", "Marker")
EVIL = '<script>alert("x")</script>&$\\frac{1}{0}$'
LINE, HALO = (94, 230, 255), (11, 14, 19)


@pytest.fixture
def taught(explain: Explain) -> Explain:
    """An explanation of which 62 % has a name, given in an order that no report should keep."""
    entries = (
        ConceptEntry(None, 421, -0.4, 0.031, (), 1.24, 0.38),
        ConceptEntry(CASTING, 18, 3.17, 0.482, (1,), 1.46, 0.45),
        ConceptEntry(MARKER, 0, 0.0, 0.0, (2,), 0.55, 0.17),
    )

    def make(dimension: int = 2, **changes: object) -> Explanation:
        return explain(dimension, **{"concepts": Concepts("27", 0.62, entries), **changes})

    return make


def alike(shown: Explanation, names: tuple[str, ...]) -> SimilarCase:
    mask = RegionMask(shown.volumes.regions.array[0] == 1, shown.volumes.regions.geometry)
    patch = cut_patch(shown.volumes.original, mask, "another-image-with-a-long-name, region 1")
    return SimilarCase(patch, names, "../other/report.html")


def test_similar_cases_stand_beside_each_region_with_their_names_a_click_away(taught: Explain, tmp_path: Path) -> None:
    shown = taught()
    similar = {1: [alike(shown, ("Calcified nodule", "Well defined")), alike(shown, (EVIL,))], 2: [alike(shown, ())]}
    html = render_report(shown, similar=similar)
    found = re.search(r'<section aria-labelledby="similar">.*?</section>', html, re.DOTALL)
    assert found
    assert found.group().count('<a href="../other/report.html"><img src="data:image/png') == 3
    assert "Region 1 Calcified nodule, Well defined another-image" in plain(found.group())
    assert "no name" in plain(found.group())
    assert "<script>alert" not in html
    assert "Similar cases" not in render_report(shown)
    write_pdf(shown, tmp_path / "report.pdf", similar=similar)
    text = " ".join(" ".join(page.extract_text() for page in PdfReader(tmp_path / "report.pdf").pages).split())
    assert "Similar cases" in text
    assert "Calcified nodule, Well defined" in text
    assert "another-image-with-a-long-name, region 1" in text


def test_captions_and_names_are_whole_on_paper(taught: Explain, tmp_path: Path) -> None:
    shown = taught()
    long = Term("99LOCAL", "long", "A finding that somebody has found a great many words for, long")
    assert shown.concepts is not None
    entries = (replace(shown.concepts.entries[1], term=long, regions=tuple(range(1, 12))),)
    title = "A finding that somebody has found many words for, named by Dr Augusta Ada Byron"
    patch = replace(alike(shown, ()).patch, title=title)
    shown = replace(shown, concepts=replace(shown.concepts, entries=entries))
    write_pdf(shown, tmp_path / "report.pdf", {long.key: [patch] * 3})
    text = " ".join(" ".join(page.extract_text() for page in PdfReader(tmp_path / "report.pdf").pages).split())
    letters = text.replace(" ", "")
    for words in (long.meaning, title, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"):
        assert words.replace(" ", "") in letters
    assert "…" not in text


def section(html: str) -> str:
    """The part of a page about concepts."""
    found = re.search(r'<section aria-labelledby="shows">.*?</section>', html, re.DOTALL)
    assert found
    return found.group()


def plain(html: str) -> str:
    """Without tags, spaces made one."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def rows_of(html: str) -> list[str]:
    """The table's rows as text."""
    body = section(html).partition("<tbody>")[2].partition("</tbody>")[0]
    return [plain(row) for row in body.split("</tr>")[:-1]]


def patch(shade: int, title: str = "case-003") -> ExamplePatch:
    return ExamplePatch(np.full((8, 6), shade, np.uint8), title)


def pages_of(path: Path) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in PdfReader(path).pages]


def test_the_numbers_are_those_given_and_unknown_is_last(taught: Explain) -> None:
    first, second, last = rows_of(render_report(taught()))
    assert first == f"A {CASTING.meaning} SCT 129762002 Region 1 +1.46 45 % 18 +3.17 48 % 1"
    # No unit carries the name: there is no activation and no area to speak of.
    assert second == "B Marker 99OTHERWISE marker Region 2 +0.55 17 % 0 – – 2"
    assert last == "Unknown not named yet no picture +1.24 38 % 421 −0.40 3.1 % –"


def test_the_named_share_stands_in_words_and_as_a_bar(taught: Explain) -> None:
    html = section(render_report(taught()))
    sentence = f"62 % of the decisive change has a name: {CASTING.meaning} (45 %), Marker (17 %). 38 % is unknown."
    assert sentence in plain(html)
    parts = re.findall(r'class="part( unknown)?" style="width:([\d.]+)%', html)
    assert parts == [("", "45.00"), ("", "17.00"), (" unknown", "38.00")]


def test_a_region_with_two_findings_counts_for_both_and_the_bar_still_adds_up(taught: Explain) -> None:
    both = tuple(ConceptEntry(term, 0, 0.0, 0.0, (1,), 2.0, 0.8) for term in (CASTING, MARKER))
    rest = ConceptEntry(None, 400, 0.3, 0.1, (2,), 0.5, 0.2)
    html = section(render_report(taught(concepts=Concepts("3", 0.8, (*both, rest)))))
    parts = [float(width) for _, width in re.findall(r'class="part( unknown)?" style="width:([\d.]+)%', html)]
    assert parts == [40.0, 40.0, 20.0]
    assert "80 % of the decisive change has a name" in plain(html)


def test_what_lies_outside_the_regions_is_said(taught: Explain) -> None:
    whole = taught().concepts
    assert "spread outside" not in render_report(taught())
    text = plain(section(render_report(taught(concepts=replace(whole, in_regions=0.77)))))
    assert "The regions hold 77 % of the effect, the rest is spread outside them. Of what they hold: 62 %" in text


def test_a_name_that_only_units_carry_is_no_finding_of_this_image(taught: Explain) -> None:
    idle = ConceptEntry(CASTING, 18, 3.0, 0.4, (), 0.0, 0.0)
    unknown = ConceptEntry(None, 400, 0.3, 0.1, (1, 2), 3.25, 1.0)
    assert len(rows_of(render_report(taught(concepts=Concepts("3", 0.0, (idle, unknown)))))) == 1


def test_every_finding_of_a_region_is_in_the_table_and_how_it_is_known(taught: Explain, tmp_path: Path) -> None:
    first, second = taught().regions
    known = {"name": "Calcified nodule", "scheme": "X", "code": "1", "confidence": 0.93, "evidence": "finding"}
    finding = {"name": "Lobulated", "scheme": "X", "code": "2", "confidence": 0.5, "evidence": "said", "disputed": True}
    regions = (replace(first, findings=({**known, "disputed": False}, finding)), second)
    explanation = taught(regions=regions)
    text = plain(render_report(explanation))
    assert "Calcified nodule confidence 0.93, learned Lobulated confidence 0.50, readers differ" in text
    paper = " ".join(pages_of(write_pdf(explanation, tmp_path / "r.pdf")))
    assert "Calcified" in paper
    assert "Lobulated" in paper
    again = read_explanation(write_explanation(explanation, tmp_path / "folder"))
    assert again.regions == regions


def test_nothing_named_and_nothing_decisive_are_said_so(taught: Explain) -> None:
    unknown = ConceptEntry(None, 400, 0.3, 0.1, (1, 2), 3.25, 1.0)
    html = render_report(taught(concepts=Concepts("3", 0.0, (unknown,))))
    assert "Nothing of the decisive change has a name yet: all of it is unknown." in html
    assert "Region 1 Region 2" in rows_of(html)[0]
    idle = replace(unknown, regions=(), effect=0.0, share=0.0)
    html = section(render_report(taught(concepts=Concepts("3", 0.0, (idle,)))))
    assert "No region was found that decides" in html
    assert 'class="part' not in html


def test_a_shortcut_is_announced(taught: Explain, tmp_path: Path) -> None:
    warning = "The decision rests 17 % on Marker, which is no feature of a disease."
    assert warning in render_report(taught(), spurious={MARKER.key})
    assert warning not in render_report(taught())
    assert warning in " ".join(pages_of(write_pdf(taught(), tmp_path / "r.pdf", spurious=[MARKER.key])))
    entries = [replace(entry, share=0.0) for entry in taught().concepts.entries]
    unused = Concepts("27", 0.0, tuple(entries))
    assert "The decision rests" not in render_report(taught(concepts=unused), spurious={MARKER.key})


@pytest.mark.parametrize("dimension", [2, 3])
def test_where_nobody_has_taught_the_page_is_what_it_was(taught: Explain, explain: Explain, dimension: int) -> None:
    with_concepts = render_report(taught(dimension))
    without = render_report(explain(dimension), {CASTING.key: [patch(90)]}, {MARKER.key})
    assert without == render_report(explain(dimension))
    assert with_concepts.replace(section(with_concepts), "") == without
    assert "What it shows" not in without


def test_examples_are_shown_instead_of_the_images_own_regions(taught: Explain, tmp_path: Path) -> None:
    given = [patch(shade, f"case-{shade}") for shade in (40, 80, 120, 160)]
    path = write_report(taught(), tmp_path / "report.html", {CASTING.key: given})
    first, second, _ = section(path.read_text(encoding="utf-8")).partition("<tbody>")[2].split("</tr>")[:3]
    assert re.findall(r'src="([^"]*)"', first) == [each.src for each in given[:3]]
    assert all(each.src.startswith("data:image/png;base64,") for each in given)
    assert "case-40 case-80 case-120" in plain(first)
    assert "Region 1" not in first
    assert "Region 2" in second


def test_words_of_others_are_never_markup(taught: Explain, tmp_path: Path) -> None:
    term = Term("99LOCAL", "evil", EVIL)
    entry = ConceptEntry(term, 1, 1.0, 0.5, (1,), 2.0, 1.0)
    concept = {"name": EVIL, "scheme": EVIL, "code": EVIL, "confidence": 1.0}
    evil = taught(concepts=Concepts(EVIL, 1.0, (entry,)), regions=(replace(taught().regions[0], concept=concept),))
    examples = {term.key: [patch(9, EVIL)]}
    html = render_report(evil, examples, {term.key})
    assert "<script>alert" not in html
    assert html.count("<script") == 1
    assert "&lt;script&gt;" in section(html)
    assert "<script>alert" in " ".join(pages_of(write_pdf(evil, tmp_path / "r.pdf", examples, {term.key})))


def test_the_table_of_regions_says_how_sure_a_name_is(taught: Explain, tmp_path: Path) -> None:
    explanation = taught()
    assert "mass with spiculated margin confidence 0.80" in plain(render_report(explanation))
    assert "0.80" in " ".join(pages_of(write_pdf(explanation, tmp_path / "r.pdf")))
    unsure = {"name": "mass", "scheme": None, "code": "mass", "confidence": None}
    first, second = explanation.regions
    html = render_report(replace(explanation, regions=(replace(first, concept=unsure), second)))
    assert "confidence 0" not in html


def test_many_long_names_stay_short_in_the_headline(taught: Explain) -> None:
    first, *_ = taught().regions
    names = sorted((term.meaning for term in load_vocabulary()), key=len)[-12:]
    regions = [
        replace(first, label=label, concept={"name": name, "code": "x", "confidence": 0.9})
        for label, name in enumerate([*names, *names], start=1)
    ]
    assert "and 9 more), looked as shown" in render_report(taught(regions=tuple(regions)))


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_pdf_says_the_same(taught: Explain, tmp_path: Path, dimension: int) -> None:
    text = " ".join(pages_of(write_pdf(taught(dimension), tmp_path / "r.pdf")))
    for words in ("What it shows", "62 % of the decisive change", "Marker", "Unknown", "+1.46", "−0.40", "421"):
        assert words in text
    for word in CASTING.meaning.split():
        assert word in text


def test_many_concepts_and_regions_with_long_names_stay_on_the_paper(taught: Explain, tmp_path: Path) -> None:
    terms = sorted(load_vocabulary(), key=lambda term: len(term.meaning))[-16:]
    named = [ConceptEntry(term, 3, 1.0, 0.2, (1,), 0.2, 0.05) for term in terms]
    unknown = taught().concepts.entries[0]
    first, *_ = taught().regions
    concept = {"name": CASTING.meaning, "scheme": "SCT", "code": CASTING.code, "confidence": 0.9}
    regions = tuple(replace(first, label=label, concept=concept) for label in range(1, ROWS + 4))
    explanation = taught(concepts=Concepts("40", 0.7, (*named, unknown)), regions=regions)

    path = write_pdf(explanation, tmp_path / "long.pdf", spurious={term.key for term in terms[:3]})

    for page in PdfReader(path).pages:
        heights: list[float] = []

        def note(text: str, cm: list[float], tm: list[float], *_: object, into: list[float] = heights) -> None:
            if text.strip():
                into.append(cm[5] + tm[4] * cm[1] + tm[5] * cm[3])

        page.extract_text(visitor_text=note)
        assert min(heights) > 20
    whole_text = " ".join(pages_of(path))
    left_out = int(re.search(r"(\d+) more concepts are left out", whole_text).group(1))
    assert 1 <= left_out <= 5
    assert f"{terms[15 - left_out].scheme} {terms[15 - left_out].code}" in whole_text
    assert f"{terms[16 - left_out].scheme} {terms[16 - left_out].code}" not in whole_text
    assert "The decision rests 15 % on what is no feature of a disease" in whole_text
    assert "3 weaker regions are left out" in whole_text
    assert "How this was made" in whole_text


def test_concepts_come_back_from_the_folder(taught: Explain, tmp_path: Path) -> None:
    concept = {"name": CASTING.meaning, "scheme": "SCT", "code": CASTING.code, "confidence": 0.83}
    first, second = taught().regions
    explanation = taught(regions=(replace(first, concept=concept), second))

    folder = write_explanation(explanation, tmp_path / "one")

    again = read_explanation(folder)
    assert again.concepts == explanation.concepts
    assert again.regions == explanation.regions
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, schema())
    assert "What it shows" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_schema_knows_what_a_region_is_called(taught: Explain) -> None:
    content = explanation_json(taught())
    concept = content["regions"][0]["concept"]
    for change, wrong in [({"scheme": 7}, "7"), ({"confidence": 1.5}, r"1\.5"), ({"meaning": "mass"}, "meaning")]:
        content["regions"][0]["concept"] = {**concept, **change}
        with pytest.raises(jsonschema.ValidationError, match=wrong):
            jsonschema.validate(content, schema())


@st.composite
def grids(draw: st.DrawFn) -> Geometry:
    """Any grid of up to 20 voxels along an axis: turned, mirrored, of unequal spacing, a little oblique."""
    i, j, k = (draw(st.integers(2, 20)) for _ in range(3))
    spacing = [draw(st.floats(0.2, 5.0)) for _ in range(3)]
    axes = draw(st.sampled_from(list(permutations(range(3)))))
    signs = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    angle = draw(st.floats(-0.4, 0.4))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(signs)[list(axes)] @ np.diag(spacing)
    return Geometry((i, j, k), affine)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), geometry=grids(), flat=st.sampled_from([None, 0, 1, 2]))
def test_a_region_lies_wholly_within_its_patch(data: st.DataObject, geometry: Geometry, flat: int | None) -> None:
    """The image's colours are the voxels' own indices, so that every pixel of the patch tells where it is from."""
    box = []
    for axis, count in enumerate(geometry.shape):
        low = data.draw(st.integers(0, count - 1))
        box.append((low, low if axis == flat else data.draw(st.integers(low, count - 1))))
    mask = np.zeros(geometry.shape, bool)
    mask[tuple(slice(low, high + 1) for low, high in box)] = True
    scale = max(geometry.shape) - 1
    image = Image(np.indices(geometry.shape).astype(np.float32), geometry)

    found = cut_patch(image, RegionMask(mask, geometry), "here", (0, scale))

    assert max(found.pixels.shape[:2]) == SIDE
    assert found.pixels.dtype == np.uint8
    drawn = (found.pixels == LINE).all(-1) | (found.pixels == HALO).all(-1)
    assert (found.pixels == LINE).all(-1).any()
    for across in (0, 1):  # along a strip of a pixel or two there is nothing to see but the border
        assume(not drawn.all(axis=across).any())
    places = found.pixels[~drawn] * (scale / 255)
    for axis, (low, high) in enumerate(box):
        constant = np.ptp(places[:, axis]) < 0.5
        if constant and high > low:  # the slice that is shown goes through the region
            assert low - 0.1 <= places[0, axis] <= high + 0.1
        else:
            assert places[:, axis].min() <= low + 0.6
            assert places[:, axis].max() >= high - 0.6


def test_a_plane_is_shown_with_rows_along_j_in_true_proportions() -> None:
    image = Image(
        np.indices((60, 40, 1))[:2].astype(np.float32), Geometry((60, 40, 1), np.diag([1, 2, 1, 1.0])), "x", 2
    )
    shown = image.with_array(np.concatenate([image.array, image.array[:1]]))
    mask = np.zeros((60, 40, 1), bool)
    mask[30, 2:12] = True

    found = cut_patch(shown, RegionMask(mask, image.geometry), "here", (0, 60)).pixels.astype(int)

    assert found.shape == (SIDE, SIDE, 3)
    assert found[0, -1, 0] > found[0, 0, 0]
    assert found[-1, 0, 1] > found[0, 0, 1]
    assert found[-1, 0, 0] == pytest.approx(found[0, 0, 0], abs=1)
    # 30 mm across: 30 voxels along i, 15 along j.
    assert found[0, -1, 0] - found[0, 0, 0] == pytest.approx(29 / 60 * 255, abs=6)
    assert found[-1, 0, 1] - found[0, 0, 1] == pytest.approx(14 / 60 * 255, abs=6)


def test_a_region_drawn_on_a_coronal_slice_is_shown_on_it() -> None:
    geometry = Geometry((24, 20, 16), np.diag([-1.0, -1.0, 1.0, 1.0]))
    array = np.zeros((1, 24, 20, 16), np.float32)
    array[:, :, 7] = 1
    mask = np.zeros(geometry.shape, bool)
    mask[5:15, 7, 4:12] = True

    found = cut_patch(Image(array, geometry), RegionMask(mask, geometry), "here", (0, 1))

    assert (found.pixels[0, 0] == 255).all()
    with pytest.raises(RegionError, match="outside"):
        cut_patch(Image(array[:, :4, :4, :4], Geometry((4, 4, 4), geometry.affine)), RegionMask(mask, geometry), "far")
