"""The routes for teaching, before servers that lie, lose their place, or answer what nobody asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from OtherwiseLib.client.client import Client
from OtherwiseLib.client.errors import ServerError
from OtherwiseLib.client.teaching import TeachingClient
from OtherwiseLib.logic.vocabulary import in_order, term_for
from support.fake_teaching_server import MARGIN, SPICULATED, TERMS, FakeTeachingServer

if TYPE_CHECKING:
    from conftest import BadServer

SAID = {"id": "0" * 32, "kind": "disagree", "explanation": "one"}


@pytest.fixture
def client(bad_server: BadServer) -> TeachingClient:
    return TeachingClient(Client(bad_server.url))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"number": 1, "annotation": SAID}),
        (202, {"number": 1, "annotation": SAID}),
        (201, {}),
        (201, {"number": "1", "annotation": SAID}),
        (201, {"number": 1}),
        (201, {"number": 1, "annotation": {**SAID, "id": "1" * 32}}),
    ],
)
def test_only_a_201_with_number_and_id_counts_as_saved(
    client: TeachingClient, bad_server: BadServer, status: int, body: dict
) -> None:
    bad_server.on("/otherwise/annotations", lambda visit: visit.json(body, status))
    with pytest.raises(ServerError) as caught:
        client.annotate(SAID)
    assert (caught.value.kind, caught.value.status) == ("broken", 0)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (
            422,
            {"error": "region", "detail": "The region is empty.", "hint": "Draw."},
            "refused",
            "The region is empty.",
        ),
        (403, {"error": "not-yours", "detail": "Somebody else said that."}, "refused", "Somebody else said that."),
        (403, {"error": "forbidden", "detail": "No."}, "unauthorised", "The server needs a login."),
        (401, {"error": "unauthorized", "detail": "No."}, "unauthorised", "The server needs a login."),
        (503, {"error": "not-yet", "detail": "Units are being gathered."}, "busy", "Units are being gathered."),
        (500, {}, "refused", "The server refused (500)."),
    ],
)
def test_refusals_are_shown_in_the_servers_words(
    client: TeachingClient, bad_server: BadServer, status: int, body: dict, kind: str, message: str
) -> None:
    bad_server.on("/otherwise/annotations", lambda visit: visit.json(body, status))
    with pytest.raises(ServerError) as caught:
        client.annotate(SAID)
    assert (caught.value.kind, caught.value.detail) == (kind, message)


@pytest.mark.parametrize(
    ("route", "call", "body"),
    [
        ("vocabulary", lambda c: c.vocabulary(), {"terms": [{"meaning": "x"}]}),
        ("concepts", lambda c: c.concepts(), {"state": 1, "concepts": [], "versions": [], "strategies": []}),
        ("concepts", lambda c: c.concepts(), {"state": "ready", "concepts": [7], "versions": [], "strategies": []}),
        ("concepts/questions", lambda c: c.questions("x", 1), {"questions": [{"image": "a"}]}),
        ("concepts/query", lambda c: c.query({}, 0.2), {"units": {}}),
        ("annotations", lambda c: c.annotations(), {"head": 9, "annotations": [{"number": 0, "id": "", "kind": ""}]}),
        ("explanations/one", lambda c: c.explanation("one"), {"regions": None}),
    ],
)
def test_answers_that_make_no_sense_are_errors_in_words(
    client: TeachingClient, bad_server: BadServer, route: str, call: Any, body: dict
) -> None:
    bad_server.on(f"/otherwise/{route}", lambda visit: visit.json(body))
    with pytest.raises(ServerError) as caught:
        call(client)
    assert caught.value.kind == "broken"


def test_a_long_history_comes_page_by_page(client: TeachingClient, bad_server: BadServer) -> None:
    teaching_server = FakeTeachingServer()
    bad_server.on("/", teaching_server)
    for number in range(5):
        client.annotate({**SAID, "id": f"{number:032x}"})
    assert [note["number"] for note in client.annotations()] == [1, 2, 3, 4, 5]
    assert client.annotate({**SAID, "id": f"{0:032x}"})["number"] == 1, "a repeat is not recorded twice"
    assert len(teaching_server.notes) == 5


def test_patches_end_where_the_server_has_no_more(
    client: TeachingClient, bad_server: BadServer, tmp_path: Path
) -> None:
    bad_server.on("/", FakeTeachingServer())
    found = client.patches("layer3/17", 6, tmp_path)
    assert [path.read_bytes()[:4] for path in found] == [b"\x89PNG"] * 4
    for unit in ("../annotations", "layer3/17/patches/0.png?", "layer3", ".hidden/3"):
        with pytest.raises(ServerError):
            client.patches(unit, 1, tmp_path)


def test_the_hierarchy_puts_each_term_below_its_parent_and_bears_circles() -> None:
    entries = in_order(TERMS)
    assert [(entry.meaning, entry.depth) for entry in entries] == [
        ("Mammographic breast mass", 0),
        ("Mass by margin", 1),
        ("Spiculated lesion", 2),
        ("Burned-in marker", 0),
    ]
    orphan = {**MARGIN, "parent": {"scheme": "X", "code": "unknown"}}
    assert [entry.depth for entry in in_order([orphan])] == [0]
    circle = [{**MARGIN, "parent": SPICULATED}, {**SPICULATED, "parent": MARGIN}]
    assert in_order(circle) == [], "nobody can choose them, and nothing hangs"


@pytest.mark.parametrize(
    ("text", "index", "term"),
    [
        ("        Spiculated lesion", 2, SPICULATED),
        ("  spiculated LESION ", -1, SPICULATED),
        ("something  else", 2, {"meaning": "something else"}),
        ("   ", -1, None),
    ],
)
def test_what_is_typed_is_a_term_of_the_vocabulary_or_ones_own_words(text: str, index: int, term: Any) -> None:
    assert term_for(text, in_order(TERMS), index) == term
