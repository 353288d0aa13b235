"""The base of all kinds of jobs: check options, find and read the image, and run on the worker."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.runtime.host import Host
from lib.runtime.worker import Cancelled, WorkItem
from lib.settings.params import MAX_SLICES, Params, ParamsError, refuse_unknown, whole_number
from lib.storage.image_sources import Source, from_datastore, from_session
from lib.storage.owners import Caller
from lib.storage.reading_budget import release_frames
from otherwise.errors import OtherwiseError
from otherwise.images.image import Image, check_content

Report = Callable[[str, float], None]
"""Called with the stage and the share of the work that is done."""


@dataclass(frozen=True)
class TaskAnswer:
    """The result of an infer task.

    Attributes:
        json: Becomes the ``params`` of the reply.
        label_map: Content of an .nrrd file, or None.
    """

    json: dict[str, Any]
    label_map: bytes | None = None


class TargetNames(Protocol):
    """Ids that a client sent with a job; empty: not given."""

    @property
    def image(self) -> str:
        """Return the id of an image of the studies."""
        ...

    @property
    def session(self) -> str:
        """Return the id of a session."""
        ...

    @property
    def explanation(self) -> str:
        """Return the id of an explanation."""
        ...


@dataclass(frozen=True)
class Target:
    """The image of a job.

    Attributes:
        source: The image.
        arguments: Arguments of the task that follow from the image.
        name: Id of the image if it is one of the studies, else empty. Two images of the studies are two images even if
            they look alike; what was uploaded is what it shows.
    """

    source: Source
    arguments: Mapping[str, Any]
    name: str = ""


class HostedTask(InferTask):
    """An infer task that runs on the host's worker.

    Args:
        host: What runs.
        type: Decides where stock clients list the task.
        labels: Names of the values of its result.
        description: One sentence for people.
        config: Options with their defaults or choices, as shown by ``/info``; stock clients send them back.
    """

    interactive = False
    """Whether it takes a moment only, so that it goes before long work."""
    stock = True
    """Whether MONAI Label's clients can ask for it at ``/infer``; else by jobs only."""
    keeps_result = False
    """Whether its result is an explanation that is stored and answers later equal jobs."""

    def __init__(
        self, host: Host, type: InferType, labels: Mapping[str, int], description: str, config: Mapping[str, Any]
    ) -> None:
        dimension = host.classifier.inputs.spatial_dims
        super().__init__(type, dict(labels), dimension, description, {"slice_index": "auto", **config})
        self.host = host

    def is_valid(self) -> bool:
        """Return true: hosted models were checked when they were loaded."""
        return True

    def check(self, params: Params) -> dict[str, Any]:
        """Turn the params of a request into arguments of the explainer.

        Raises:
            ParamsError: naming what is wrong.
        """
        refuse_unknown(params, self.config())
        return {"slice_index": whole_number(params, "slice_index", 0, MAX_SLICES)}

    def find_target(self, names: TargetNames, app: MONAILabelApp, caller: Caller) -> Target:
        """Find the image of a job: of a session, or else of the studies.

        Raises:
            OtherwiseError: if it is not there, or nothing is named.
        """
        if names.session:
            source = from_session(app.sessions(), names.session, caller)
            # The owner is part of the job's key, so that nobody is answered with what belongs to somebody else.
            return Target(source, {"owner": source.owner})
        if not names.image:
            raise ParamsError("Neither image nor session is given.", "Send one of them.")
        return Target(from_datastore(app.datastore(), names.image), {}, names.image)

    def read(self, source: Source, user: str = "", patience: float | None = None) -> Image:
        """Read and check an image, so that a broken one is refused without waiting for the worker.

        Args:
            source: Where the image is.
            user: Who asks.
            patience: Seconds to wait for memory instead of the budget's own.

        Raises:
            MemoryBusyError: if other images take the memory.
            OtherwiseError: if the image cannot be used.
        """
        image = source.read(self.host.reading, user, patience)
        try:
            return check_content(image)
        except OtherwiseError as error:
            release_frames(error)
            del image  # the error refers to this frame as well
            raise

    def start(self, source: Source, arguments: dict[str, Any], user: str = "") -> WorkItem[TaskAnswer]:
        """Read the image here, then queue the work.

        Raises:
            OtherwiseError: if the image cannot be used, or too many requests wait.
        """
        image = self.read(source, user)
        arguments = arguments if source.owner is None else {**arguments, "owner": source.owner}
        return self.host.worker.submit(
            lambda cancelled: self.run(image, arguments, cancelled, lambda stage, fraction: None),
            user=user,
            interactive=self.interactive,
        )

    def run(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> TaskAnswer:
        """Do the work, on the CPU if the device's memory is too small; called on the worker's thread.

        Raises:
            MemoryShortError: if the memory of both is too small.
        """
        answer: TaskAnswer = self.host.with_fallback(lambda: self.answer(image, arguments, cancelled, report))
        return answer

    @abstractmethod
    def answer(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> TaskAnswer:
        """Do the work; called on the worker's thread."""

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Answer MONAI Label's own callers (batch inference); unknown keys of their requests are ignored."""
        source = Source(Path(request["image"]), str(request.get("image_id", "image")))
        arguments = self.check({key: request[key] for key in self.config() if key in request})
        answer = self.start(source, arguments).future.result()
        if answer.label_map is None:
            return None, answer.json
        # The caller deletes it: that is MONAI Label's contract.
        with tempfile.NamedTemporaryFile(prefix="otherwise-", suffix=".nrrd", delete=False) as file:
            file.write(answer.label_map)
        return file.name, answer.json
