"""A worker in another process, perhaps on another machine: bundles and images reach it as bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from otherwise import __version__
from otherwise.batch.errors import Failure
from otherwise.batch.parcel import Parcel, pack, unpack, unpack_image
from otherwise.batch.worker import BatchOrder, BatchWorker, LoadedModels
from otherwise.blackbox.bundle import read_bundle
from otherwise.blackbox.loading import find_bundle
from otherwise.images.listing import FoundImage


@dataclass(frozen=True)
class Equipment:
    """Everything that a worker needs to start: the order, and the bundles that it names."""

    order: BatchOrder
    classifier: Parcel
    agent: Parcel
    version: str = __version__

    @classmethod
    def of(cls, order: BatchOrder) -> Equipment:
        """Pack the bundles.

        Raises:
            BundleError: if one is missing or incomplete.
        """
        classifier = read_bundle(find_bundle(order.classifier), kind="classifier").folder
        agent = read_bundle(find_bundle(order.agent), kind="agent").folder
        # Where a bundle has no name of its own, its folder's is the one.
        named = replace(order, classifier=classifier.resolve().name, agent=agent.resolve().name)
        return cls(named, pack(classifier), pack(agent))


class RemoteWorker:
    """Explain on a machine that shares no disk with the caller; failures are returned, not raised."""

    def __init__(self) -> None:
        self._worker: BatchWorker | None = None

    def load(self, equipment: Equipment) -> LoadedModels | Failure:
        """Load the models; a failure where that cannot be done."""
        if failure := Failure.of_version(equipment.version):
            return failure
        order = equipment.order
        with TemporaryDirectory() as place:
            classifier, agent = Path(place) / "1" / order.classifier, Path(place) / "2" / order.agent
            try:
                unpack(equipment.classifier, classifier)
                unpack(equipment.agent, agent)
                self._worker = BatchWorker(replace(order, classifier=str(classifier), agent=str(agent)))
            except Exception as error:
                return Failure.of(error)
        return self._worker.models

    def explain(self, image: FoundImage, files: Parcel) -> Parcel | Failure:
        """Explain an image; the explanation's folder, or why there is none."""
        assert self._worker is not None, "load() comes first"
        try:
            with TemporaryDirectory() as place:
                out = Path(place) / "explanation"
                return self._worker.explain(unpack_image(files, image, Path(place) / "image"), out) or pack(out)
        except OSError as error:  # of its temporary folder
            return Failure.of_disk(error)
