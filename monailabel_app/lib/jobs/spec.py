"""What a client asks for: kept as it was said, so that it can be asked for again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from monailabel.interfaces.app import MONAILabelApp

from lib.infers.attribute import explained_source
from lib.infers.task import HostedTask
from lib.settings.params import ParamsError
from lib.storage.explanation_store import ExplanationStore
from lib.storage.image_sources import Source, from_datastore, from_session
from lib.storage.owners import Caller, Owners
from otherwise import __version__
from otherwise.images.image import Image


@dataclass(frozen=True)
class JobSpec:
    """What to do, and with which image.

    Attributes:
        kind: Name of the task.
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
        kind: Of the spec.
        task: Does it.
        source: Where the image is.
        arguments: What the task made of the params.
        name: Id of the image if it is one of the studies, else empty. Two images of the studies are two images even if
            they look alike; what was uploaded is what it shows.
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
        if self.kind != "explain":
            return []
        versions = (str(result[name]["version"]) for name in ("classifier", "agent"))
        return [self._key(str(result["image"]["sha256"]), *versions)]

    def _key(self, sha256: str, classifier: str, agent: str) -> str:
        content = [__version__, self.kind, sha256, self.name, classifier, agent, self.arguments]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class JobResolver:
    """Finds what an spec is about.

    Args:
        app: Owner of the datastore and the sessions.
        tasks: What may be asked for, by name.
        store: Where explanations are kept.
        owners: Of private explanations.
    """

    def __init__(
        self, app: MONAILabelApp, tasks: Mapping[str, HostedTask], store: ExplanationStore, owners: Owners
    ) -> None:
        self._app, self._tasks, self._store, self._owners = app, tasks, store, owners

    def open(self, spec: JobSpec, caller: Caller) -> ResolvedJob:
        """Check an spec.

        Raises:
            OtherwiseError: if it asks for what there is not.
        """
        task = self._tasks.get(spec.kind)
        if task is None:
            raise ParamsError(f"There is nothing to {spec.kind} here.", "The classifier looks at whole images.")
        arguments = task.check(spec.params)
        if spec.kind == "attribute":
            source, about = explained_source(self._store, self._owners, spec.explanation, caller)
            return ResolvedJob(spec.kind, task, source, {**arguments, **about})
        if spec.session:
            source = from_session(self._app.sessions(), spec.session, caller)
            # Within the key, so that nobody is answered with what belongs to somebody else.
            return ResolvedJob(spec.kind, task, source, {**arguments, "owner": source.owner})
        if not spec.image:
            raise ParamsError("Neither image nor session is given.", "Send one of them.")
        source = from_datastore(self._app.datastore(), spec.image)
        return ResolvedJob(spec.kind, task, source, arguments, spec.image)
