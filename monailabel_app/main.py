"""The MONAI Label app: an image comes in, and what would make the classifier decide otherwise goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from lib.activelearning.asking import Asking
from lib.host import ExplainerLike
from lib.infers.classify import Classify
from lib.infers.explain import REGION_NAMES, Explain
from lib.infers.find import Find, Looks
from lib.infers.task import HostedTask
from lib.jobs import Jobs
from lib.routes.install import install_app
from lib.routes.sources import from_datastore
from lib.start import start, start_teaching
from otherwise import __version__
from otherwise.concepts.questions import STRATEGIES
from otherwise.finding.finder import Finder


class OtherwiseApp(MONAILabelApp):
    """Hosts one classifier and its agent.

    Args:
        app_dir: This folder.
        studies: Folder of images, or address of a DICOMweb server.
        conf: See ``lib/options.py``.
        explainer: Used instead of the one that ``conf`` names.

    Raises:
        OtherwiseError: if an option is wrong or a model cannot be loaded.
    """

    def __init__(
        self, app_dir: str, studies: str, conf: Mapping[str, str], explainer: ExplainerLike | None = None
    ) -> None:
        self.options, self.host = start(conf, studies, explainer)
        looks = Looks(Finder(self.host.classifier)) if self.host.classifier.inputs.patches else None
        self.tasks: dict[str, HostedTask] = {
            "classify": Classify(self.host, looks),
            "explain": Explain(self.host, looks, lambda explanation: self.teaching.told(explanation)),
        }
        if looks is not None:
            self.tasks["find"] = Find(self.host, looks)
        self.jobs = Jobs()
        question = f"What would make {self.host.classifier.name} decide otherwise?"
        super().__init__(app_dir, studies, dict(conf), "Otherwise", question, __version__, list(REGION_NAMES))
        self.teaching = start_teaching(self.host, self.options, self.datastore())
        install_app(self)

    def init_infers(self) -> dict[str, HostedTask]:
        """What may be asked about one image."""
        return self.tasks

    def init_strategies(self) -> dict[str, Strategy]:
        """How the next case is chosen."""
        return {name: Asking(name, lambda: self.teaching) for name in STRATEGIES}

    def infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Answer MONAI Label's own callers, by image id only: it would take any path of the server for an image."""
        source = from_datastore(datastore or self.datastore(), str(request.get("image", "")))
        return super().infer({**request, "image_id": source.id}, datastore)

    def batch_infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Answer for many images; MONAI Label would divide them among GPUs, of which there may be none."""
        return super().batch_infer({**request, "multi_gpu": False, "max_workers": 1}, datastore)

    def close(self) -> None:
        """Stop the threads."""
        self.teaching.close()
        self.host.worker.close()
