"""Models are updated on the server while it serves: trained, compared, changed over, rolled back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from otherwise.agent.bundle import load_agent, write_agent
from otherwise.agent.networks import DiffusionAutoencoder
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.training.trainer import train_classifier
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.registry.registry import AGENT, Model, PairVersion, pair_id
from support.app_in_process import open_app
from support.box_images import FLAT, image_with
from support.quick_search import ONE_ATTEMPT, VALIDATION, path_for_other_processes
from support.square_models import architecture, squares

SIZE = (16, 16)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, one that has other classes, and an agent that has learned nothing."""
    root = tmp_path_factory.mktemp("bundles")
    images = squares(SIZE, 40, seed=2)
    labels = (images[:, 0, 4:12, 4:12].mean(axis=(1, 2)) > 0.5).astype(int)
    for name, classes in (("classifier", ("dark", "bright")), ("other", ("no", "yes"))):
        train_classifier(
            images, labels, classes, InputSpec(SIZE), root / name,
            validation=(images, labels), epochs=1, seed=0, device="cpu",
        )  # fmt: skip
    agent(root / "agent", root / "classifier", seed=0)
    return root


def agent(out: Path, classifier: Path, seed: int, student_noise: float = 0.0) -> str:
    torch.manual_seed(seed)
    model = DiffusionAutoencoder(architecture(SIZE)).eval()
    box = load_classifier(classifier)
    write_agent(out, model, box, name="agent", card="# agent", figures={}, student_noise=student_noise, replace=True)
    return load_agent(out).version


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    for number, array in enumerate(squares(SIZE, 36, seed=1)):
        image = Image(array[..., None], Geometry((*SIZE, 1), np.eye(4)), dimension=2)
        write_image(image, folder / f"image-{number:02d}.nrrd")
    return folder


