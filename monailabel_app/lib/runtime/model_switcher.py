"""Change of the models of a running server: between two jobs, so that every job runs with one pair of models."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lib.runtime.host import ExplainerLike, Host
from lib.settings.options import Options
from otherwise.errors import CancelledError, OtherwiseError
from otherwise.registry.registry import (
    AGENT,
    Model,
    PairVersion,
    Registry,
    RegistryError,
    lasting_reference,
    now,
    pair_id,
)

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Seconds between two checks of the choice, which commands and trainings change."""


class ModelSwitcher:
    """Loads the chosen pair of models whenever the choice changes.

    Args:
        host: Hosts the pair.
        options: Settings of the server.
        registry: The versions, and the choice.
        changed: Called after each change, on the switcher's thread.
    """

    def __init__(self, host: Host, options: Options, registry: Registry, changed: Callable[[], None]) -> None:
        self.host, self.options, self.registry, self.changed = host, options, registry, changed
        self.problem = ""
        self._seen = ""
        self._closing = threading.Event()
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="otherwise-models", daemon=True)

    def start(self) -> None:
        """Register the pair that the server was started with, load the chosen one, and watch the choice."""
        try:
            first = self.register()
            active = self.registry.active().id
            chosen = self._chosen(active) if active else None
            if chosen is None or chosen.classifier.version != first.classifier.version:
                # Another classifier was given on the command line, which is the later choice.
                self.registry.activate(first.id, "The server was started with it.")
        except OtherwiseError as error:
            self.problem = error.detail
            logger.warning("The server goes on with the models it was started with: %s", error.detail)
        self.look()
        self._thread.start()

    def register(self) -> PairVersion:
        """Register the pair that the server was started with as a version."""
        classifier, agent = self.host.classifier_ref, self.host.agent_ref
        return self.registry.add(
            PairVersion(
                id=pair_id(classifier.version, agent.version),
                created=now(),
                classifier=Model(classifier.name, classifier.version, lasting_reference(self.options.classifier)),
                agent=Model(agent.name, agent.version, lasting_reference(self.options.agent)),
                note="The server was started with it.",
            )
        )

    def look(self) -> None:
        """Load the chosen pair, if another one is in use."""
        with self._door:
            self._look()

    def _look(self) -> None:
        try:
            version = self.registry.get(self.registry.active().id)
            if version.id == self._seen:
                return
            self._seen = version.id
            if (version.classifier.version, version.agent.version) != self.now:
                self._change(self._load(version))
                logger.info("Changed over to version %s of the models", version.id)
            self.problem = ""
        except CancelledError:
            return
        except OtherwiseError as error:
            self.problem = "The chosen version cannot be used; the server's log tells why."
            if isinstance(error, RegistryError):
                self.problem = error.detail
            logger.warning("The models stay as they are: %s", error.detail)
        except Exception:  # such as memory that does not hold both pairs for a moment
            self.problem = "The chosen version cannot be used; the server's log tells why."
            logger.exception("The models stay as they are")

    @property
    def now(self) -> tuple[str, str]:
        """Return the content versions of the classifier and the agent in use."""
        return self.host.classifier_ref.version, self.host.agent_ref.version

    def describe(self) -> dict[str, Any]:
        """Return the versions, and which is in use, as JSON."""
        in_use = pair_id(*self.now)
        versions = [_described(version, version.id == in_use) for version in self.registry.all()]
        choice = self.registry.active()
        return {"active": choice.id, "reason": choice.reason, "problem": self.problem, "versions": versions}

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            self.look()

    def _chosen(self, id: str) -> PairVersion | None:
        try:
            return self.registry.get(id)
        except RegistryError:
            return None

    def _load(self, version: PairVersion) -> ExplainerLike:
        made = load_version(self.registry, version, self.host.device, self.options.trust_code, self.options.precision)
        old, new = self.host.classifier, made.classifier
        if (new.classes, new.inputs, new.multi_label) != (old.classes, old.inputs, old.multi_label):
            raise RegistryError(
                f"{new.name} has other classes or wants other images than {old.name}.",
                "Start the server anew with --classifier and --agent.",
            )
        return made

    def _change(self, made: ExplainerLike) -> None:
        def change() -> None:
            self.host.explainer = made

        self.host.worker.submit(lambda cancelled: change(), between=True).future.result()
        self.changed()


def load_version(
    registry: Registry, version: PairVersion, device: str, trust_code: bool, precision: str = "auto"
) -> ExplainerLike:
    """Load the pair of a version.

    Raises:
        OtherwiseError: if a model cannot be loaded, or is no longer what it was.
    """
    classifier, agent = version.classifier, version.agent
    from otherwise.explain.loading import load_explainer

    paths = registry.path(version, classifier), registry.path(version, agent)
    made = load_explainer(*paths, device, trust_code, precision=precision)
    if (made.classifier.version, made.agent.version) != (classifier.version, agent.version):
        raise RegistryError(
            f"The models of version {version.id} are no longer what they were.", "Restore their bundles."
        )
    return made


def _described(version: PairVersion, in_use: bool) -> dict[str, Any]:
    """Return a version as JSON, without paths of this machine."""
    content = asdict(version)
    for name in ("classifier", "agent"):
        reference = content[name].pop("reference")
        content[name]["trained_here"] = reference == AGENT
    return {**content, "in_use": in_use}
