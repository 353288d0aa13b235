"""The real panel with the real .ui file and a fake client, for tests that act as a user.

Needs Slicer's core and PySide6; whoever imports it asks for them first.
"""

from __future__ import annotations

import copy
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import slicer

from OtherwiseLib.client.address import complete_address
from OtherwiseLib.client.client import Client
from OtherwiseLib.client.errors import ServerError
from OtherwiseLib.files import nrrd
from OtherwiseLib.logic.logic import Logic
from OtherwiseLib.samples import phantoms, self_test
from support import fake_slicer_qt

ABOUT = {
    "versions": {"otherwise": "0.1.0"},
    "classifiers": [
        {
            "name": "nodule classifier",
            "version": "f00dcafe1234",
            "classes": ["benign", "malignant"],
            "inputs": {"spatial_dims": 3, "size": [48, 48, 24], "modality": "CT"},
        }
    ],
    "agents": [{"name": "nodule agent", "version": "beefbeef1234"}],
    "methods": [{"name": "occlusion", "title": "Occlusion", "source": "a paper"}],
    "devices": [{"name": "cuda:0", "title": "A GPU"}],
}

TICK = 60
"""Milliseconds between two looks at a training: people have more time than tests."""
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
"""One grey pixel."""


def find_json(rank: int, probability: float, centre: list[float]) -> dict[str, Any]:
    """A find as the server tells it, on axes that are not the patient's."""
    return {
        "rank": rank,
        "probability": probability,
        "probabilities": {"benign": 1 - probability, "malignant": probability},
        "centre_ras": centre,
        "size_mm": [10.0, 12.0, 8.0],
        "axes": [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
        "thumbnail": f"data:image/png;base64,{PNG}",
    }


FINDS = [find_json(1, 0.9, [3.0, -4.0, 5.0]), find_json(2, 0.4, [-6.0, 2.0, 1.0])]


@dataclass
class StandInClient:
    """A fake client that replies at once unless it is set to wait or to fail; it records its requests."""

    address: str
    token: str | None = None
    about_answer: dict = field(default_factory=lambda: copy.deepcopy(ABOUT))
    failure: Exception | None = None
    hold: threading.Event = field(default_factory=threading.Event)
    sent: list[Path] = field(default_factory=list)
    started: list[dict] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    keep: Path | None = None
    next_left: bool = True
    explanation: str = "made-up"

    def log_in(self, user: str, password: str) -> None:
        if password != "right":
            raise ServerError("unauthorised", "The server needs a login.", "Give user and password.")

    def about(self) -> dict:
        if self.failure:
            raise self.failure
        return self.about_answer

    def images(self) -> list[str]:
        return ["case-1", "case-2"]

    def next_image(self) -> str:
        return "case-2" if self.next_left else ""

    def pdf(self, id: str, target: Path) -> Path:
        target.write_bytes(b"%PDF-1.4")
        return target

    def file(self, id: str, name: str, folder: Path) -> Path:
        voxels, affine = phantoms.nodule()
        return nrrd.write(folder / name, (voxels > -500).astype("float32"), affine)

    def upload(self, path: Path) -> str:
        kept = Path(str(self.keep)) / f"sent-{len(self.sent)}.nrrd"
        shutil.copy(path, kept)
        self.sent.append(kept)
        return "session"

    def forget(self, session: str) -> None:
        pass

    def start(self, kind: str, **arguments: Any) -> dict:
        self.started.append({"kind": kind, **arguments})
        return {"id": "job", "state": "running", "stage": "search", "fraction": 0.3, "kind": kind}

    def job(self, id: str) -> dict:
        if self.failure:
            raise self.failure
        if not self.hold.is_set():
            return {"id": id, "state": "running", "stage": "influence", "fraction": 0.7}
        scores = [{"label": "benign", "score": 0.2}, {"label": "malignant", "score": 0.8}]
        result: dict[str, Any] = {"id": "made-up", "prediction": scores}
        if self.started[-1]["kind"] == "attribute":
            result = {"file": "map.nrrd", "method": "occlusion", "title": "Occlusion", "label": "malignant"}
        if self.started[-1]["kind"] == "find":
            result = {"finds": FINDS}
        return {"id": id, "state": "done", "fraction": 1.0, "result": result}

    def events(self, id: str) -> Iterator[dict]:
        raise ServerError("refused", "There is nothing here.", status=404)

    def cancel(self, id: str) -> None:
        self.cancelled.append(id)

    def download(self, id: str, parent: Path, arrived: Any = None) -> Path:
        folder = parent / id
        folder.mkdir()
        self_test.write_synthetic_explanation(folder, *phantoms.nodule())
        with retold(folder) as content:
            content["id"] = self.explanation
        return folder

    def ask(self, method: str, path: str, status: int = 0, **arguments: Any) -> dict:
        raise ServerError("refused", "There is nothing here.", status=404)

    def close(self) -> None:
        pass


def alter_downloads(monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]) -> None:
    """Change the folder of every explanation after it was downloaded."""
    original = StandInClient.download

    def altered(client: StandInClient, id: str, parent: Path, arrived: Any = None) -> Path:
        folder = original(client, id, parent)
        change(folder)
        return folder

    monkeypatch.setattr(StandInClient, "download", altered)


