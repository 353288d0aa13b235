"""How quickly the extension is: ``python tests/slicer_extension/measure.py`` prints JSON.

A volume of 256 x 256 x 100 voxels is sent to a real server on loopback, explained (one of its slices, by the shipped
LIDC pair), fetched, and shown in a real MRML scene. It is done in a loop that gives Python's lock to other threads
while it waits, and in one that keeps it, as Slicer's does. On a machine with other work the ratio of the two loops is
what counts; the load is printed too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "slicer_extension" / "Otherwise")]

from OtherwiseLib.client.client import Client  # noqa: E402
from OtherwiseLib.mrml.snapshot import snapshot  # noqa: E402
from OtherwiseLib.mrml.volumes import geometry_of, voxels_of  # noqa: E402
from support.locked_loop import FreeLoop, LockedLoop  # noqa: E402

SHAPE = (100, 256, 256)
TURNS = 5
ROUNDS = 20
LONGEST_BLOCK = 0.05
"""Seconds for which the main thread may stand still during a job."""


def main() -> None:
    """Measure and print."""
    import slicer

    from otherwise.blackbox.model_card import machine_class
    from otherwise.demo.server import server
    from otherwise.demo.setup import Setup
    from OtherwiseLib.samples import phantoms
    from support import fake_slicer_qt

    application = fake_slicer_qt.install()
    scene = slicer.vtkMRMLScene()
    logics = [slicer.vtkSlicerSegmentationsModuleLogic(), slicer.vtkSlicerSequencesLogic()]
    for logic in logics:
        logic.SetMRMLScene(scene)
    volume = phantoms.add_sample(scene, "large", *phantoms.nodule(shape=SHAPE))
    figures: dict[str, Any] = {"machine": machine_class("cpu"), "voxels": list(reversed(SHAPE))}
    figures["load"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="otherwise-") as name:
        folder = Path(name)
        studies = folder / "studies"
        studies.mkdir()
        snapshot(volume).write(studies / "large.nrrd")
        with server(Setup(folder, "test", None, "lidc_classifier", "lidc_agent", device="cpu"), studies) as running:
            running.wait_until_ready()
            figures |= transfer(running.url, volume, folder)
            loops = [Turns(kind(application), running.url, scene, volume) for kind in (FreeLoop, LockedLoop)]
            # The first turn warms the server; then both kinds in turn, since other work on the machine comes and goes.
            for turn in range(TURNS + 1):
                for loop in loops:
                    loop.explain()
                    if turn == 0:
                        loop.whole.clear()
                        loop.jobs.clear()
            free, locked = loops
            figures |= {"free_loop": free.figures(), "loop_that_keeps_the_lock": locked.figures()}
            ratios = [slow / fast for slow, fast in zip(locked.whole, free.whole, strict=True)]
            figures["locked_to_free"] = median(ratios)
            for loop in loops:
                loop.logic.close()
        made = folder / "made-up"
        made.mkdir()
        figures |= rounds(scene, phantoms.add_sample(scene, "small", *phantoms.nodule()), made)
    figures |= panel_width()
    print(json.dumps(figures, indent=2))


def transfer(url: str, volume: Any, folder: Path) -> dict[str, Any]:
    """From a volume of the scene to the server, and from the server's studies to a file here."""
    client = Client(url)
    up, down = [], []
    for turn in range(TURNS):
        begun = time.perf_counter()
        session = client.upload(snapshot(volume).write(folder / "image.nrrd"))
        up.append(time.perf_counter() - begun)
        client.forget(session)
        begun = time.perf_counter()
        client.image("large", folder / f"down-{turn}")
        down.append(time.perf_counter() - begun)
    client.close()
    return {"upload_seconds": median(up), "download_seconds": median(down)}


class WatchedClient(Client):
    """Notes when the server said that a job is done, and when all its files were here."""

    done: ClassVar[float] = 0.0
    here: ClassVar[float] = 0.0

    def job(self, id: str) -> dict:
        """As it is."""
        job = super().job(id)
        if job["state"] == "done":
            WatchedClient.done = time.perf_counter()
        return job

    def events(self, id: str) -> Iterator[dict]:
        """As they are."""
        for job in super().events(id):
            if job["state"] == "done":
                WatchedClient.done = time.perf_counter()
            yield job

    def download(self, id: str, parent: Path, arrived: Callable[[Path], None] = lambda path: None) -> Path:
        """As it is."""
        folder = super().download(id, parent, arrived)
        WatchedClient.here = time.perf_counter()
        return folder


