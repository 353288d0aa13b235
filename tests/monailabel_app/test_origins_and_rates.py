"""Which web pages may use the server, and how often anybody may ask it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from otherwise.errors import OtherwiseError
from otherwise.tokens import Role, add_token
from support.app_in_process import open_app

if TYPE_CHECKING:
    from conftest import Running

VIEWER = "https://viewer.example:8443"
EVIL = "https://evil.example"
PER_WINDOW = 10


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    return {"file": str(file), **{name: add_token(file, name, Role.READER) for name in ("Rea", "Leo")}}


@pytest.fixture(scope="module")
def client(
    running: Running, app_class: Any, tokens: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    root = tmp_path_factory.mktemp("pages")
    (root / "studies").mkdir()
    conf = {"state": str(root / "state"), "device": "cpu", "origins": VIEWER, "rate": "1", "tokens": tokens["file"]}
    with open_app(app_class, root / "studies", conf, type(running.explainer)()) as (client, _):
        yield client


def test_a_page_that_was_named_may_read_answers(client: TestClient) -> None:
    reply = client.get("/otherwise/health", headers={"Origin": VIEWER})

    assert reply.headers["Access-Control-Allow-Origin"] == VIEWER
    assert "X-Request-ID" in reply.headers["Access-Control-Expose-Headers"]


def test_a_page_that_was_named_may_ask_what_it_may_send(client: TestClient) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}
    reply = client.options("/session/", headers={"Origin": VIEWER, **asked})

    assert reply.status_code == 200
    assert reply.headers["Access-Control-Allow-Origin"] == VIEWER


@pytest.mark.parametrize("origin", [EVIL, "null", "http://viewer.example:8443", f"{VIEWER}.evil.example", "file://"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_any_other_page_is_refused_whatever_it_asks_for(client: TestClient, method: str, origin: str) -> None:
    asked = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
    reply = client.request(method, "/otherwise/health", headers={"Origin": origin, **asked})

    assert (reply.status_code, reply.json()["error"]) == (403, "forbidden")
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_the_servers_own_pages_and_programs_need_no_name(client: TestClient) -> None:
    assert client.get("/otherwise/health", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    assert client.get("/otherwise/health").status_code == 200


def test_who_asks_too_often_waits_and_nobody_else(client: TestClient, tokens: dict[str, str]) -> None:
    def ask(name: str) -> Any:
        return client.get("/otherwise/studies", headers={"Authorization": f"Bearer {tokens[name]}"})

    replies = [ask("Rea") for _ in range(PER_WINDOW)]
    while replies[-1].status_code == 200 and len(replies) < 10 * PER_WINDOW:  # a slow machine asks more slowly
        replies.append(ask("Rea"))

    assert {reply.status_code for reply in replies[:-1]} == {200}
    assert (replies[-1].status_code, replies[-1].json()["error"]) == (429, "too-often")
    assert 1 <= int(replies[-1].headers["Retry-After"]) <= 10
    assert ask("Leo").status_code == 200


@pytest.mark.parametrize(
    "conf",
    [{"origins": "*"}, {"origins": "viewer.example"}, {"origins": f"{VIEWER}/page"}, {"rate": "-1"}, {"rate": "often"}],
)
def test_slips_are_told(running: Running, conf: dict[str, str]) -> None:
    with pytest.raises(OtherwiseError):
        importlib.import_module("lib.settings.options").Options.read(conf, "studies")


def test_rates_hold_where_people_log_in(running: Running) -> None:
    def read(**conf: str) -> Any:
        return importlib.import_module("lib.settings.options").Options.read(conf, "studies")

    assert read().rate_limit is None
    assert read(rate="3").rate_limit == 3
    assert read(tokens="tokens.txt").rate_limit == 20
    assert read(tokens="tokens.txt", rate="0").rate_limit is None
    assert read(tokens="tokens.txt").tokens == Path("tokens.txt").absolute()