@contextmanager
def retold(folder: Path) -> Iterator[dict[str, Any]]:
    """Change what an explanation says."""
    file = folder / "explanation.json"
    content = json.loads(file.read_text())
    yield content
    file.write_text(json.dumps(content))


class Memory(dict):
    """Settings that last as long as the test."""

    def get(self, key: str, default: str = "") -> str:
        return str(super().get(key, default))

    def set(self, key: str, value: str) -> None:
        self[key] = value


@dataclass
class PanelSession:
    """The panel, its scene and its client, as a user finds them."""

    application: Any
    widget: Any
    ui: Any
    panel: Any
    logic: Logic
    scene: Any
    settings: Memory
    clients: list[StandInClient]
    questions: list[str]
    answers: dict[str, Any]
    pages: list[tuple[str, str]]
    drawings: list[tuple[Any, Any]]

    def press(self, name: str) -> None:
        button = getattr(self.ui, name)
        assert button.isEnabled(), f"{name} is grey: {button.toolTip()}"
        button.click()

    def until(self, good: Any, seconds: float = 20) -> None:
        """Let the application live until something is so."""
        from PySide6.QtCore import QElapsedTimer, QEventLoop

        clock = QElapsedTimer()
        clock.start()
        while not good() and clock.elapsed() < 1000 * seconds:
            self.application.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            time.sleep(0.002)  # an application that has nothing to do leaves the processor to others
        assert good()

    def connect(self) -> None:
        self.press("connectButton")
        self.until(lambda: not self.logic.busy and self.ui.studyBox.count() == 2)

    def choose(self, volume: Any) -> None:
        self.ui.volumeSelector.setCurrentNode(volume)

    def picture(self, name: str, part: Any = None) -> None:
        """Keep a picture of the panel, or of a part of it, where somebody asked for pictures."""
        import os

        folder = os.environ.get("OTHERWISE_PICTURES")
        if folder:
            # The sections for teaching and for models have pictures of their own.
            own = (self.ui.teachSection, self.ui.modelsSection)
            for section in own:
                section.setVisible(part is section)
                section.collapsed = part is not section
            self.widget.resize(380, self.widget.sizeHint().height())
            self.application.processEvents()
            (part or self.widget).grab().save(str(Path(folder) / f"panel-{name}.png"))
            for section in own:
                section.setVisible(True)


def open_panel(scene: Any, tmp_path: Path) -> Iterator[PanelSession]:
    """Sit down; what was begun ends when the generator does."""
    application = fake_slicer_qt.install()
    from OtherwiseLib.logic.local_server import LocalServer
    from OtherwiseLib.logic.models import Models
    from OtherwiseLib.logic.parameters import Parameters
    from OtherwiseLib.logic.teacher import Teacher
    from OtherwiseLib.ui.application import QtTimer
    from OtherwiseLib.ui.explanation_panel import ExplanationPanel
    from OtherwiseLib.ui.local_server_panel import LocalServerPanel
    from OtherwiseLib.ui.models_panel import ModelsPanel
    from OtherwiseLib.ui.panel import Panel
    from OtherwiseLib.ui.teaching_panel import TeachingPanel

    widget, ui = fake_slicer_qt.load_ui(scene)
    settings, clients, questions, pages, drawings = Memory(), [], [], [], []
    answers: dict[str, Any] = {"confirm": True, "path": "", "folder": "", "failure": None}
    answers["about"] = copy.deepcopy(ABOUT)  # tests change what they are given

    def new_client(address: str, token: str | None) -> Any:
        if answers.get("real"):
            return Client(address, token)
        client = StandInClient(complete_address(address), token, answers["about"], answers["failure"])
        client.keep = tmp_path
        client.hold.set()
        clients.append(client)
        return client

    def confirm(question: str) -> bool:
        questions.append(question)
        return bool(answers["confirm"])

    logics = slicer.vtkSlicerSequencesLogic()
    logics.SetMRMLScene(scene)
    logic = Logic(scene, settings, QtTimer, new_client, logics.UpdateProxyNodesFromSequences)
    viewer = ExplanationPanel(
        ui, logic, lambda name, page: pages.append((name, page)), lambda s: answers["path"],
        lambda path: Path(path).write_bytes(b"png"),
    )  # fmt: skip

    def parameters() -> Any:
        node = scene.GetSingletonNode("Otherwise", "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag("Otherwise")
            node = scene.AddNode(node)
        return Parameters(node)

    teaching = TeachingPanel(ui, Teacher(logic, QtTimer), viewer, lambda node, on: drawings.append((node, on)))
    models = ModelsPanel(ui, Models(logic, QtTimer, every=TICK), confirm)
    local = LocalServerPanel(
        ui,
        LocalServer(settings, QtTimer),
        lambda title: answers["folder"],
        lambda title, text: pages.append((title, text)),
        logic.connect,
    )
    panel = Panel(ui, logic, viewer, teaching, models, parameters, local, confirm)
    yield PanelSession(
        application, widget, ui, panel, logic, scene, settings, clients, questions, answers, pages, drawings
    )
    panel.close()
    widget.setMRMLScene(None)
    widget.deleteLater()