class Memory(dict):
    """Settings that last as long as this run."""

    def set(self, key: str, value: str) -> None:
        """Remember a value."""
        self[key] = value


class Turns:
    """Explanations in one kind of event loop: how long each takes to be seen, and how long the loop stands still.

    Args:
        loop: The event loop.
        url: Address of the server.
        scene: Where explanations are shown.
        volume: What is explained.
    """

    def __init__(self, loop: Any, url: str, scene: Any, volume: Any) -> None:
        from OtherwiseLib.logic.logic import Logic
        from OtherwiseLib.ui.application import QtTimer

        self.loop, self.volume = loop, volume
        self.logic = Logic(scene, Memory(), QtTimer, WatchedClient)
        self.errors: list[BaseException] = []
        self.shown: list[float] = []
        self.logic.failed.connect(self.errors.append)
        self.logic.explained.connect(lambda explanation: self.shown.append(time.perf_counter()))
        self.whole: list[float] = []
        self.files: list[float] = []
        self.seen: list[float] = []
        self.jobs: list[float] = []
        self.shows: list[float] = []
        self.logic.connect(url)
        loop.until(lambda: not self.logic.busy, 60)

    def explain(self) -> None:
        """Explain once."""
        from OtherwiseLib.logic.source import ImageSelection

        begun = time.perf_counter()
        self.logic.explain(ImageSelection(volume=self.volume, slice_index=SHAPE[0] // 2))
        pressed = time.perf_counter() - begun
        self.loop.turns.clear()
        self.loop.until(lambda: not self.logic.busy, 600)
        if self.errors:
            raise self.errors[0]
        self.whole.append(self.shown[-1] - begun)
        self.files.append(WatchedClient.here - WatchedClient.done)
        self.seen.append(self.shown[-1] - WatchedClient.here)
        # The last turn of the loop is the one that shows the answer.
        self.jobs += [pressed, *self.loop.turns[:-1]]
        self.shows.append(self.loop.turns[-1])

    def figures(self) -> dict[str, Any]:
        """Return medians and the longest blocks, in seconds."""
        return {
            "explain_seconds": median(self.whole),
            "fetch_explanation_seconds": median(self.files),
            "reply_to_shown_seconds": median(self.seen),
            "longest_block_during_job_seconds": round(max(self.jobs), 3),
            "share_of_blocks_over_50_ms": round(sum(block > LONGEST_BLOCK for block in self.jobs) / len(self.jobs), 5),
            "longest_block_while_showing_seconds": round(max(self.shows), 3),
        }


def rounds(scene: Any, volume: Any, folder: Path) -> dict[str, int]:
    """Nodes that twenty rounds of showing and removing leave behind."""
    from OtherwiseLib.files import explanation_files
    from OtherwiseLib.mrml import explanations
    from OtherwiseLib.samples import self_test

    read = explanation_files.read(
        self_test.write_synthetic_explanation(folder, voxels_of(volume), geometry_of(volume)[1])
    )
    explanations.remove(scene, explanations.show(scene, read, volume))
    before = scene.GetNumberOfNodes()
    for _ in range(ROUNDS):
        explanations.remove(scene, explanations.show(scene, read, volume))
    return {"nodes_left_by_20_rounds": scene.GetNumberOfNodes() - before}


def panel_width() -> dict[str, int]:
    """Pixels that the panel needs with every section open, and with long texts."""
    from support import fake_slicer_qt

    widget, _ui = fake_slicer_qt.load_ui()
    fake_slicer_qt.fill_with_long_texts(widget)
    return {"panel_width_pixels": widget.minimumSizeHint().width()}


def median(values: list[float]) -> float:
    """The middle value, in milliseconds' precision."""
    return round(sorted(values)[len(values) // 2], 3)


if __name__ == "__main__":
    main()
