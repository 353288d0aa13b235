"""Teach a real server: name regions, ask and be asked, and see the next report know more."""

from __future__ import annotations

import base64
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otherwise.annotations.annotation import Annotation
from otherwise.images.image import Image
from otherwise.images.reading import read_image
from support.teachable_server import COUNT, SIZE, SPICULATED, TeachableServer, teachable_server

SQUARE = {"polygon": [[4, 4, 0], [12, 4, 0], [12, 12, 0], [4, 12, 0]]}


@pytest.fixture
def server(tmp_path: Path, app_class: Any) -> Iterator[TeachableServer]:
    with teachable_server(tmp_path, app_class) as running:
        yield running


def test_one_name_makes_the_next_report_finer(server: TeachableServer) -> None:
    first, *_ = [server.explain(f"image-{number:02d}") for number in range(6)]
    assert first["regions"]
    assert first["concepts"] is None
    reply = server.say(kind="name", explanation=first["id"], region={"label": 1}, term=SPICULATED, author="Ada")
    assert reply.status_code == 201, reply.text
    assert reply.json()["annotation"]["author"] == "Ada"
    server.settle()

    report = server.get(f"/explanations/{first['id']}")
    concept = report["regions"][0]["concept"]
    assert (concept["name"], concept["scheme"], concept["code"], concept["confidence"]) == (
        "Spiculated lesion", "SCT", "129742005", 1.0,
    )  # fmt: skip
    assert report["concepts"]["named_share"] > 0.5
    assert report["concepts"]["entries"][-1]["term"] is None

    # The same thing in another image is known without anybody having said so.
    other = server.explain(f"image-{COUNT - 1}")
    assert other["regions"][0]["concept"] is not None
    assert other["concepts"]["version"] == "1"
    report = server.client.get(f"/otherwise/explanations/{other['id']}/report.html")
    assert report.status_code == 200

    summary = server.get("/concepts")
    assert summary["labels"] == 1
    assert summary["images"] == COUNT
    (version,) = [v for v in summary["versions"] if v["version"] == 1]
    assert "new:" in version["changed"]
    assert "Spiculated lesion" in version["changed"]


def test_units_answer_to_a_region_and_one_gesture_names_them(server: TeachableServer) -> None:
    server.settle()
    for number in range(6):
        server.explain(f"image-{number:02d}")
    asked = {"image": "image-02", "region": SQUARE, "threshold": 0.0}
    before = server.client.post("/otherwise/concepts/query", json=asked).json()
    assert before["answering"] > 0
    assert before["units"] == sorted(before["units"], key=lambda unit: -unit["overlap"])
    assert before["name"] is None
    chosen = [unit["unit"] for unit in before["units"][:1]]
    named = {"kind": "name", "image": "image-02", "region": SQUARE, "units": chosen}
    reply = server.say(**named, term={"meaning": "bright square"})
    assert reply.status_code == 201, reply.text
    server.settle()
    after = server.client.post("/otherwise/concepts/query", json=asked).json()
    assert after["name"]["term"]["meaning"] == "bright square"
    assert [unit["unit"] for unit in after["units"] if unit["name"]] == chosen
    assert after["units"][0]["votes"][0]["overlap"] == after["units"][0]["overlap"]


def test_a_mask_drawn_anywhere_is_a_region(server: TeachableServer) -> None:
    server.settle()
    mask = np.zeros((10, 8, 1), bool)
    mask[2:8, 2:6] = True
    body = {
        "shape": [10, 8, 1],
        "affine": [[1.0, 0, 0, 3.0], [0, 1.0, 0, 3.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]],
        "voxels": base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode(),
    }
    reply = server.client.post("/otherwise/concepts/query", json={"image": "image-02", "region": body})
    assert reply.status_code == 200, reply.text
    assert reply.json()["voxels"] == 12 * 8  # half the spacing


def test_disagreement_between_people_is_kept_and_shown(server: TeachableServer) -> None:
    server.settle()
    units = [f"layer4/{number}" for number in range(3)]
    for author, words in (("Ada", "one thing"), ("Grace", "quite another")):
        body = {"kind": "name", "image": "image-02", "units": units, "author": author, "term": {"meaning": words}}
        assert server.say(**body).status_code == 201
    server.settle()
    found = {unit["unit"]: unit for unit in server.get("/concepts/units")["units"]}
    assert all(found[unit]["disputed"] for unit in units)
    assert not found["layer4/3"]["disputed"]


