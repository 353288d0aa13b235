"""What readers say of regions, and what the server makes of it: several findings, doubts, differences, and a search."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from otherwise.blackbox.hosts.pytorch import module_host
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.concepts.units import AGENT
from otherwise.images.reading import read_image
from otherwise.report.folder import read_explanation
from support.square_models import SquareClassifier, eager_agent
from support.teachable_server import SPICULATED, TeachableServer, teachable_server

CALCIFIED = {"scheme": "DCM", "code": "111459", "meaning": "Mass with calcifications"}
CIRCUMSCRIBED = {"scheme": "SCT", "code": "129738007", "meaning": "Circumscribed lesion"}


@pytest.fixture
def server(tmp_path: Path, app_class: Any) -> Iterator[TeachableServer]:
    with teachable_server(tmp_path, app_class) as running:
        yield running


def say(by: TeachableServer, explanation: str, term: dict[str, str] | None, kind: str = "name", **more: object) -> Any:
    body = {"kind": kind, "explanation": explanation, "region": {"label": 1}, "author": "Ada", **more}
    reply = by.say(**body, **({"term": term} if term else {}))
    assert reply.status_code == 201, reply.text
    return reply.json()["annotation"]


def findings(by: TeachableServer, explanation: str) -> list[tuple[str, float, str, bool]]:
    by.settle()
    region = by.get(f"/explanations/{explanation}")["regions"][0]
    return [(f["name"], f["confidence"], f["evidence"], f["disputed"]) for f in region["findings"]]


def test_one_region_has_several_findings_and_all_of_them_are_reported(server: TeachableServer) -> None:
    id = server.explain("image-00")["id"]
    say(server, id, SPICULATED)
    say(server, id, CALCIFIED)
    assert findings(server, id) == [
        ("Mass with calcifications", 1.0, "said", False),
        ("Spiculated lesion", 1.0, "said", False),
    ]
    page = server.client.get(f"/otherwise/explanations/{id}/report.html").text
    assert "Mass with calcifications" in page
    assert "Spiculated lesion" in page
    say(server, id, CIRCUMSCRIBED)  # excludes spiculated, not the calcifications
    assert [name for name, *_ in findings(server, id)] == ["Circumscribed lesion", "Mass with calcifications"]


def test_two_readers_who_differ_stand_side_by_side(server: TeachableServer) -> None:
    id = server.explain("image-00")["id"]
    say(server, id, SPICULATED)
    say(server, id, CIRCUMSCRIBED, author="Grace")
    assert findings(server, id) == [
        ("Circumscribed lesion", 0.5, "said", True),
        ("Spiculated lesion", 0.5, "said", True),
    ]


def test_an_uncertain_word_is_shown_as_one(server: TeachableServer) -> None:
    id = server.explain("image-00")["id"]
    say(server, id, SPICULATED, certain=False)
    assert findings(server, id) == [("Spiculated lesion", 0.5, "said", False)]


def test_who_cannot_tell_is_not_asked_again_and_the_region_has_no_name(server: TeachableServer) -> None:
    first, second = (server.explain(f"image-{number:02d}")["id"] for number in range(2))
    say(server, first, None, kind="cannot-tell")
    assert findings(server, first) == []
    asked = server.get("/concepts/questions?strategy=random&count=10")["questions"]
    assert {question["explanation"] for question in asked} == {second}


def test_not_this_is_an_answer(server: TeachableServer) -> None:
    id = server.explain("image-00")["id"]
    say(server, id, SPICULATED)
    say(server, id, SPICULATED, kind="not-this")
    assert findings(server, id) == []


def test_an_explanation_that_somebody_disagrees_with_is_not_asked_about_again(server: TeachableServer) -> None:
    first, second = (server.explain(f"image-{number:02d}")["id"] for number in range(2))
    server.say(kind="disagree", explanation=first)
    server.settle()
    asked = server.get("/concepts/questions?strategy=random&count=10")["questions"]
    assert {question["explanation"] for question in asked} == {second}


@pytest.mark.parametrize(
    ("kind", "more", "word"),
    [
        ("not-this", {"region": {"label": 1}}, "term"),
        ("not-this", {"term": SPICULATED}, "region"),
        ("cannot-tell", {}, "region"),
    ],
)
def test_half_an_answer_is_refused_in_one_line(
    server: TeachableServer, kind: str, more: dict[str, Any], word: str
) -> None:
    id = server.explain("image-00")["id"]
    reply = server.say(kind=kind, explanation=id, **more)
    assert reply.status_code == 422
    assert word in reply.json()["detail"]


def test_what_was_taken_back_cannot_be_taken_back_again_but_a_repeat_does_no_harm(server: TeachableServer) -> None:
    id = server.explain("image-00")["id"]
    note = say(server, id, SPICULATED)
    undo = {"kind": "withdraw", "withdraws": note["id"], "author": "Ada", "id": "c" * 32}
    assert [server.say(**undo).status_code for _ in range(2)] == [201, 201]
    again = server.say(**{**undo, "id": "d" * 32})
    assert again.status_code == 409
    assert "already" in again.json()["detail"]
    assert server.get("/annotations")["head"] == 2


def test_a_region_that_is_named_while_an_earlier_version_is_in_use_has_its_new_name(server: TeachableServer) -> None:
    first, second = (server.explain(f"image-{number:02d}")["id"] for number in range(2))
    say(server, first, {"meaning": "early"})
    server.settle()
    say(server, first, {"meaning": "between"})
    server.settle()
    assert server.client.post("/otherwise/concepts/activate", json={"version": 1}).status_code == 200
    note = say(server, second, {"meaning": "later"})
    assert [name for name, *_ in findings(server, first)] == ["early"]
    assert [name for name, *_ in findings(server, second)] == ["later"]
    server.say(kind="withdraw", withdraws=note["id"], author="Ada")
    assert findings(server, second) == []


def test_regions_are_found_by_what_they_show(server: TeachableServer) -> None:
    first, second = (server.explain(f"image-{number:02d}")["id"] for number in range(2))
    say(server, first, SPICULATED)
    server.settle()
    found = server.get("/concepts/search?words=spiculated lesion")
    assert [region["explanation"] for region in found["regions"]] == [first]
    by_kind = server.get("/concepts/search?scheme=SCT&code=129788004")  # every mass
    assert by_kind["total"] == 1
    for address in ("?words=no+such+thing", "?scheme=SCT&code=0", ""):
        assert server.client.get(f"/otherwise/concepts/search{address}").status_code == 422
    (alike,) = server.get(f"/concepts/similar?explanation={second}&label=1&count=1")["regions"]
    assert alike["explanation"] == first
    assert alike["findings"][0]["term"]["meaning"] == "Spiculated lesion"
    assert server.client.get("/otherwise/concepts/similar?explanation=nothing&label=1").status_code == 404


def test_the_report_shows_similar_cases_with_their_names_a_click_away(server: TeachableServer) -> None:
    first, second = (server.explain(f"image-{number:02d}")["id"] for number in range(2))
    say(server, first, SPICULATED)
    server.settle()
    page = server.client.get(f"/otherwise/explanations/{second}/report.html").text
    alike = page[page.index("Similar cases") :]
    assert f'href="../{first}/report.html"' in alike
    assert "Spiculated lesion" in alike[: alike.index("</section>")]
    assert server.client.get(f"/otherwise/explanations/{second}/report.pdf").content.startswith(b"%PDF")


def test_all_findings_are_one_table(server: TeachableServer) -> None:
    first, second = (server.explain(f"image-{number:02d}")["id"] for number in range(2))
    say(server, first, SPICULATED)
    server.settle()
    rows = list(csv.DictReader(io.StringIO(server.client.get("/otherwise/concepts/table.csv").text)))
    assert {row["explanation"] for row in rows} == {first, second}
    named = [row for row in rows if row["meaning"] == "Spiculated lesion"]
    assert [row["explanation"] for row in named] == [first]
    assert float(named[0]["effect"]) > 0


def test_what_was_taught_says_who_agrees_and_what_is_doubtful(server: TeachableServer) -> None:
    server.explain("image-00")
    server.settle()
    concepts = server.get("/concepts")
    assert (concepts["doubtful"], concepts["agreement"], concepts["warnings"]) == ([], [], [])


@pytest.mark.parametrize("place", [(0.0, 0.0), (1.0, 1.0), (0.02, 0.9), (0.5, 0.5)])
def test_a_patch_of_a_unit_shows_the_image_and_nothing_beyond_its_border(
    app_class: Any, place: tuple[float, float]
) -> None:
    from lib.teaching.unit_patches import drawn

    mask = np.zeros((40, 24), bool)
    i, j = (min(round(share * edge), edge - 1) for share, edge in zip(place, mask.shape, strict=True))
    mask[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4] = True
    picture = np.asarray(Picture.open(io.BytesIO(drawn(np.full((1, 40, 24), 0.8, np.float32), place, mask))))
    grey = picture[(picture == picture[..., :1]).all(axis=-1)]
    assert grey.min() >= 200
    assert (picture[..., 0] > picture[..., 2] + 100).any(), "what the unit answers to is outlined"


def test_what_a_unit_answers_to_is_outlined_on_the_image_beside_the_region(server: TeachableServer) -> None:
    id = server.explain("image-00")["id"]
    server.settle()
    reply = server.client.post("/otherwise/concepts/query", json={"explanation": id, "region": {"label": 1}})
    unit = reply.json()["units"][0]["unit"]
    address = f"/otherwise/concepts/units/{unit}/contour.png"
    picture = server.client.get(address, params={"explanation": id, "label": 1})
    assert picture.headers["content-type"] == "image/png"
    colours = np.asarray(Picture.open(io.BytesIO(picture.content))).reshape(-1, 3).tolist()
    for colour in ([230, 159, 0], [86, 180, 233]):
        assert colour in colours
    whole = np.asarray(Picture.open(io.BytesIO(server.client.get(address, params={"explanation": id}).content)))
    assert [86, 180, 233] not in whole.reshape(-1, 3).tolist(), "no region was asked about"
    for wrong in ({"explanation": id, "label": 99}, {"explanation": "nothing"}):
        assert server.client.get(address, params=wrong).status_code == 404
    nowhere = "/otherwise/concepts/units/layer9/0/contour.png"
    assert server.client.get(nowhere, params={"explanation": id}).status_code == 404


def test_what_a_unit_answers_to_is_a_segmentation_on_the_images_own_grid(
    server: TeachableServer, tmp_path: Path
) -> None:
    id = server.explain("image-00")["id"]
    server.settle()
    reply = server.client.post("/otherwise/concepts/query", json={"explanation": id, "region": {"label": 1}})
    best = reply.json()["units"][0]
    address = f"/otherwise/concepts/units/{best['unit']}/mask.seg.nrrd"
    file = tmp_path / "mask.seg.nrrd"
    file.write_bytes(server.client.get(address, params={"explanation": id, "label": 1}).content)
    mask = read_image(file)
    folder = server.app.teaching.host.store.folder(id)
    regions = read_explanation(folder).volumes.regions
    assert mask.geometry.same_as(read_image(tmp_path / "studies" / "image-00.nrrd").geometry)
    region, found = regions.array[0] == 1, mask.array[0] > 0
    assert (region & found).sum() / (region | found).sum() == pytest.approx(best["overlap"], abs=1e-3)
    assert f"Segment0_Name:={best['unit']}".encode() in file.read_bytes()
    for wrong in ({"explanation": id, "label": 99}, {"explanation": "nothing", "label": 1}):
        assert server.client.get(address, params=wrong).status_code == 404


def test_units_are_the_classifiers_where_it_can_be_read_and_else_the_agents(app_class: Any) -> None:
    from types import SimpleNamespace

    from lib.teaching.activation_cache import ActivationCache

    readable = module_host(small_network(), ClassifierSpec("open", "1" * 64, ("a", "b"), InputSpec((32, 32))))
    closed = SquareClassifier(InputSpec((32, 32)))
    for classifier, layer, version in (
        (readable, "", f"{readable.version}:"),
        (readable, AGENT, f"{eager_agent(closed).version}:"),
        (closed, "", f"{eager_agent(closed).version}:"),
    ):
        explainer = SimpleNamespace(agent=eager_agent(closed))
        host = SimpleNamespace(classifier=classifier, explainer=explainer)
        found = ActivationCache(host, layer, lambda seconds: False).reader  # type: ignore[arg-type]
        assert found is not None
        assert found.version.startswith(version)


def small_network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.Conv2d(4, 8, 3, stride=2, padding=1),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 2),
    ).eval()
