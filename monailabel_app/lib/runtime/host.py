"""The hosted classifier and agent, the thread that runs them, and the store of explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lib.runtime.memory_pools import trimmer
from lib.runtime.worker import Worker
from lib.settings.options import MIB, Options, choose_device
from lib.storage.explanation_store import ExplanationStore
from lib.storage.owners import Owners
from lib.storage.reading_budget import ReadingBudget, default_budget
from otherwise.blackbox.protocol import BlackBox
from otherwise.explain.explanation import Explanation, ModelRef, Prediction
from otherwise.images.image import Image


class AgentLike(Protocol):
    """The part of an agent that the server uses."""

    @property
    def name(self) -> str:
        """Return its name for people."""
        ...

    @property
    def version(self) -> str:
        """Return the hash of its content."""
        ...


class ExplainerLike(Protocol):
    """The interface of ``otherwise.explain.explainer.Explainer``, which tests replace."""

    @property
    def classifier(self) -> BlackBox:
        """Return the black box."""
        ...

    @property
    def agent(self) -> AgentLike:
        """Return the agent, which searches."""
        ...

    def classify(self, image: Image, slice_index: int | None = None) -> Prediction:
        """Ask the black box."""
        ...

    def explain(
        self,
        image: Image,
        *,
        target: str | None = None,
        seed: int = 0,
        slice_index: int | None = None,
        centre: tuple[float, float, float] | None = None,
        progress: Callable[[str, float], None] = ...,
        cancelled: Callable[[], bool] = ...,
    ) -> Explanation:
        """Search for a change that makes the black box decide otherwise."""
        ...

    def attribute(
        self,
        image: Image,
        method: str,
        *,
        label: str | None = None,
        slice_index: int | None = None,
        progress: Callable[[str, float], None] = ...,
        cancelled: Callable[[], bool] = ...,
    ) -> Image:
        """Compute the map of a known attribution method."""
        ...


@dataclass
class Host:
    """The parts of a running server.

    Attributes:
        explainer: The pair of models that is in use. It is changed between two jobs, on the worker's thread, so that
            every job is done by one pair from beginning to end.
        worker: Runs it.
        store: Keeps explanations.
        device: Where it runs.
        reading: Budget of memory for images.
        owners: Owners of private explanations.
        device_failed: Whether the device has failed for good, as a GPU may.
        with_fallback: Runs a job, on the CPU if the memory of the device is too small.
    """

    explainer: ExplainerLike
    worker: Worker
    store: ExplanationStore
    device: str
    reading: ReadingBudget
    owners: Owners
    device_failed: bool = False
    with_fallback: Callable[[Callable[[], Any]], Any] = lambda work: work()

    @property
    def classifier(self) -> BlackBox:
        """Return the hosted black box."""
        return self.explainer.classifier

    @property
    def classifier_ref(self) -> ModelRef:
        """Return name and version of the classifier."""
        return ModelRef(self.classifier.name, self.classifier.version)

    @property
    def agent_ref(self) -> ModelRef:
        """Return name and version of the agent."""
        return ModelRef(self.explainer.agent.name, self.explainer.agent.version)


def start_host(options: Options, explainer: ExplainerLike | None = None) -> Host:
    """Load the models and start the worker.

    Args:
        explainer: Used instead of the one that ``options`` name.

    Raises:
        OtherwiseError: if a model cannot be loaded, the device is absent, or the state folder cannot be made.
    """
    device = choose_device(options.device)
    store = ExplanationStore(options.state / "explanations")
    if explainer is None:
        from otherwise.explain.loading import load_explainer

        explainer = load_explainer(
            options.classifier, options.agent, device, options.trust_code, precision=options.precision
        )
    worker = Worker(f"otherwise-{device}", options.waiting, options.waiting_per_user)
    reading = ReadingBudget((options.reading_mib or 0) * MIB or default_budget(), give_back=trimmer())
    return Host(explainer, worker, store, device, reading, Owners(options.state / "owners"))