def test_what_is_taken_back_is_forgotten_and_stays_in_the_history(server: TeachableServer) -> None:
    first = server.explain("image-00")
    reply = server.say(kind="name", explanation=first["id"], region={"label": 1}, term=SPICULATED, author="Ada").json()
    undo = {"kind": "withdraw", "withdraws": reply["annotation"]["id"], "author": "Ada"}
    assert server.say(**undo).status_code == 201
    server.settle()
    assert server.get(f"/explanations/{first['id']}")["regions"][0]["concept"] is None
    history = server.get("/annotations")
    assert [note["kind"] for note in history["annotations"]] == ["name", "withdraw"]
    assert history["annotations"][0]["withdrawn"] is True
    assert history["head"] == 2
    assert history["annotations"][0]["region"]["voxels"] > 0
    assert server.get("/annotations?since=1")["annotations"][0]["kind"] == "withdraw"


def test_with_few_regions_only_what_was_named_has_a_name(server: TeachableServer) -> None:
    first, other = (server.explain(f"image-{number:02d}") for number in range(2))
    server.say(kind="name", explanation=first["id"], region={"label": 1}, term=SPICULATED)
    server.settle()
    assert server.get(f"/explanations/{first['id']}")["regions"][0]["concept"]["name"] == "Spiculated lesion"
    assert all(region["concept"] is None for region in server.get(f"/explanations/{other['id']}")["regions"])


def test_an_explanation_that_is_gone_is_not_asked_about(server: TeachableServer, tmp_path: Path) -> None:
    import shutil

    first, second = (server.explain(f"image-{number:02d}")["id"] for number in range(2))
    server.settle()
    shutil.rmtree(tmp_path / "state" / "explanations" / first)
    server.say(kind="name", image="image-05", region=SQUARE, term=SPICULATED)  # something to learn from
    server.settle()
    assert server.get("/concepts")["explained"] == 1
    questions = server.get("/concepts/questions?strategy=random&count=2")["questions"]
    assert {question["explanation"] for question in questions} == {second}


def test_a_request_that_is_repeated_is_recorded_once(server: TeachableServer) -> None:
    first = server.explain("image-00")
    body = {"kind": "disagree", "explanation": first["id"], "id": "a" * 32, "comment": "It is the other one."}
    assert [server.say(**body).json()["number"] for _ in range(2)] == [1, 1]
    assert server.say(**{**body, "comment": "Something else."}).status_code == 409