@pytest.fixture
def conf(bundles: Path, tmp_path: Path) -> dict[str, str]:
    models = {name: str(bundles / name) for name in ("classifier", "agent")}
    return {**models, "state": str(tmp_path / "state"), "device": "cpu"}


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings be judged by one attempt an image: these agents have learned nothing and would try everything."""
    monkeypatch.setattr(VALIDATION, lambda **_: ONE_ATTEMPT)


@pytest.fixture
def server(app_class: Any, studies: Path, conf: dict[str, str]) -> Iterator[tuple[TestClient, Any]]:
    with open_app(app_class, studies, conf) as running:
        yield running


def another(app: Any, bundles: Path, tmp_path: Path, seed: int = 1, classifier: str = "classifier") -> PairVersion:
    """A further version: an agent of other weights."""
    draft = tmp_path / f"draft-{seed}"
    made, box = agent(draft, bundles / "classifier", seed), load_classifier(bundles / classifier)
    version = PairVersion(
        pair_id(box.version, made),
        f"2099-01-01T00:00:{seed:02d}+00:00",
        Model(box.name, box.version, str(bundles / classifier)),
        Model("agent", made, AGENT),
    )
    return app.registry.add(version, draft)


def explain(client: TestClient, image: str = "image-00") -> Any:
    reply = client.post("/infer/explain", params={"image": image, "output": "json"}, data={"params": "{}"})
    assert reply.status_code == 200, reply.text
    return reply.json()


def in_use(client: TestClient) -> str:
    (agent,) = client.get("/otherwise/about").json()["agents"]
    return str(agent["version"])


def test_what_the_server_was_started_with_is_the_first_version(server: tuple[TestClient, Any]) -> None:
    client, _ = server
    models = client.get("/otherwise/models").json()
    (version,) = models["versions"]
    assert version["in_use"] is True
    assert version["agent"]["version"] == in_use(client)
    assert "reference" not in str(models)


@pytest.mark.long
def test_an_update_that_is_worse_is_kept_and_not_used(
    server: tuple[TestClient, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, app = server
    from lib.trainers import agent as trainer
    from otherwise.agent.training.validation import Figures

    figures = iter([Figures(4, 0.01, 0.9, 0.95, 0.01, 20), Figures(4, 0.01, 0.9, 0.5, 0.01, 20)])
    monkeypatch.setattr(trainer, "validate", lambda *_, **__: next(figures))
    before = in_use(client)
    made = app.train({"model": "agent", "minutes": 0.01})
    assert made["active"] is False
    app.switcher.look()
    assert in_use(client) == before
    worse = client.get("/otherwise/models").json()["versions"][-1]
    assert "worse, so it is kept but not used" in worse["note"]
    assert client.post(f"/otherwise/models/{worse['id']}/activate").status_code == 200  # somebody may know better
    assert in_use(client) == worse["agent"]["version"]


@pytest.mark.long
def test_a_student_that_has_learned_in_noise_goes_on_in_noise(
    app_class: Any, bundles: Path, studies: Path, conf: dict[str, str], tmp_path: Path
) -> None:
    agent(tmp_path / "noisy", bundles / "classifier", seed=0, student_noise=0.5)
    with open_app(app_class, studies, {**conf, "agent": str(tmp_path / "noisy")}) as (_, app):
        made = app.train({"model": "agent", "minutes": 0.01})
        version = app.registry.get(made["version"])
        assert load_agent(app.registry.path(version, version.agent)).student_noise == 0.5


def test_an_explanation_says_which_agent_made_it_and_names_outlive_a_change(
    server: tuple[TestClient, Any], bundles: Path, tmp_path: Path
) -> None:
    client, app = server
    first = explain(client)
    square = {"polygon": [[4, 4, 0], [12, 4, 0], [12, 12, 0], [4, 12, 0]]}
    body = {"kind": "name", "image": "image-01", "region": square, "term": {"meaning": "square"}}
    assert client.post("/otherwise/annotations", json=body).status_code == 201
    version = another(app, bundles, tmp_path)
    reply = client.post(f"/otherwise/models/{version.id}/activate", json={"reason": "newer"})
    assert reply.json()["active"] == version.id
    assert reply.json()["reason"] == "newer"
    second = explain(client)
    assert first["agent"]["version"] != second["agent"]["version"] == version.agent.version
    assert app.teaching.settled(60)
    assert client.get("/otherwise/concepts").json()["labels"] == 1
    assert app.teaching.host.explainer.agent.version == version.agent.version


@pytest.mark.long
def test_a_change_waits_for_the_explanation_that_runs_and_drops_none_that_waits(
    server: tuple[TestClient, Any], bundles: Path, tmp_path: Path
) -> None:
    client, app = server
    before, version = in_use(client), another(app, bundles, tmp_path)
    jobs = []
    for number in range(4):
        body = {"kind": "explain", "image": f"image-{number:02d}"}
        jobs.append(client.post("/otherwise/jobs", json=body).json()["id"])
    assert client.post(f"/otherwise/models/{version.id}/activate").status_code == 200
    jobs.append(client.post("/otherwise/jobs", json={"kind": "explain", "image": "image-05"}).json()["id"])
    results = [_finished(client, job) for job in jobs]
    assert [job["state"] for job in results] == ["done"] * 5
    agents = [job["result"]["agent"]["version"] for job in results]
    assert agents == [before] * 4 + [version.agent.version]


def _finished(client: TestClient, job: str) -> Any:
    with client.stream("GET", f"/otherwise/jobs/{job}/events") as events:
        for _ in events.iter_lines():
            pass
    return client.get(f"/otherwise/jobs/{job}").json()


def test_the_choice_outlives_a_restart(
    app_class: Any, studies: Path, conf: dict[str, str], bundles: Path, tmp_path: Path
) -> None:
    with open_app(app_class, studies, conf) as (client, app):
        version = another(app, bundles, tmp_path)
        client.post(f"/otherwise/models/{version.id}/activate")
    with open_app(app_class, studies, conf) as (client, _):
        assert in_use(client) == version.agent.version


def test_a_classifier_of_other_classes_is_refused_and_everything_goes_on(
    server: tuple[TestClient, Any], bundles: Path, tmp_path: Path
) -> None:
    client, app = server
    before = in_use(client)
    version = another(app, bundles, tmp_path, seed=3, classifier="other")
    reply = client.post(f"/otherwise/models/{version.id}/activate").json()
    assert reply["problem"]
    assert in_use(client) == before
    explain(client)


@pytest.mark.parametrize(
    ("params", "word"),
    [({"minutes": 0}, "minutes"), ({"minutes": "long"}, "minutes"), ({"learning_rate": 7}, "learning_rate"),
     ({"out": "/etc"}, "Unknown")],
)  # fmt: skip
def test_training_with_nonsense_is_refused(server: tuple[TestClient, Any], params: dict[str, Any], word: str) -> None:
    from otherwise.errors import OtherwiseError

    with pytest.raises(OtherwiseError, match=word):
        server[1].train({"model": "agent", **params})


def test_units_of_a_readable_classifiers_layer_on_request(
    app_class: Any, studies: Path, conf: dict[str, str], bundles: Path
) -> None:
    from otherwise.concepts.units import UnitError, readable_layers

    layer = readable_layers(load_classifier(bundles / "classifier"))[-1]
    with open_app(app_class, studies, {**conf, "units": layer}) as (client, app):
        assert app.teaching.settled(60)
        units = client.get("/otherwise/concepts/units").json()["units"]
        assert {unit["unit"].rpartition("/")[0] for unit in units} == {layer}
        picture = client.get(f"/otherwise/concepts/units/{units[0]['unit']}/patches/0.png")
        assert picture.status_code == 200
    with pytest.raises(UnitError, match="no layer"), open_app(app_class, studies, {**conf, "units": "nowhere"}):
        pass


@pytest.mark.long
def test_an_agent_of_patches_learns_from_whole_images(
    app_class: Any, bundles: Path, conf: dict[str, str], tmp_path: Path
) -> None:
    """The studies are whole images: their finds, and patches from elsewhere, are what it is trained on."""
    patches = replace(FLAT, size=SIZE)
    images = squares(SIZE, 24, seed=3)
    labels = (images[:, 0, 4:12, 4:12].mean(axis=(1, 2)) > 0.5).astype(int)
    train_classifier(
        images, labels, ("dark", "bright"), patches, tmp_path / "patches",
        validation=(images, labels), epochs=1, seed=0, device="cpu",
    )  # fmt: skip
    agent(tmp_path / "patch-agent", tmp_path / "patches", seed=0)
    studies = tmp_path / "whole"
    for number in range(8):
        image = image_with([(10 + 4 * number, 20)], Geometry((48, 48, 1), np.eye(4)), 2)
        write_image(image, studies / f"whole-{number}.nrrd")
    models = {"classifier": str(tmp_path / "patches"), "agent": str(tmp_path / "patch-agent")}
    with open_app(app_class, studies, {**conf, **models}) as (_, app):
        details = app.init_trainers()["agent"]({"minutes": 0.005, "name": "agent"}, app.datastore())
        made = app.registry.get(details["version"])
    assert made.images + made.after["images"] >= 8 * 3, "a find or more, and two others, of each image"
    assert details["active"] is (made.after["validity"] >= made.before["validity"] - 0.02)


def test_a_version_that_is_not_there_is_told(server: tuple[TestClient, Any]) -> None:
    client, _ = server
    assert client.post("/otherwise/models/0000000000000000/activate").status_code == 404
    assert client.post("/otherwise/models/rollback").status_code == 404


@pytest.mark.long
def test_the_stock_route_trains_on_the_studies_in_a_process_of_its_own(
    server: tuple[TestClient, Any], studies: Path, conf: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import json
    import os

    import otherwise
    from otherwise.resources import app_folder

    client, app = server
    science = str(Path(otherwise.__file__).parents[1])
    quick = path_for_other_processes(tmp_path / "quick search")
    monkeypatch.setenv("MONAI_LABEL_APP_DIR", str(app_folder()))
    monkeypatch.setenv("MONAI_LABEL_STUDIES", str(studies))
    monkeypatch.setenv("MONAI_LABEL_APP_CONF", json.dumps(conf))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([quick, science, str(app_folder())]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    reply = client.post("/train/agent", json={"minutes": 0.02})
    assert reply.status_code == 200, reply.text
    deadline = time.monotonic() + 900  # on a busy machine its imports alone take minutes
    while time.monotonic() < deadline:
        status = client.get("/train/").json()
        if status["status"] in ("DONE", "ERROR"):
            break
        time.sleep(0.2)
    assert status["status"] == "DONE", status
    first, second = client.get("/otherwise/models").json()["versions"]
    assert second["parent"] == first["id"]
    assert second["images"] == 36 - second["after"]["images"]
    assert set(second["before"]) >= {"validity", "agreement"} <= set(second["after"])
    assert second["agent"]["trained_here"] is True
    app.switcher.look()
    active = client.get("/otherwise/models").json()["active"]
    # On so few held-out images neither figure may fall.
    better = all(second["after"][name] >= second["before"][name] for name in ("validity", "agreement"))
    assert active == (second["id"] if better else first["id"])
