"""A real Orthanc on loopback, with storage of its own, that can be killed and started again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from fastapi.testclient import TestClient

from otherwise.demo.client import session
from otherwise.demo.server import free_port, server
from otherwise.demo.setup import Setup
from otherwise.images.image import Geometry, Image
from otherwise.phantoms.dicom import write_dicom as write_phantom
from support import app_in_process, forked_python
from support.fake_explainer import FakeExplainer

PLUGINS = (Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"), Path("/usr/lib/orthanc/libOrthancDicomWeb.so"))

# Refuses one kind of object while a file of this name is there.
FILTER = """
function ReceivedInstanceFilter(dicom, origin)
  local flag = io.open("{flag}")
  if flag then flag:close() end
  return not (flag and dicom.SeriesDescription == "Otherwise: effect")
end
"""


class Orthanc:
    """The archive under test."""

    def __init__(self, folder: Path, plugin: Path, **options: Any) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}/dicom-web"
        self.refusing = folder / "refusing"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "filter.lua").write_text(FILTER.format(flag=self.refusing))
        self.configuration = folder / "orthanc.json"
        storage = {"StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage")}
        door = {"HttpPort": self.port, "DicomServerEnabled": False, "RemoteAccessAllowed": False}
        more = {"Plugins": [str(plugin)], "DicomWeb": {"Enable": True}, "LuaScripts": [str(folder / "filter.lua")]}
        login = {"AuthenticationEnabled": False, **options}
        self.configuration.write_text(json.dumps({"Name": "test", **storage, **door, **more, **login}))
        self.process: subprocess.Popen[bytes] | None = None
        self.session = requests.Session()
        self.session.trust_env = False
        for user, password in options.get("RegisteredUsers", {}).items():
            self.session.auth = user.encode(), password.encode()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = ["Orthanc", str(self.configuration)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.session.get(f"http://127.0.0.1:{self.port}/system", timeout=5)
                return
            except requests.RequestException:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """It keeps its connections, and answers nothing more."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def send(self, *files: Path | pydicom.Dataset) -> None:
        """Store files as a modality would; nothing of ours is in the way."""
        for file in files:
            if isinstance(file, Path):
                content = file.read_bytes()
            else:
                stream = BytesIO()
                pydicom.dcmwrite(stream, file, write_like_original=False)
                content = stream.getvalue()
            self.session.post(f"http://127.0.0.1:{self.port}/instances", data=content, timeout=30).raise_for_status()

    def remove(self, series: str) -> None:
        search = {"Level": "Series", "Query": {"SeriesInstanceUID": series}}
        found = self.session.post(f"http://127.0.0.1:{self.port}/tools/find", json=search, timeout=30).json()
        for one in found:
            self.session.delete(f"http://127.0.0.1:{self.port}/series/{one}", timeout=30).raise_for_status()

    def instance(self, uid: str) -> pydicom.Dataset:
        """An object as the archive has it."""
        search = {"Level": "Instance", "Query": {"SOPInstanceUID": uid}}
        (found,) = self.session.post(f"http://127.0.0.1:{self.port}/tools/find", json=search, timeout=30).json()
        content = self.session.get(f"http://127.0.0.1:{self.port}/instances/{found}/file", timeout=30).content
        return pydicom.dcmread(BytesIO(content))

    def count(self) -> int:
        return int(self.session.get(f"http://127.0.0.1:{self.port}/statistics", timeout=30).json()["CountInstances"])


