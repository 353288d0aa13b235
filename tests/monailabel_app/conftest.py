"""A real server on a real socket, with a fake explainer whose answers are known."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn
from monailabel.config import settings
from monailabel.interfaces.utils.app import apps

from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.resources import app_folder
from support import app_in_process
from support.attacked_server import AttackedServer
from support.fake_explainer import FakeExplainer, plane


@dataclass(frozen=True)
class Running:
    """The server under test."""

    url: str
    app: Any
    explainer: FakeExplainer
    studies: Path
    state: Path

    def infer(self, model: str, params: str = "{}", **arguments: Any) -> requests.Response:
        query = {key: arguments.pop(key) for key in ("image", "session_id", "output") if key in arguments}
        url = f"{self.url}/infer/{model}"
        return requests.post(url, params=query, data={"params": params}, timeout=20, **arguments)

    def get(self, address: str) -> requests.Response:
        return requests.get(self.url + address, timeout=20)


@pytest.fixture(scope="session", autouse=True)
def app_modules() -> None:
    """Let tests import ``lib``, the app's modules, which MONAI Label loads from the app's folder."""
    app_in_process.find_modules()


@pytest.fixture(scope="session")
def app_class() -> Any:
    """The app as MONAI Label itself finds it."""
    return app_in_process.app_class()


@pytest.fixture(scope="session")
def new_explainer() -> type[FakeExplainer]:
    """Return the class of the fake explainer."""
    return FakeExplainer


@pytest.fixture(scope="session")
def new_plane() -> Callable[..., Image]:
    """Return the function that makes images."""
    return plane


@pytest.fixture(scope="session")
def running(app_class: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("server")
    studies = root / "studies"
    write_image(plane(1, 0.1), studies / "dark.nrrd")
    write_image(plane(2, 0.7), studies / "bright one.nrrd")
    constant = plane(3, 0.1)
    write_image(constant.with_array(np.ones_like(constant.array)), studies / "constant.nrrd")
    write_image(constant.with_array(np.where(constant.array > 0.2, np.nan, 0.5)), studies / "holes.nrrd")
    (studies / "empty.nii").write_bytes(b"")
    (studies / "corrupt.nii.gz").write_bytes((studies / "dark.nrrd").read_bytes()[-80:])
    (root / "secret.nrrd").write_bytes((studies / "dark.nrrd").read_bytes())

    explainer = FakeExplainer()
    conf = {"state": str(root / "state"), "device": "cpu", "upload_mib": "1"}
    app = app_class(str(app_folder()), str(studies), conf, explainer)
    settings.MONAI_LABEL_APP_DIR, settings.MONAI_LABEL_STUDIES = str(app_folder()), str(studies)
    apps[f"{app_folder()}{studies}"] = app

    from monailabel.app import app as fastapi

    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(fastapi, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    yield Running(
        f"http://127.0.0.1:{door.getsockname()[1]}{app.address_path}", app, explainer, studies, root / "state"
    )
    server.should_exit = True
    thread.join(10)
    app.close()
    door.close()


@pytest.fixture(scope="module")
def attacked_server(
    app_class: Any, running: Running, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AttackedServer]:
    root = tmp_path_factory.mktemp("attacked")
    for name, brightness in (("dark", 0.1), ("bright", 0.7)):
        noise = np.random.default_rng(1).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32)
        image = Image(noise + np.float32(brightness), Geometry((8, 6, 1), np.eye(4)), name, 2)
        write_image(image, root / "studies" / f"{name}.nrrd")
    (root / "secret.nrrd").write_bytes((root / "studies" / "dark.nrrd").read_bytes())
    (root / "studies" / "linked.nrrd").symlink_to(root / "secret.nrrd")
    (root / "studies" / "dangling.nrrd").symlink_to(root / "planted.nrrd")
    conf = {"state": str(root / "state"), "device": "cpu", "upload_mib": "1"}
    with app_in_process.open_app(app_class, root / "studies", conf, type(running.explainer)()) as (client, app):
        client.raise_server_exceptions = False
        yield AttackedServer(client, app, root)


@pytest.fixture
def target(attacked_server: AttackedServer) -> Iterator[AttackedServer]:
    """The server; whatever a test does, nothing may appear or vanish around the studies."""
    before = attacked_server.files()
    yield attacked_server
    for name in ("dark", "bright"):
        assert attacked_server.client.get("/datastore/image", params={"image": name}).status_code == 200
    assert attacked_server.files() == before
