"""What the module does: connect, classify, explain. Knows the scene and the server, but no widget.

Everything that takes time runs on a job's thread; results come back through signals on the main thread.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Protocol

from ..background.job import Cancel, Job, Report, Timer
from ..background.signal import Signal
from ..client import jobs
from ..client.client import Client, ServerError, complete_address, host_of, is_loopback, without_secret
from ..files import explanation_files
from ..mrml import explanations
from ..mrml.find_box import centre_of
from ..mrml.nodes import sequence_proxies
from ..mrml.snapshot import Snapshot, snapshot

CONSENT = "Otherwise/consent/"
ADDRESS = "Otherwise/server"
JOB = "Otherwise/job"
"""Remembers the explanation that runs, as address and id of the job, until it has come."""
DEFAULT_ADDRESS = "http://127.0.0.1:8000"


class Settings(Protocol):
    """What remembers between sessions: ``QSettings`` in Slicer. No secret is ever put there."""

    def get(self, key: str, default: str) -> str:
        """A value."""

    def set(self, key: str, value: str) -> None:
        """Remember a value."""


@dataclass(frozen=True)
class Source:
    """What to explain: a volume of the scene, or an image of the server's studies.

    Attributes:
        volume: Volume node, or None.
        roi: Markups ROI node: only this part of the volume is sent; to a classifier of patches the whole volume is, and
            the patch about the region's middle is explained.
        slice_index: For a 2-D classifier and a volume of several slices: which one.
        image: Id of an image of the studies, where there is no volume.
    """

    volume: Any = None
    roi: Any = None
    slice_index: int | None = None
    image: str = ""


class Logic:
    """The module without its face.

    Args:
        scene: Where explanations are shown.
        settings: Remembers the address and the consent.
        new_timer: Makes timers of the main thread.
        new_client: Makes clients; takes address and token.
        update_proxies: See ``scene.show``.
    """

    def __init__(
        self,
        scene: Any,
        settings: Settings,
        new_timer: Callable[[], Timer],
        new_client: Callable[[str, str | None], Client] = Client,
        update_proxies: Callable[[Any], None] | None = None,
    ) -> None:
        self.scene = scene
        self.settings = settings
        self.about: dict | None = None
        self.busy_changed, self.progressed = Signal(), Signal()
        self.connected, self.listed, self.offered = Signal(), Signal(), Signal()
        self.classified, self.found, self.explained, self.compared = Signal(), Signal(), Signal(), Signal()
        self.saved, self.failed, self.cancelled = Signal(), Signal(), Signal()
        self._new_timer = new_timer
        self._new_client = new_client
        self._update_proxies = update_proxies or sequence_proxies(scene)
        self._client: Client | None = None
        self._job: Job | None = None
        self._begun: list[str] = []

    @property
    def address(self) -> str:
        """The server's address, as it was last used."""
        return self.settings.get(ADDRESS, DEFAULT_ADDRESS)

    @property
    def client(self) -> Client | None:
        """The server that is connected."""
        return self._client

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._job is not None

    @property
    def classes(self) -> list[str]:
        """What the hosted classifier tells apart."""
        return list(self.about["classifiers"][0]["classes"]) if self.about else []

    @property
    def methods(self) -> dict[str, str]:
        """Titles of the methods that the server offers for comparison, by name."""
        return {m["name"]: m["title"] for m in (self.about or {}).get("methods", [])}

    @property
    def spatial_dims(self) -> int:
        """2 or 3; 0 while not connected."""
        return int(self.about["classifiers"][0]["inputs"]["spatial_dims"]) if self.about else 0

    @property
    def wanted(self) -> list[str]:
        """Classes that a classifier of patches looks for; empty where it looks at whole images."""
        inputs = self.about["classifiers"][0]["inputs"] if self.about else {}
        return list((inputs.get("patches") or {}).get("wanted", []))

    def connect(self, address: str, token: str = "", user: str = "", password: str = "") -> None:
        """Test a server; ``connected(about)`` or ``failed(error)`` follows.

        Secrets stay in memory and are forgotten with the connection.
        """
        self.disconnect()
        try:
            client = self._new_client(complete_address(address), token or None)
        except ServerError as error:
            self.failed.emit(error)
            return

        def work(report: Report, cancel: Cancel) -> dict:
            if user:
                client.log_in(user, password)
            return client.about()

        def done(about: dict) -> None:
            self._client, self.about = client, about
            self.settings.set(ADDRESS, without_secret(client.address))
            self.connected.emit(about)

        self.run(work, done)

    def disconnect(self) -> None:
        """Forget the server and its secrets."""
        if self._client is not None:
            self._client.close()
        self._client, self.about = None, None

    def consent_needed(self) -> str:
        """The host that somebody must agree to before an image goes there; empty if none."""
        address = self._client.address if self._client else self.address
        host = host_of(address)
        agreed = is_loopback(address) or self.settings.get(CONSENT + host, "") == "yes"
        return "" if agreed else host

    def give_consent(self) -> None:
        """Remember for this host that images may go there."""
        self.settings.set(CONSENT + host_of(self._client.address if self._client else self.address), "yes")

    def list_images(self) -> None:
        """Ask for the ids of the server's studies; ``listed(ids)`` follows."""
        client = self.connected_client()
        if client is not None:
            self.run(lambda report, cancel: client.images(), self.listed.emit)

    def next_case(self) -> None:
        """Ask the server which image to look at next; ``offered(id)`` follows."""
        client = self.connected_client()

        def done(image: str) -> None:
            if not image:
                raise ServerError("refused", "Every image of the server has been looked at.", "Choose one yourself.")
            self.offered.emit(image)

        if client is not None:
            self.run(lambda report, cancel: client.next_image(), done)

    def classify(self, source: Source) -> None:
        """Ask for probabilities; ``classified(answer)`` follows."""
        prepared = self._prepare(source)
        if prepared is None:
            return
        client, image, params = prepared

        def work(report: Report, cancel: Cancel) -> dict:
            with tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
                file = image.write(Path(folder) / "image.nrrd") if image is not None else None
                return jobs.classify(client, image=source.image, file=file, params=params, report=report, cancel=cancel)

        self.run(work, self.classified.emit)

    def find(self, source: Source) -> None:
        """Ask which patches are worth explaining; ``found(finds)`` follows. Their pictures are gone thereafter."""
        prepared = self._prepare(source)
        if prepared is None:
            return
        client, image, params = prepared
        params.pop("centre", None)
        folder = tempfile.TemporaryDirectory(prefix="otherwise-")

        def work(report: Report, cancel: Cancel) -> list:
            file = image.write(Path(folder.name) / "image.nrrd") if image is not None else None
            return jobs.find(
                client, Path(folder.name), image=source.image, file=file, params=params, report=report, cancel=cancel
            )

        self.run(work, self.found.emit, folder.cleanup)

    def explain(self, source: Source, target: str = "", find: int = 0) -> None:
        """Ask for an explanation and show it; ``explained(shown)`` follows.

        Args:
            source: What to explain.
            target: Class to flip to; empty: the nearest other one.
            find: Rank of one of the finds; 0: the patch about the region of interest, or the most probable one.
        """
        prepared = self._prepare(source)
        if prepared is None:
            return
        client, image, params = prepared
        if target:
            params["target"] = target
        if find:
            params.pop("centre", None)
            params["find"] = find
        folder = tempfile.TemporaryDirectory(prefix="otherwise-")

        def work(report: Report, cancel: Cancel) -> explanation_files.ExplanationFiles:
            file = image.write(Path(folder.name) / "image.nrrd") if image is not None else None
            return jobs.explain(
                client,
                Path(folder.name),
                image=source.image,
                file=file,
                params=params,
                report=report,
                cancel=cancel,
                started=lambda id: self._begun.append(f"{without_secret(client.address)} {id}"),
            )

        def done(read: explanation_files.ExplanationFiles) -> None:
            whole = source.volume if image is not None and image.whole else None
            if read.content.get("place"):
                whole = None  # a find: its volumes are a part of the image
            if whole is not None and not self.scene.IsNodePresent(whole):
                whole = None  # deleted meanwhile: the explanation brings its own copy
            shown = self.show(read, whole)
            if source.volume is not None and self.scene.IsNodePresent(source.volume):
                follow_transform(shown, source.volume)
            self.explained.emit(shown)

        self.run(work, done, lambda: self._end_remembered(folder.cleanup))

    def resume(self) -> None:
        """Take up the explanation that ran when Slicer was closed, if this server made it; ``explained`` follows."""
        client = self._client
        address, _, id = self.settings.get(JOB, "").rpartition(" ")
        if client is None or address != without_secret(client.address) or self.busy:
            return
        folder = tempfile.TemporaryDirectory(prefix="otherwise-")
        self.run(
            lambda report, cancel: jobs.resume(client, Path(folder.name), id, report=report, cancel=cancel),
            lambda read: self.explained.emit(self.show(read)),
            lambda: self._end_remembered(folder.cleanup),
        )

    def _end_remembered(self, cleanup: Callable[[], None]) -> None:
        """Forget the job: its explanation has come, or will not. While another one runs, that one is remembered."""
        if not self.busy:
            self.settings.set(JOB, "")
        cleanup()

    def _progressed(self, stage: str, fraction: float) -> None:
        if self._begun:
            # Told by the job's thread; settings are for the main thread.
            self.settings.set(JOB, self._begun.pop())
        self.progressed.emit(stage, fraction)

    def show(self, read: explanation_files.ExplanationFiles, whole: Any = None) -> explanations.ShownExplanation:
        """Bring an explanation into the scene.

        Args:
            read: The explanation.
            whole: The volume that was explained; None: the explanation brings its own copy.
        """
        return explanations.show(self.scene, read, whole, self._update_proxies)

    def compare(self, shown: explanations.ShownExplanation, method: str) -> None:
        """Ask the server what another method says of an explained image; ``compared(shown, method)`` follows.

        Args:
            shown: An explanation of the scene, made by the server that is connected.
            method: One of ``methods``.
        """
        client = self.connected_client()
        if client is None:
            return
        folder = tempfile.TemporaryDirectory(prefix="otherwise-")

        def work(report: Report, cancel: Cancel) -> tuple[explanation_files.Grid, dict]:
            path, about = jobs.attribute(client, Path(folder.name), shown.id, method, report=report, cancel=cancel)
            return explanation_files.read_grid(path), about

        def done(found: tuple[explanation_files.Grid, dict]) -> None:
            grid, about = found
            if self.scene.IsNodePresent(shown.node):
                explanations.add_overlay(self.scene, shown, grid, about)
                self.compared.emit(shown, method)

        self.run(work, done, folder.cleanup)

    def save_pdf(self, shown: explanations.ShownExplanation, path: Path) -> None:
        """Fetch the report as PDF from the server that made it; ``saved(path)`` follows."""
        client = self.connected_client()
        if client is not None:
            self.run(lambda report, cancel: client.pdf(shown.id, path), self.saved.emit)

    def update_frame(self, browser: Any) -> None:
        """Let the image on the path follow a browser's slider."""
        self._update_proxies(browser)

    def cancel(self) -> None:
        """Stop the job; ``cancelled()`` follows."""
        if self._job is not None:
            self._job.cancel()

    def close(self, leave: bool = False) -> None:
        """Stop everything and tell nobody: the scene or the module is closing.

        Args:
            leave: An explanation that runs goes on at the server; ``resume`` takes it up.
        """
        job, self._job = self._job, None
        if job is not None:
            job.abandon(leave)
            if not leave:
                self.settings.set(JOB, "")
            self.busy_changed.emit(False)

    def connected_client(self) -> Client | None:
        """The server; None if there is none, and somebody was told."""
        if self._client is None:
            self.failed.emit(ServerError("address", "No server is connected.", "Test the connection first."))
        return self._client

    def _prepare(self, source: Source) -> tuple[Client, Snapshot | None, dict] | None:
        """Client, voxels to send and options; None if it cannot be done, and somebody was told."""
        client = self.connected_client()
        if client is None:
            return None
        if source.volume is None:
            return client, None, {}
        if not self.scene.IsNodePresent(source.volume):
            self.failed.emit(ServerError("gone", "The volume is no longer in the scene.", "Choose another one."))
            return None
        host = self.consent_needed()
        if host:
            self.failed.emit(ServerError("consent", f"Nobody agreed to send images to {host}.", "Agree first."))
            return None
        try:
            # What lies around a patch belongs to the question, so a classifier of patches gets the whole volume.
            image = snapshot(source.volume, None if self.wanted else source.roi)
            params = {"centre": centre_of(source.roi, source.volume)} if self.wanted and source.roi is not None else {}
        except Exception as error:  # whatever a volume of the scene may lack
            self.failed.emit(error)
            return None
        if self.spatial_dims == 2 and image.slices > 1:
            if source.slice_index is None:
                detail = "The classifier looks at single slices and the image is a volume."
                self.failed.emit(ServerError("slice", detail, "Choose a slice."))
                return None
            params["slice_index"] = source.slice_index
        return client, image, params

    def run(self, work: jobs.Work, done: Callable[[Any], None], cleanup: Callable[[], None] = lambda: None) -> None:
        """Do something that takes time, unless something else runs; ``failed`` or ``cancelled`` may follow.

        Args:
            work: Called on the job's thread.
            done: Told its result on the main thread.
            cleanup: Called at the end, however it ended.
        """
        if self._job is not None:
            cleanup()
            self.failed.emit(ServerError("busy", "Something else is running.", "Wait for it, or cancel it."))
            return
        job = Job(work, self._new_timer())

        def end(emit: Callable[..., None]) -> Callable[..., None]:
            def ended(*values: Any) -> None:
                self._job = None
                self.busy_changed.emit(False)
                try:
                    emit(*values)
                except Exception as error:
                    self.failed.emit(error)
                finally:
                    cleanup()

            return ended

        job.progressed.connect(self._progressed)
        job.finished.connect(end(done))
        job.failed.connect(end(self.failed.emit))
        job.cancelled.connect(end(self.cancelled.emit))
        self._job = job
        self.busy_changed.emit(True)
        job.start()


def follow_transform(shown: explanations.ShownExplanation, volume: Any) -> None:
    """Put what is shown under the transform of the volume that was explained."""
    transform = volume.GetTransformNodeID()
    for role in (*explanations.VOLUMES, "regions", "frame"):
        node = shown.get(role)
        if node is not None and node is not volume:
            node.SetAndObserveTransformNodeID(transform)
