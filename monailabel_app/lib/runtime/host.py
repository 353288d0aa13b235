"""What the server hosts: one classifier, its agent, the thread that runs both, and the place for what comes out."""

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
    """What the server needs to know of an agent."""

    @property
    def name(self) -> str:
        """Name for people."""
        ...

    @property
    def version(self) -> str:
        """Content version."""
        ...


class ExplainerLike(Protocol):
    """What answers: ``otherwise.explain.explainer.Explainer``, or a stand-in for it in tests."""

    @property
    def classifier(self) -> BlackBox:
        """The black box."""
        ...

    @property
    def agent(self) -> AgentLike:
        """What searches."""
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
        """Search for what would make the black box decide otherwise."""
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
        """Ask a method that users know where the black box looks."""
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
        owners: Of explanations that are not everybody's.
        device_failed: Whether it has failed for good, as a GPU may.
        with_fallback: Does a job, in another way if the device's memory is too small for it.
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
        """The hosted black box."""
        return self.explainer.classifier

    @property
    def classifier_ref(self) -> ModelRef:
        """Which classifier answers."""
        return ModelRef(self.classifier.name, self.classifier.version)

    @property
    def agent_ref(self) -> ModelRef:
        """Which agent searches."""
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

        explainer = load_explainer(options.classifier, options.agent, device, options.trust_code)
    worker = Worker(f"otherwise-{device}", options.waiting, options.waiting_per_user)
    reading = ReadingBudget((options.reading_mib or 0) * MIB or default_budget(), give_back=trimmer())
    return Host(explainer, worker, store, device, reading, Owners(options.state / "owners"))
