"""What a client asks for: kept as it was sent, so that it can be asked for again."""

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
    """What to do, and with which image.

    Attributes:
        kind: One of ``lib.infers.kinds.KINDS``.
        image: Id of an image of the studies.
        session: Id of a session, which goes before an image.
        explanation: Id of the explanation that an attribution is about.
        params: Options, as the client sent them.
        deadline_seconds: How long it may take, its waiting included; None: as long as the server lets it.
        fresh: Whether to compute even what is known.
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
        """As JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class ResolvedJob:
    """A specification that can be carried out.

    Attributes:
        kind: Kind of the job.
        task: Does it.
        source: Where the image is.
        arguments: Arguments of the task.
        name: Id of the image if it is one of the studies, see ``lib.infers.task.Target``.
    """

    kind: str
    task: HostedTask
    source: Source
    arguments: dict[str, Any]
    name: str = ""

    def key(self, image: Image) -> str:
        """Name what the models in use will make of the image, by all that it depends on."""
        host = self.task.host
        return self._key(image.sha256, host.classifier_ref.version, host.agent_ref.version)

    def answers(self, result: dict[str, Any]) -> list[str]:
        """Keys that a result answers: one if it is an explanation, which is kept, else none.

        The models that made it are named by itself; others may have been in use when it was asked for.
        """
        if not self.task.keeps_result:
            return []
        versions = (str(result[name]["version"]) for name in ("classifier", "agent"))
        return [self._key(str(result["image"]["sha256"]), *versions)]

    def _key(self, sha256: str, classifier: str, agent: str) -> str:
        content = [__version__, self.kind, sha256, self.name, classifier, agent, self.arguments]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class JobResolver:
    """Finds what a specification is about.

    Args:
        app: Owner of the datastore and the sessions.
        tasks: Tasks by kind.
    """

    def __init__(self, app: MONAILabelApp, tasks: Mapping[str, HostedTask]) -> None:
        self._app, self._tasks = app, tasks

    def open(self, spec: JobSpec, caller: Caller) -> ResolvedJob:
        """Check a specification, and find its image.

        Raises:
            OtherwiseError: if it asks for what there is not.
        """
        task = self._tasks.get(spec.kind)
        if task is None:
            raise ParamsError(f"There is nothing to {spec.kind} here.", "The classifier looks at whole images.")
        arguments = task.check(spec.params)
        target = task.find_target(spec, self._app, caller)
        return ResolvedJob(spec.kind, task, target.source, {**arguments, **target.arguments}, target.name)
