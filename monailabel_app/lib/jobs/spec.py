"""Requests of clients, stored as they were sent so that they can be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from monailabel.interfaces.app import MONAILabelApp

from lib.infers.task import HostedTask
from lib.settings.params import ParamsError
from lib.storage.image_sources import Source
from lib.storage.owners import Caller
from otherwise import __version__
from otherwise.images.image import Image


@dataclass(frozen=True)
class JobSpec:
    """The request of a job.

    Attributes:
        kind: One of ``lib.infers.kinds.KINDS``.
        image: Id of an image of the studies.
        session: Id of a session, which goes before an image.
        explanation: Id of the explanation that an attribution is about.
        params: Options, as the client sent them.
        deadline_seconds: How long it may take, its waiting included; None: as long as the server lets it.
        fresh: Whether to compute although the answer is stored.
    """

    kind: str
    image: str = ""
    session: str = ""
    explanation: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    deadline_seconds: float | None = None
    fresh: bool = False

    @classmethod
    def from_text(cls, text: str) -> JobSpec:
        """Read what ``to_text`` wrote."""
        return cls(**json.loads(text))

    def to_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class ResolvedJob:
    """A request whose image and arguments are known.

    Attributes:
        kind: Kind of the job.
        task: Task that does the work.
        source: The image.
        arguments: Arguments of the task.
        name: Id of the image if it is one of the studies, see ``lib.infers.task.Target``.
    """

    kind: str
    task: HostedTask
    source: Source
    arguments: dict[str, Any]
    name: str = ""

    def key(self, image: Image) -> str:
        """Return a hash of all that the answer of the models in use depends on."""
        host = self.task.host
        return self._key(image.sha256, host.classifier_ref.version, host.agent_ref.version)

    def answers(self, result: dict[str, Any]) -> list[str]:
        """Return the keys that a result answers: one if it is a stored explanation, else none.

        The versions of the models are those of the result; other models may have been in use at the request.
        """
        if not self.task.keeps_result:
            return []
        versions = (str(result[name]["version"]) for name in ("classifier", "agent"))
        return [self._key(str(result["image"]["sha256"]), *versions)]

    def _key(self, sha256: str, classifier: str, agent: str) -> str:
        content: list[Any] = [__version__, self.kind, sha256, self.name, classifier, agent, self.arguments]
        patches = self.task.host.classifier.inputs.patches
        if patches is not None:  # bundles of the same version may lay them otherwise
            content.append(asdict(patches))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class JobResolver:
    """Resolves requests.

    Args:
        app: Owner of the datastore and the sessions.
        tasks: Tasks by kind.
    """

    def __init__(self, app: MONAILabelApp, tasks: Mapping[str, HostedTask]) -> None:
        self._app, self._tasks = app, tasks

    def open(self, spec: JobSpec, caller: Caller) -> ResolvedJob:
        """Check a request, and find its image.

        Raises:
            OtherwiseError: if it names something that does not exist.
        """
        task = self._tasks.get(spec.kind)
        if task is None:
            raise ParamsError(f"There is nothing to {spec.kind} here.", "The classifier looks at whole images.")
        arguments = task.check(spec.params)
        target = task.find_target(spec, self._app, caller)
        return ResolvedJob(spec.kind, task, target.source, {**arguments, **target.arguments}, target.name)