@dataclass(frozen=True)
class Served:
    url: str
    log: Path
    session: requests.Session

    def get(self, address: str, **query: Any) -> requests.Response:
        return self.session.get(self.url + address, params=query, timeout=60)

    def post(self, address: str, **arguments: Any) -> requests.Response:
        return self.session.post(self.url + address, timeout=300, **arguments)

    def infer(self, model: str, image: str, **params: Any) -> requests.Response:
        return self.post(
            f"/infer/{model}", params={"image": image, "output": "json"}, data={"params": json.dumps(params)}
        )

    def ids(self) -> set[str]:
        return set(self.get("/datastore/", output="all").json()["objects"])

    def forget(self, id: str) -> None:
        """Take an image out of the server's cache."""
        name = hashlib.sha256(id.encode()).hexdigest()[:32]
        for record in self.log.with_name("state").glob(f"archive/*/cache/images/{name}.json"):
            record.unlink()

    def job(self, **body: Any) -> dict[str, Any]:
        """Start a job, and wait for its end."""
        started = self.post("/otherwise/jobs", json=body)
        assert started.status_code == 202, started.text
        for line in self.session.get(
            f"{self.url}/otherwise/jobs/{started.json()['id']}/events", stream=True, timeout=300
        ).iter_lines(decode_unicode=True):
            if line.startswith("data:"):
                last = json.loads(line[5:])
        return dict(last)

    def eventually(self, question: Callable[[], bool]) -> None:
        """Ask until it is so; half a minute must be enough to notice an archive that is back."""
        deadline = time.monotonic() + 30
        while not question():
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="session")
def plugin() -> Path:
    found = [path for path in PLUGINS if path.exists()]
    if shutil.which("Orthanc") is None or not found:
        if os.environ.get("CI"):
            pytest.fail("Orthanc is not installed (Debian packages orthanc and orthanc-dicomweb)")
        pytest.skip("Orthanc is not installed (Debian packages orthanc and orthanc-dicomweb)")
    return found[0]


@pytest.fixture(scope="module")
def orthanc(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive that is empty at first, for the tests of one file."""
    archive = Orthanc(tmp_path_factory.mktemp("orthanc"), plugin)
    archive.start()
    try:
        yield archive
    finally:
        archive.kill()


@pytest.fixture
def another(plugin: Path, tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """Make further archives, each for one test."""
    made: list[Orthanc] = []

    def make(**options: Any) -> Orthanc:
        archive = Orthanc(tmp_path / f"orthanc{len(made)}", plugin, **options)
        made.append(archive)
        archive.start()
        return archive

    try:
        yield make
    finally:
        for archive in made:
            archive.kill()


@pytest.fixture(scope="session", autouse=True)
def server_modules() -> None:
    """The server's modules, as MONAI Label itself finds them."""
    app_in_process.find_modules()


def oblique(slices: int) -> np.ndarray:
    axes = np.linalg.qr(np.array([[0.9, -0.2, 0.1], [0.3, 0.8, -0.3], [0.1, 0.2, 0.95]]))[0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * [0.5, 0.75, 1.25], [12.5, -7.0, 3.25 + slices]
    return affine


@pytest.fixture
def volume(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write an oblique CT series; every seed is another one."""

    def write(seed: int, slices: int = 4) -> list[Path]:
        voxels = np.random.default_rng(seed).integers(-1000, 2000, (1, 12, 10, slices)).astype(np.int16)
        image = Image(voxels, Geometry((12, 10, slices), oblique(slices)), f"volume-{seed}")
        return sorted(write_phantom(image, tmp_path / f"volume-{seed}").iterdir())

    return write


@pytest.fixture
def plane(tmp_path: Path) -> Callable[..., Path]:
    """Write a mammogram, as large as the fake classifier wants it."""

    def write(seed: int, brightness: float = 0.1) -> Path:
        grey = np.random.default_rng(seed).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32) + np.float32(brightness)
        image = Image(grey, Geometry((8, 6, 1), oblique(1)), f"plane-{seed}", 2)
        return write_phantom(image, tmp_path / f"plane-{seed}.dcm")

    return write


@pytest.fixture
def uid() -> Callable[[Path], str]:
    """The id by which the server knows the series of a file."""
    return lambda path: str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Served]]:
    """Start ``otherwise serve`` on an archive, in a process of its own."""

    @contextmanager
    def start(orthanc: Orthanc, classifier: str, agent: str) -> Iterator[Served]:
        out = tmp_path_factory.mktemp("served")
        setup = Setup(out, "test", None, classifier, agent, device="cpu")
        with server(setup, orthanc.url, forked_python.start) as running, session() as client:  # type: ignore[arg-type]
            running.wait_until_ready()
            yield Served(running.url, running.log, client)

    return start


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., tuple[TestClient, Any]]]:
    """The server in this process, with a fake explainer that takes any image."""
    with ExitStack() as stack:

        def make(studies: str | Path, **conf: str) -> tuple[TestClient, Any]:
            conf = {"state": str(tmp_path / "state"), "device": "cpu", **conf}
            return stack.enter_context(
                app_in_process.open_app(app_in_process.app_class(), studies, conf, FakeExplainer())
            )

        yield make
