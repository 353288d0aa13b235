"""A classifier of patches behind the real server: finds over HTTP, and a find explained in its place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
import torch

from otherwise.agent.bundle import write_agent
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.demo.client import session
from otherwise.demo.server import server
from otherwise.demo.setup import Setup
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from support import forked_python
from support.quick_search import quickly_explaining
from support.square_models import architecture

pytestmark = pytest.mark.long


class Middle(torch.nn.Module):
    """Logits by the brightness of the central half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = images[:, 0, 4:12, 4:12].flatten(1).mean(1)
        return torch.stack([10 * (0.5 - level), 10 * (level - 0.5)], dim=1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, requests.Session]]:
    """The address of a server whose only image has one bright box in dark, uneven surroundings."""
    out = tmp_path_factory.mktemp("finding")
    model = out / "middle.ts"
    torch.jit.trace(Middle(), torch.zeros(1, 1, 16, 16)).save(str(model))
    inputs = InputSpec((16, 16), spacing=(1.0, 1.0), patches=PatchSpec(("alarm",), foreground=0.01))
    import_classifier(model, out / "classifier", classes=("calm", "alarm"), inputs=inputs)
    torch.manual_seed(0)
    network = DiffusionAutoencoder(architecture((16, 16)))
    classifier = load_classifier(out / "classifier")
    write_agent(out / "agent", network, classifier, name="tiny", card="tiny", figures={}, replace=False)
    # A patch that is quite even is refused, and whether interpolation leaves it so is the processor's choice.
    array = np.random.default_rng(0).uniform(0.08, 0.12, (1, 200, 160, 1)).astype(np.float32)
    array[0, 120:150, 40:70] = 0.9
    affine = np.array([[0, -0.5, 0, 7], [0.5, 0, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1.0]])
    write_image(Image(array, Geometry((200, 160, 1), affine), "whole", 2), out / "studies" / "whole.nrrd")
    setup = Setup(out, "test", None, str(out / "classifier"), str(out / "agent"), device="cpu")
    with server(setup, out / "studies", _start) as running, session() as client:
        running.wait_until_ready()
        yield running.url, client


def _start(command: list[Any], **options: Any) -> Any:
    return forked_python.start(quickly_explaining(command), **options)


def job(url: str, client: requests.Session, **body: Any) -> dict[str, Any]:
    started = client.post(f"{url}/otherwise/jobs", json={"image": "whole", **body}, timeout=30)
    assert started.status_code == 202, started.text
    end = time.monotonic() + 240
    while time.monotonic() < end:
        finished: dict[str, Any] = client.get(f"{url}/otherwise/jobs/{started.json()['id']}", timeout=30).json()
        if finished["state"] in ("done", "failed"):
            return finished
    raise AssertionError("the job does not end")


def test_finds_come_as_boxes_with_scores(found: tuple[str, requests.Session]) -> None:
    url, client = found
    assert client.get(f"{url}/info/", timeout=30).json()["models"]["find"]["type"] == "detection"
    answer = client.post(f"{url}/infer/find", params={"image": "whole", "output": "json"}, timeout=60)
    assert answer.status_code == 200, answer.text
    params = answer.json()
    middle = np.array([7 - 0.5 * 54.5, -3 + 0.5 * 134.5, 2])
    low, high = np.array(params["box"][0][:3]), np.array(params["box"][0][3:])
    assert (low < middle).all()
    assert (middle < high).all()
    assert params["label"][0] == "alarm"
    assert params["warnings"] == []
    assert params["label_scores"] == sorted(params["label_scores"], reverse=True)
    assert params["label_scores"][0] > 0.9
    same = job(url, client, kind="find", params={"most": 1})["result"]["finds"]
    assert same == params["finds"][:1]
    assert same[0]["thumbnail"].startswith("data:image/png;base64,")
    whole = client.post(f"{url}/infer/classify", params={"image": "whole"}, timeout=60).json()
    scores = {score["label"]: score["score"] for score in whole["prediction"]}
    assert scores == pytest.approx(same[0]["probabilities"]), "a whole image is what its most suspicious patch is"
    dark = client.post(
        f"{url}/infer/classify", params={"image": "whole"}, data={"params": '{"centre": [-3, 5, 2]}'}, timeout=60
    )
    assert dark.json()["label"] == "calm"
    refused = client.post(f"{url}/infer/find", params={"image": "whole"}, data={"params": '{"most": 0}'}, timeout=30)
    assert refused.status_code == 422


def test_a_find_is_explained_in_its_place_over_http(found: tuple[str, requests.Session]) -> None:
    url, client = found
    first = job(url, client, kind="find")["result"]["finds"][0]
    finished = job(url, client, kind="explain", params={"find": 1})
    assert finished["state"] == "done", finished["error"]
    place = finished["result"]["place"]
    assert place["shape"] == [200, 160, 1]
    assert all(a <= b for a, b in zip(place["low"], first["low"], strict=True))
    assert all(a >= b for a, b in zip(place["high"], first["high"], strict=True))
    assert place["before"] == pytest.approx(first["probabilities"])
    chosen = job(url, client, kind="explain", params={"centre": [7 - 0.5 * 20, -3 + 0.5 * 100, 2]})
    assert chosen["state"] == "done", chosen["error"]
    low, high = (np.array(chosen["result"]["place"][key]) for key in ("low", "high"))
    assert (low <= (100, 20, 0)).all()
    assert (high > (100, 20, 0)).all()
    refused = client.post(
        f"{url}/otherwise/jobs", json={"image": "whole", "params": {"centre": [1, None, 3]}}, timeout=30
    )
    assert refused.status_code == 422
    missing = job(url, client, kind="explain", params={"find": 99})
    assert missing["state"] == "failed"
    assert "no number 99" in missing["error"]["detail"]


def test_one_find_after_the_other_is_changed_over_http(found: tuple[str, requests.Session]) -> None:
    url, client = found
    first = job(url, client, kind="find")["result"]["finds"][0]
    alone = job(url, client, kind="explain", params={"find": 1, "whole": False})
    assert alone["state"] == "done", alone["error"]
    assert alone["result"]["place"]["steps"] == []
    finished = job(url, client, kind="explain", params={"find": 1, "whole": True})
    assert finished["state"] == "done", finished["error"]
    steps = finished["result"]["place"]["steps"]
    assert steps, "each patch that was tried is told"
    assert steps[0]["before"] == pytest.approx(first["probabilities"]), "the first step is the first find"
    assert steps[0]["centre_ras"] == pytest.approx(first["centre_ras"])
    assert all(step["valid"] for step in steps[:-1]), "it goes on while patches change"
    if not steps[0]["valid"]:
        assert steps[0]["after"] == pytest.approx(first["probabilities"]), "what did not change is not put back"
    refused = client.post(
        f"{url}/otherwise/jobs",
        json={"kind": "explain", "image": "whole", "params": {"find": 1, "whole": "perhaps"}},
        timeout=30,
    )
    assert refused.status_code == 422


def test_where_the_classifier_sees_whole_images_there_is_nothing_to_find(served: Any) -> None:
    reply = served.session.post(f"{served.url}/otherwise/jobs", json={"kind": "find", "image": "volume"}, timeout=30)
    assert reply.status_code == 422
    assert "nothing to find" in reply.json()["detail"]
    assert served.infer("find", image="volume").status_code == 404
