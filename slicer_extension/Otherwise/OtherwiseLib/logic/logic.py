"""The module without its panel: connect, classify, find, explain. Knows the scene and the server, but no widget.

Everything that takes time runs on a job's thread; results come back through signals on the main thread.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from ..background.job import Cancel, Report, Timer
from ..background.signal import Signal
from ..client.address import complete_address, host_of, is_loopback, without_secret
from ..client.client import Client
from ..client.errors import ServerError
from ..client.jobs import ServerJobs
from ..files.explanation_files import ExplanationFiles, Grid, read_grid
from ..mrml import explanations
from ..mrml.nodes import sequence_proxies
from .job_runner import JobRunner
from .settings import Settings
from .source import ImageSelection, PreparedSource, prepare

CONSENT = "Otherwise/consent/"
ADDRESS = "Otherwise/server"
JOB = "Otherwise/job"
"""Setting that remembers the explanation that runs, as address and id of the job, until it has come."""
DEFAULT_ADDRESS = "http://127.0.0.1:8000"


class Logic:
    """The module without its panel.

    Signals: those of ``jobs``, and the one that the method names if its job ended well.

    Attributes:
        jobs: Runs the jobs, one at a time.

    Args:
        scene: Where explanations are shown.
        settings: Remembers the address and the consent.
        new_timer: Makes timers of the main thread.
        new_client: Makes a client for an address and a token.
        update_proxies: Updates the volume that the path's slider moves; see ``nodes.browse``.
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
        self.jobs = JobRunner(new_timer)
        self.connected, self.listed, self.offered = Signal(), Signal(), Signal()
        self.classified, self.found, self.explained, self.compared = Signal(), Signal(), Signal(), Signal()
        self.saved = Signal()
        self.busy_changed, self.progressed = self.jobs.busy_changed, self.jobs.progressed
        self.failed, self.cancelled = self.jobs.failed, self.jobs.cancelled
        self._new_client = new_client
        self._update_proxies = update_proxies or sequence_proxies(scene)
        self._client: Client | None = None
        self._started: list[str] = []
        self.progressed.connect(self._remember_started)

    @property
    def address(self) -> str:
        """The address of the server that was used last."""
        return self.settings.get(ADDRESS, DEFAULT_ADDRESS)

    @property
    def client(self) -> Client | None:
        """The connected server; None: there is none."""
        return self._client

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self.jobs.busy

    @property
    def classes(self) -> list[str]:
        """Classes of the hosted classifier."""
        return list(self.about["classifiers"][0]["classes"]) if self.about else []

    @property
    def value(self) -> dict:
        """The hosted model's value: kind, name, unit, range, categories; empty for a classifier of classes."""
        return dict(self.about["classifiers"][0].get("value") or {}) if self.about else {}

    @property
    def targets(self) -> list[str]:
        """Classes of the hosted classifier, or the clinical categories of a model of values."""
        return [str(name) for name in self.value["categories"]] if self.value else self.classes

    @property
    def methods(self) -> dict[str, str]:
        """Titles of the attribution methods that the server offers, by name."""
        return {m["name"]: m["title"] for m in (self.about or {}).get("methods", [])}

    @property
    def spatial_dims(self) -> int:
        """Spatial dimensions of the classifier, 2 or 3; 0 while not connected."""
        return int(self.about["classifiers"][0]["inputs"]["spatial_dims"]) if self.about else 0

    @property
    def wanted(self) -> list[str]:
        """Classes that a classifier of patches looks for; empty for a classifier of whole images."""
        inputs = self.about["classifiers"][0]["inputs"] if self.about else {}
        return list((inputs.get("patches") or {}).get("wanted", []))

    def connect(self, address: str, token: str = "", user: str = "", password: str = "") -> None:
        """Connect to a server; ``connected(about)`` follows.

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

        self.jobs.run(work, done)

    def disconnect(self) -> None:
        """Forget the server and its secrets."""
        if self._client is not None:
            self._client.close()
        self._client, self.about = None, None

    def consent_needed(self) -> str:
        """Return the host that needs the user's consent before an image is sent there; empty: none does."""
        address = self._client.address if self._client else self.address
        host = host_of(address)
        agreed = is_loopback(address) or self.settings.get(CONSENT + host, "") == "yes"
        return "" if agreed else host

    def give_consent(self) -> None:
        """Remember that images may be sent to this host."""
        self.settings.set(CONSENT + host_of(self._client.address if self._client else self.address), "yes")

    def list_images(self) -> None:
        """List the images of the server's studies; ``listed(ids)`` follows."""
        client = self.connected_client()
        if client is not None:
            self.jobs.run(lambda report, cancel: client.images(), self.listed.emit)

    def next_case(self) -> None:
        """Ask the server for the next image to look at; ``offered(id)`` follows."""
        client = self.connected_client()

        def done(image: str) -> None:
            if not image:
                raise ServerError("refused", "Every image of the server has been looked at.", "Choose one yourself.")
            self.offered.emit(image)

        if client is not None:
            self.jobs.run(lambda report, cancel: client.next_image(), done)

    def classify(self, source: ImageSelection) -> None:
        """Classify an image; ``classified(answer)`` follows."""

        def work(server: ServerJobs, prepared: PreparedSource, folder: Path) -> dict:
            return server.classify(prepared.request(folder))

        self._ask_about(source, work, lambda prepared, answer: self.classified.emit(answer))

    def find(self, source: ImageSelection) -> None:
        """Find patches that are worth explaining; ``found(finds)`` follows. Their pictures are deleted thereafter."""

        def work(server: ServerJobs, prepared: PreparedSource, folder: Path) -> list:
            return server.find(prepared.request(folder, centre=None), folder)

        self._ask_about(source, work, lambda prepared, finds: self.found.emit(finds))

    def explain(
        self, source: ImageSelection, target: str = "", find: int = 0, noise: float = 0.0, shape_only: bool = False
    ) -> None:
        """Explain an image and show the explanation; ``explained(shown)`` follows.

        Args:
            source: What to explain.
            target: Class to flip to; empty: the nearest other one.
            find: Rank of a find; 0: the patch about the region of interest, or the most probable one.
            noise: Explain the mean answer under noise of this share of the intensity range; 0: the answer itself.
            shape_only: Whether the image may only be deformed.
        """
        edit = "shape" if shape_only else None
        options: dict[str, Any] = {"target": target or None, "noise": noise or None, "edit": edit}
        if find:
            options.update(find=find, centre=None)

        def work(server: ServerJobs, prepared: PreparedSource, folder: Path) -> ExplanationFiles:
            address = without_secret(server.client.address)
            remembering = replace(server, started=lambda id: self._started.append(f"{address} {id}"))
            return remembering.explain(prepared.request(folder, **options), folder)

        def done(prepared: PreparedSource, read: ExplanationFiles) -> None:
            there = source.volume is not None and self.scene.IsNodePresent(source.volume)
            # A find's volumes are a part of the image, and a deleted volume is replaced by the explanation's own copy.
            whole = source.volume if there and prepared.whole and not read.content.get("place") else None
            shown = self.show(read, whole)
            if there:
                follow_transform(shown, source.volume)
            self.explained.emit(shown)

        self._ask_about(source, work, done, self._end_remembered)

    def resume(self) -> None:
        """Resume the explanation that ran when Slicer was closed, if it runs on this server; ``explained`` follows."""
        client = self._client
        address, _, id = self.settings.get(JOB, "").rpartition(" ")
        if client is None or address != without_secret(client.address) or self.busy:
            return
        self.jobs.run_in_folder(
            lambda report, cancel, folder: ServerJobs(client, report, cancel).resume(id, folder),
            lambda read: self.explained.emit(self.show(read)),
            self._end_remembered,
        )

    def show(self, read: ExplanationFiles, whole: Any = None) -> explanations.ShownExplanation:
        """Bring an explanation into the scene.

        Args:
            read: The explanation.
            whole: The volume that was explained; None: use the explanation's own copy.
        """
        return explanations.show(self.scene, read, whole, self._update_proxies)

    def compare(self, shown: explanations.ShownExplanation, method: str) -> None:
        """Run another attribution method on an explained image; ``compared(shown, method)`` follows.

        Args:
            shown: An explanation of the scene, made by the connected server.
            method: One of ``methods``.
        """
        client = self.connected_client()
        if client is None:
            return

        def work(report: Report, cancel: Cancel, folder: Path) -> tuple[Grid, dict]:
            path, about = ServerJobs(client, report, cancel).attribute(shown.id, method, folder)
            return read_grid(path), about

        def done(result: tuple[Grid, dict]) -> None:
            if self.scene.IsNodePresent(shown.node):
                explanations.add_overlay(self.scene, shown, *result)
                self.compared.emit(shown, method)

        self.jobs.run_in_folder(work, done)

    def save_pdf(self, shown: explanations.ShownExplanation, path: Path) -> None:
        """Download the report as PDF from the server that made it; ``saved(path)`` follows."""
        client = self.connected_client()
        if client is not None:
            self.jobs.run(lambda report, cancel: client.pdf(shown.id, path), self.saved.emit)

    def update_frame(self, browser: Any) -> None:
        """Update the image on the path after a browser's slider moved."""
        self._update_proxies(browser)

    def cancel(self) -> None:
        """Stop the job; ``cancelled()`` follows."""
        self.jobs.cancel()

    def close(self, leave: bool = False) -> None:
        """Stop the job without a signal of its end: the scene or the module is closing.

        Args:
            leave: A running explanation goes on at the server; ``resume`` takes it up.
        """
        if self.jobs.abandon(leave) and not leave:
            self.settings.set(JOB, "")

    def connected_client(self) -> Client | None:
        """Return the server; None if there is none, after ``failed`` was emitted."""
        if self._client is None:
            self.failed.emit(ServerError("address", "No server is connected.", "Connect to one first."))
        return self._client

    def _ask_about(
        self,
        source: ImageSelection,
        work: Callable[[ServerJobs, PreparedSource, Path], Any],
        done: Callable[[PreparedSource, Any], None],
        cleanup: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a job of the server about an image, if there is a server, consent and an image.

        Args:
            source: The image.
            work: Called on the job's thread with a folder that is deleted at the end.
            done: Called with its result on the main thread.
            cleanup: Called at the end, whatever the end.
        """
        client = self.connected_client()
        if client is None:
            return
        try:
            host = self.consent_needed() if source.volume is not None else ""
            if host:
                raise ServerError("consent", f"There is no consent to send images to {host}.", "Agree first.")
            prepared = prepare(source, self.scene, self.spatial_dims, bool(self.wanted))
        except Exception as error:  # whatever a volume of the scene may lack
            self.failed.emit(error)
            return

        self.jobs.run_in_folder(
            lambda report, cancel, folder: work(ServerJobs(client, report, cancel), prepared, folder),
            lambda result: done(prepared, result),
            cleanup,
        )

    def _remember_started(self, stage: str, fraction: float) -> None:
        if self._started:
            # Noted by the job's thread; settings belong to the main thread.
            self.settings.set(JOB, self._started.pop())

    def _end_remembered(self) -> None:
        """Forget the job that ended. While another one runs, that one is remembered."""
        if not self.busy:
            self.settings.set(JOB, "")


def follow_transform(shown: explanations.ShownExplanation, volume: Any) -> None:
    """Put the nodes of an explanation under the transform of the explained volume."""
    transform = volume.GetTransformNodeID()
    for role in (*explanations.VOLUMES, "regions", "frame"):
        node = shown.get(role)
        if node is not None and node is not volume:
            node.SetAndObserveTransformNodeID(transform)
