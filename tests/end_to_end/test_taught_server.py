"""Teach the shipped models through a real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from otherwise.demo.client import session
from otherwise.demo.server import server
from otherwise.demo.setup import Setup
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from support import forked_python

pytestmark = pytest.mark.long

SPICULATED = {"scheme": "SCT", "code": "129742005"}
CIRCUMSCRIBED = {"scheme": "SCT", "code": "129738007"}


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    for phantom in mammograms(seed=2_718, count=12, settings=MammogramSettings()):
        write_image(phantom.image, folder / f"{phantom.attributes['margin']}-{phantom.image.id}.nrrd")
    return folder


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path, "test", None, "mammogram_classifier", "mammogram_agent", device="cpu")


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with session() as made:
        yield made


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Ask until the answer is true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)
    return answer


def test_a_few_names_make_reports_finer(setup: Setup, studies: Path, client: requests.Session) -> None:
    images = sorted(path.stem for path in studies.glob("*.nrrd"))
    with server(setup, studies, forked_python.start) as running:
        running.wait_until_ready()
        url = f"{running.url}/otherwise"

        def explain(image: str) -> dict[str, Any]:
            asked = {"image": image, "output": "json"}
            reply = client.post(f"{running.url}/infer/explain", params=asked, data={"params": "{}"}, timeout=300)
            assert reply.ok, reply.text
            return dict(reply.json())

        def learned(labels: int) -> Any:
            state = client.get(f"{url}/concepts", timeout=60).json()
            return state if state["state"] == "ready" and state["labels"] == labels else None

        explained = {image: explain(image) for image in images[:8]}
        assert all(content["concepts"] is None for content in explained.values())
        until(lambda: client.get(f"{url}/concepts", timeout=60).json()["explained"] == 8)

        (question,) = client.get(f"{url}/concepts/questions?strategy=influence", timeout=60).json()["questions"]
        assert question["image"] in images
        for number, content in enumerate(explained.values()):
            term = SPICULATED if content["image"]["id"].startswith("spiculated") else CIRCUMSCRIBED
            body = {"kind": "name", "explanation": content["id"], "region": {"label": 1}, "term": term}
            reply = client.post(f"{url}/annotations", json=body, timeout=60)
            assert reply.status_code == 201, reply.text
            assert reply.json()["number"] == number + 1
        state = until(lambda: learned(8))
        assert state["named_share"] > 0.5

        # Images that nobody said anything about. Which of them eight labels are enough for differs between machines.
        unseen = [explain(image) for image in images[8:]]

        def content_of(id: str) -> dict[str, Any]:
            return dict(client.get(f"{url}/explanations/{id}", timeout=60).json())

        def first_named() -> tuple[dict[str, Any], str] | None:
            """Return what is said of an unseen image and its report, both of the same state of learning."""
            contents = [content_of(new["id"]) for new in unseen]
            named = [new for new in contents if any(region["concept"] for region in new["regions"])]
            assert named
            assert all(new["concepts"]["named_share"] > 0 for new in named)
            report = client.get(f"{url}/explanations/{named[0]['id']}/report.html", timeout=60).text
            learned_on = content_of(named[0]["id"])["concepts"]["version"] != named[0]["concepts"]["version"]
            return None if learned_on else (named[0], report)

        new, report = until(first_named)
        assert "What it shows" in report
        assert "named by" in report
        pdf = client.get(f"{url}/explanations/{new['id']}/report.pdf", timeout=60).content
        assert pdf[:5] == b"%PDF-"
