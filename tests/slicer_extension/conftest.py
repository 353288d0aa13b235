"""Servers that behave badly in every way a client may meet, and explanations to show."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ABOUT = {
    "versions": {"otherwise": "0.1.0"},
    "classifiers": [{"name": "c", "version": "1", "classes": ["a", "b"], "inputs": {"spatial_dims": 2}}],
    "agents": [{"name": "agent", "version": "2"}],
    "devices": [{"name": "cpu", "title": "CPU"}],
}

Answer = Callable[["Visit"], None]


@dataclass(frozen=True)
class Visit:
    """One request, and ways to answer it well or badly."""

    handler: BaseHTTPRequestHandler
    method: str
    path: str
    body: bytes

    def send(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("Connection", "close")
        self.handler.send_header("Content-Length", str(len(body) if length is None else length))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def json(self, content: Any, status: int = 200) -> None:
        self.send(status, json.dumps(content).encode(), Content_Type="application/json")


@dataclass
class BadServer:
    """A server whose answers a test decides; the longest matching beginning of the path wins."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    visits: list[tuple[str, str]] = field(default_factory=list)
    leave: threading.Event = field(default_factory=threading.Event)

    def on(self, path: str, answer: Answer) -> None:
        self.answers[path] = answer


@pytest.fixture
def bad_server() -> Iterator[BadServer]:
    bad = BadServer("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            bad.visits.append((self.command, self.path))
            fitting = [path for path in bad.answers if self.path.startswith(path)]
            visit = Visit(self, self.command, self.path, body)
            if fitting:
                bad.answers[max(fitting, key=len)](visit)
            else:
                visit.send(404, b"nothing here")
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bad.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield bad
    bad.leave.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def scene(tmp_path_factory: pytest.TempPathFactory):
    """A scene that knows the node classes of the modules we use, as Slicer's own does."""
    slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
    made = slicer.vtkMRMLScene()
    # Bundles are unpacked into the cache of the application.
    cache, files = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(tmp_path_factory.mktemp("cache")))
    files.SetCacheManager(cache)
    made.SetDataIOManager(files)
    made.SetCacheManager(cache)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(made)
    logics = [
        slicer.vtkSlicerSegmentationsModuleLogic(),
        slicer.vtkSlicerSequencesLogic(),
        slicer.vtkSlicerSubjectHierarchyModuleLogic(),
    ]
    for logic in logics:
        logic.SetMRMLScene(made)
    yield made
    for logic in logics:
        logic.SetMRMLScene(None)
    made.Clear(True)


@pytest.fixture
def app(scene: Any, tmp_path: Path) -> Iterator[Any]:
    """The real panel; see ``support.panel_session``."""
    pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")
    from support.panel_session import open_panel

    yield from open_panel(scene, tmp_path)


@pytest.fixture
def volume(scene: Any) -> Any:
    from OtherwiseLib.samples import phantoms

    return phantoms.add_sample(scene, "CT of somebody", *phantoms.nodule())


@pytest.fixture
def explained(app: Any, volume: Any) -> Any:
    """A app with one explanation in the scene."""
    from OtherwiseLib.mrml import explanations

    app.connect()
    app.choose(volume)
    app.press("explainButton")
    app.until(lambda: not app.logic.busy and any(True for _ in explanations.all_shown(app.scene)))
    return app


@pytest.fixture
def teaching_server(bad_server: BadServer) -> Any:
    """A server that speaks the routes for teaching and remembers."""
    from support.fake_teaching_server import FakeTeachingServer

    made = FakeTeachingServer()
    bad_server.on("/", made)
    return made


@pytest.fixture
def teaching_app(app: Any, teaching_server: Any, bad_server: BadServer) -> Any:
    """The panel, connected to ``teaching_server``; one of its images is explained."""
    from support.teach_section import only, ready

    app.answers["real"] = True
    app.ui.addressEdit.setText(bad_server.url)
    app.press("connectButton")
    app.until(lambda: not app.logic.busy and app.ui.studyBox.count() == 1 and ready(app))
    app.press("explainButton")
    app.until(lambda: not app.logic.busy and only(app).id == "one")
    return app