def test_who_asks_right_after_the_first_explanation_is_asked_to_try_again(
    server: TeachableServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib.teaching import learner

    server.settle()
    asked = "/otherwise/concepts/questions?strategy=random"
    nothing_yet = server.client.get(asked)
    assert (nothing_yet.status_code, nothing_yet.json()["detail"]) == (422, "No image has been explained yet.")

    read = threading.Event()
    fit_snapshot = learner.fit_snapshot
    monkeypatch.setattr(learner, "fit_snapshot", lambda *args: (read.wait(60), fit_snapshot(*args))[1])
    explained = server.explain("image-00")
    too_early = server.client.get(asked)
    assert (too_early.status_code, too_early.json()["error"]) == (503, "not-yet")

    read.set()
    server.settle()
    (question,) = server.get("/concepts/questions?strategy=random")["questions"]
    assert question["explanation"] == explained["id"]


def test_questions_are_asked_with_a_reason_and_in_the_stock_form(server: TeachableServer) -> None:
    explained = {server.explain(f"image-{number:02d}")["id"] for number in range(4)}
    server.settle()
    for strategy in ("random", "uncertainty", "influence", "granularity"):
        (question,) = server.get(f"/concepts/questions?strategy={strategy}")["questions"]
        assert question["explanation"] in explained
        assert question["reason"]
    stock = server.client.post("/activelearning/influence", json={}).json()
    assert stock["id"].startswith("image-0")
    assert stock["reason"]
    assert stock["explanation"] in explained
    two = server.get("/concepts/questions?count=2")["questions"]
    assert len({question["explanation"] for question in two}) == 2


def test_before_anything_was_explained_the_stock_strategy_gives_any_image(server: TeachableServer) -> None:
    assert server.client.post("/activelearning/influence", json={}).json()["id"].startswith("image-")


def test_going_back_to_an_earlier_version_and_forward_again(server: TeachableServer) -> None:
    first = server.explain("image-00")
    server.say(kind="name", explanation=first["id"], region={"label": 1}, term={"meaning": "early"})
    server.settle()
    server.say(kind="name", explanation=first["id"], region={"label": 1}, term={"meaning": "late"})
    server.settle()

    def name() -> str:
        server.settle()
        return server.get(f"/explanations/{first['id']}")["regions"][0]["concept"]["name"]

    assert name() == "late"
    assert server.client.post("/otherwise/concepts/activate", json={"version": 1}).status_code == 200
    assert name() == "early"
    assert server.get("/concepts")["active"] is False
    assert server.client.post("/otherwise/concepts/activate", json={"version": "latest"}).status_code == 200
    assert name() == "late"
    assert server.client.post("/otherwise/concepts/activate", json={"version": 99}).status_code == 404


def test_spurious_things_are_listed_as_shortcuts(server: TeachableServer) -> None:
    first = server.explain("image-00")
    server.say(
        kind="name", explanation=first["id"], region={"label": 1}, term={"scheme": "99OTHERWISE", "code": "marker"}
    )
    server.settle()
    (shortcut,) = server.get("/concepts")["shortcuts"]
    assert shortcut["term"]["meaning"] == "Marker"
    assert shortcut["share_of_images"] == 1.0


def test_names_can_be_learned_on_request_as_stock_clients_train(server: TeachableServer) -> None:
    first = server.explain("image-00")
    server.say(kind="name", explanation=first["id"], region={"label": 1}, term=SPICULATED)
    reply = server.client.post("/train/concepts").json()
    server.settle()
    assert reply["status"] in ("DONE", "RUNNING")
    assert server.client.post("/train/concepts").json()["version"] == "1"


def test_units_have_a_map_and_pictures(server: TeachableServer) -> None:
    server.settle()
    units = server.get("/concepts/units")["units"]
    assert len(units) == 40
    assert all(len(unit["place"]) == 2 for unit in units)
    picture = server.client.get(f"/otherwise/concepts/units/{units[0]['unit']}/patches/0.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content[:4] == b"\x89PNG"
    marks = {"mark": [unit["unit"] for unit in units[:5]]}
    drawn = [server.client.get("/otherwise/concepts/map.png", params=each) for each in ({}, marks)]
    assert [reply.content[:4] for reply in drawn] == [b"\x89PNG"] * 2
    assert drawn[0].content != drawn[1].content, "units that answer are ringed"
    assert server.client.get("/otherwise/concepts/units/layer2/99/patches/0.png").status_code == 404
    assert server.client.get("/otherwise/concepts/units/layer2/0/patches/99.png").status_code == 404


def test_the_vocabulary_lists_what_is_a_kind_of_what(server: TeachableServer) -> None:
    terms = {(t["scheme"], t["code"]): t for t in server.get("/vocabulary")["terms"]}
    assert terms["SCT", "129742005"]["parent"] == {"scheme": "99OTHERWISE", "code": "mass-margin"}
    assert terms["99OTHERWISE", "marker"]["spurious"] is True


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"kind": "name", "image": "nowhere", "region": {"label": 1}, "term": SPICULATED}, 404, "nowhere"),
        ({"kind": "name", "region": {"label": 1}, "term": SPICULATED}, 422, "Neither"),
        ({"kind": "name", "image": "image-00", "region": {"label": [1, 2]}, "term": SPICULATED}, 422, "explanation"),
        ({"kind": "name", "image": "image-00", "region": {"label": 1}, "term": SPICULATED}, 422, "explanation"),
        ({"kind": "name", "image": "image-00", "region": {"polygon": [[900, 900, 0], [910, 900, 0], [910, 910, 0]]},
          "term": SPICULATED}, 422, "outside"),
        ({"kind": "name", "image": "image-00", "region": {"polygon": [[1, 1, 0], [2, 2, 0], [3, 3, 0]]},
          "term": SPICULATED}, 422, "line"),
        ({"kind": "name", "image": "image-00", "region": {"polygon": [[4, 4, 0], [12, 4, 0], [12, 12, 0]]},
          "term": {"scheme": "SCT", "code": "0"}}, 422, "no term"),
        ({"kind": "name", "image": "image-00", "region": {"polygon": [[4, 4, 0], [12, 4, 0], [12, 12, 0]]}},
         422, "term"),
        ({"kind": "shout", "image": "image-00"}, 422, "kind"),
        ({"kind": "withdraw", "withdraws": "b" * 32}, 404, "no annotation"),
        ({"kind": "name", "image": "image-00", "path": "/etc/passwd"}, 422, "path"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line_and_nothing_is_kept(
    server: TeachableServer, body: dict[str, Any], status: int, word: str
) -> None:
    reply = server.say(**body)
    assert reply.status_code == status, reply.text
    assert word in reply.json()["detail"]
    assert reply.json()["hint"]
    assert server.get("/annotations")["annotations"] == []


def test_an_explanation_of_superseded_models_is_not_named(server: TeachableServer, tmp_path: Path) -> None:
    first = server.explain("image-00")
    file = tmp_path / "state" / "explanations" / first["id"] / "explanation.json"
    file.write_text(file.read_text().replace("1" * 64, "3" * 64))
    reply = server.say(kind="name", explanation=first["id"], region={"label": 1}, term=SPICULATED)
    assert reply.status_code == 409
    assert "Explain the image again" in reply.json()["hint"]


def test_only_its_author_takes_a_word_back(server: TeachableServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.storage.owners import Caller, NotYoursError
    from lib.teaching.annotation_requests import AnnotationRequest, make_annotation
    from otherwise.tokens import Role

    note = Annotation(author="Ada", kind="disagree", image="image-00", explanation="e")
    server.app.teaching.record(note)
    body = AnnotationRequest(kind="withdraw", withdraws=note.id)

    def nobody(id: str) -> Image:
        raise AssertionError(id)

    with pytest.raises(NotYoursError):
        make_annotation(body, server.app.teaching, "Grace", nobody, Caller("Grace", Role.ANNOTATOR))
    own = make_annotation(body, server.app.teaching, "Ada", nobody, Caller("Ada", Role.ANNOTATOR))
    assert own.withdraws == note.id
    any_ones = make_annotation(body, server.app.teaching, "Grace", nobody, Caller("Grace", Role.ADMIN))
    assert any_ones.withdraws == note.id


def test_other_clients_see_names_as_ordinary_labels(server: TeachableServer) -> None:
    recorded = server.say(kind="name", image="image-02", region=SQUARE, term=SPICULATED)
    server.settle()
    datastore = server.app.datastore()
    assert datastore.get_labels_by_image_id("image-02") == {"otherwise": "image-02"}
    reply = server.client.get("/datastore/label", params={"label": "image-02", "tag": "otherwise"})
    assert reply.status_code == 200
    (info,) = datastore.get_label_info("image-02", "otherwise")["label_info"]
    assert info["name"] == "Spiculated lesion"
    labels = read_image(Path(datastore.get_label_uri("image-02", "otherwise")))
    assert np.unique(labels.array).tolist() == [0, info["idx"]]
    assert labels.geometry.shape == (*SIZE, 1)
    inside = labels.geometry.to_ras(np.argwhere(labels.array[0] > 0))[:, :2]
    assert 4 <= inside.min() < 5
    assert 11 < inside.max() <= 12
    server.say(kind="withdraw", withdraws=recorded.json()["annotation"]["id"])
    server.settle()
    assert not Path(datastore.get_label_uri("image-02", "otherwise") or "/nowhere").exists()


def test_two_readers_at_once_lose_nothing(server: TeachableServer) -> None:
    first = server.explain("image-00")
    replies = []

    def read(author: str) -> None:
        for number in range(8):
            term = {"meaning": f"{author} {number}"}
            replies.append(
                server.say(kind="name", explanation=first["id"], region={"label": 1}, term=term, author=author)
            )

    threads = [threading.Thread(target=read, args=(author,)) for author in ("Ada", "Grace")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status_code for reply in replies] == [201] * 16
    assert sorted(reply.json()["number"] for reply in replies) == [*range(1, 17)]
    assert len(server.get("/annotations")["annotations"]) == 16


def test_a_version_that_knows_less_is_used_and_warned_of(tmp_path: Path) -> None:
    from lib.teaching.versions import Version, Versions

    def version(number: int, accuracy: float | None) -> Version:
        return Version(number, "2026-11-22T08:00:00+00:00", number, 0.5, accuracy, ("Mass",), "+1 label.")

    versions = Versions(tmp_path)
    versions.take(version(10, 0.9))
    versions.take(version(11, 0.85))
    assert versions.warning() == ""
    versions.take(version(12, 0.5))
    assert "0.85 to 0.50" in versions.warning()
    assert versions.chosen is None, "nothing is frozen in silence"
    versions.choose(10, "Somebody chose it.", since=12)
    versions.take(version(15, 0.95))
    assert (Versions(tmp_path).chosen, Versions(tmp_path).since) == (10, 12)  # also after a restart
    assert [each.version for each in Versions(tmp_path).all()] == [15, 12, 11, 10]
    (tmp_path / "versions.jsonl").open("a").write('{"version": 16, "cre')  # killed while it wrote
    assert len(Versions(tmp_path).all()) == 4


def test_what_an_earlier_release_froze_in_silence_is_in_use_again(tmp_path: Path) -> None:
    from lib.teaching.versions import Versions

    frozen = '{"version": 11, "reason": "Held-out accuracy fell from 0.85 to 0.50 with version 12.", "insisted": false}'
    (tmp_path / "active.json").write_text(frozen)
    assert Versions(tmp_path).chosen is None
