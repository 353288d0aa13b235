"""The MONAI Label app: an image comes in, and what would make the classifier decide otherwise goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from lib.activelearning.asking import Asking
from lib.datastore import SafeDatastore
from lib.guarding.sessions import SafeSessions
from lib.host import ExplainerLike
from lib.infers.classify import Classify
from lib.infers.explain import REGION_NAMES, Explain
from lib.infers.find import Find, Looks
from lib.infers.task import HostedTask
from lib.jobs import Jobs
from lib.routes.install import install_app
from lib.routes.sources import from_datastore
from lib.start import open_teaching, start
from lib.switching import Switching
from lib.trainers.agent import TrainAgent
from otherwise import __version__
from otherwise.concepts.questions import STRATEGIES
from otherwise.registry.registry import Registry


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
        self.registry = Registry(self.options.state / "models")
        looks = Looks(self.host) if self.host.classifier.inputs.patches else None
        self.tasks: dict[str, HostedTask] = {
            "classify": Classify(self.host, looks),
            "explain": Explain(self.host, looks, lambda made: self.teaching.told(made), lambda: self.teaching.wake()),
        }
        if looks is not None:
            self.tasks["find"] = Find(self.host, looks)
        self.jobs = Jobs()
        question = f"What would make {self.host.classifier.name} decide otherwise?"
        super().__init__(app_dir, studies, dict(conf), "Otherwise", question, __version__, list(REGION_NAMES))
        self.teaching = open_teaching(self.host, self.options, self.datastore())
        self.switching = Switching(self.host, self.options, self.registry, self.teaching.models_changed)
        install_app(self)

    def on_init_complete(self) -> None:
        """Begin what goes on in the background; a process that trains makes the app, too, and does not call this."""
        super().on_init_complete()
        self.begin()

    def begin(self) -> None:
        """Keep models and names current from now on."""
        self.switching.start()
        self.teaching.start()

    def init_datastore(self) -> Datastore:
        """The studies; of a folder one whose record is never half written."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return SafeDatastore(
            self.studies,
            extensions=settings.MONAI_LABEL_DATASTORE_FILE_EXT,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def _load_sessions(self, load: bool = False) -> SafeSessions | None:
        return SafeSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY) if load else None

    def init_infers(self) -> dict[str, HostedTask]:
        """What may be asked about one image."""
        return self.tasks

    def init_trainers(self) -> dict[str, TrainTask]:
        """What may be trained; names are learned by themselves."""
        return {"agent": TrainAgent(self.host, self.options, self.registry)}

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
        self.switching.close()
        self.teaching.close()
        self.host.worker.close()
